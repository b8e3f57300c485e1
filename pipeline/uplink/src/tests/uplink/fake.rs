//! A gateway that behaves as badly as it is told to, over real TLS on a loopback port.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{StreamExt as _, once};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::ranges::RangeSet;
use crate::tls::{TlsFiles, server_config};
use crate::wire::{
    Ack, Gap, REFUSAL_TRAILER, Range, Refusal, ResumeReply, ResumeRequest, Rows, Said, Stored, Up, checksum,
    decode, put_together, table_number, table_of_number,
};
use kerbside_release::Table;

/// What to do with the next messages, one after the other; after the last one all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    /// Stores the rows and tells.
    Store,
    /// Stores them and says nothing.
    StoreSilently,
    /// Stores them and ends the connection instead of telling, as a crash between commit and answer does.
    StoreAndDie,
    /// Stores them, tells, and ends the stream as one that was idle for too long.
    StoreAndEnd,
    /// Ends the connection without storing them.
    Die,
    /// Stores them and tells twice, and before that of an epoch, and of rows, that never were.
    StoreAndBabble,
    /// Refuses the batch and goes on.
    Refuse(Refusal),
    /// Refuses the stream.
    Break(Refusal),
}

/// What the gateway has seen and stored.
#[derive(Default)]
pub(super) struct Books {
    pub(super) tricks: VecDeque<Trick>,
    pub(super) stored: BTreeMap<(Table, u32), RangeSet>,
    /// Every stored batch: table, epoch, numbers, and the rows as an Arrow stream's bytes, opening included.
    pub(super) batches: Vec<(Table, u32, Rows, Vec<u8>)>,
    pub(super) gaps: Vec<(Table, u32, Gap)>,
    /// The order in which rows came: table and first number.
    pub(super) order: Vec<(Table, u64)>,
    pub(super) connections: u64,
    pub(super) tokens: Vec<u64>,
    pub(super) given: u64,
}

#[derive(Clone)]
pub(super) struct Fake {
    books: Arc<Mutex<Books>>,
    pub(super) address: SocketAddr,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Fake {
    /// Starts it on a free port.
    pub(super) fn start(tls: &TlsFiles) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let books: Arc<Mutex<Books>> = Arc::default();
        let acceptor = TlsAcceptor::from(server_config(tls).unwrap());
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&books);
        runtime.spawn(async move {
            let (sender, incoming) = mpsc::channel(16);
            tokio::spawn(async move {
                loop {
                    let Ok((tcp, _)) = listener.accept().await else { return };
                    let (acceptor, sender) = (acceptor.clone(), sender.clone());
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(tcp).await {
                            let _ = sender.send(Ok::<_, std::io::Error>(Plain(stream))).await;
                        }
                    });
                }
            });
            let service = FlightServiceServer::new(Service { books: served });
            let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { books, address, _runtime: Arc::new(runtime) }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(super) fn play(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.books().tricks.extend(tricks);
    }
}

/// A TLS stream as tonic wants to see it.
struct Plain(tokio_rustls::server::TlsStream<tokio::net::TcpStream>);

impl tonic::transport::server::Connected for Plain {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl tokio::io::AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Service {
    books: Arc<Mutex<Books>>,
}

type Reply<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refusal(refusal: Refusal) -> Status {
    let mut status = Status::new(Code::InvalidArgument, "as it was told to");
    status.metadata_mut().insert(REFUSAL_TRAILER, refusal.name().parse().unwrap());
    status
}

fn is_rows(data: &FlightData) -> bool {
    let up: Option<Up> = (!data.app_metadata.is_empty()).then(|| decode(&data.app_metadata).unwrap());
    matches!(up.and_then(|up| up.said), Some(Said::Rows(_)))
}

/// One DoPut.
fn put(books: &Mutex<Books>, state: &mut PutState, data: FlightData) -> Result<Vec<Ack>, Status> {
    let up: Option<Up> = (!data.app_metadata.is_empty()).then(|| decode(&data.app_metadata).unwrap());
    let bytes = || put_together(&data.data_header, &data.data_body).unwrap();
    match up.and_then(|up| up.said) {
        Some(Said::Open(open)) => {
            let path = &data.flight_descriptor.as_ref().unwrap().path;
            assert_eq!(open.token, books.lock().unwrap().given, "the token of this connection");
            *state = PutState { table: Table::from_name(&path[0]), epoch: open.epoch, opening: bytes() };
            Ok(Vec::new())
        }
        None => {
            state.opening.extend(bytes());
            Ok(Vec::new())
        }
        Some(Said::Gap(gap)) => {
            let mut books = books.lock().unwrap();
            let table = state.table.unwrap();
            books.gaps.push((table, state.epoch, gap));
            let set = books.stored.entry((table, state.epoch)).or_default();
            assert!(!set.intersects(gap.first_seq, gap.last_seq), "a gap over stored rows: {gap:?}");
            set.insert(gap.first_seq, gap.last_seq);
            Ok(vec![ack(state.epoch, set.next(), gap.first_seq, gap.last_seq)])
        }
        Some(Said::Rows(rows)) => {
            let mut books = books.lock().unwrap();
            let (table, epoch) = (state.table.unwrap(), state.epoch);
            assert_eq!(checksum(&data.data_header, &data.data_body), rows.crc);
            books.order.push((table, rows.first_seq));
            let trick = books.tricks.pop_front().unwrap_or(Trick::Store);
            let refused = |refusal: Refusal, next| {
                vec![Ack { refusal: refusal.into(), ..ack(epoch, next, rows.first_seq, rows.last_seq) }]
            };
            match trick {
                Trick::Die => return Err(Status::unavailable("gone")),
                Trick::Break(reason) => return Err(refusal(reason)),
                Trick::Refuse(reason) => {
                    let next = books.stored.entry((table, epoch)).or_default().next();
                    return Ok(refused(reason, next));
                }
                _ => {}
            }
            let set = books.stored.entry((table, epoch)).or_default();
            let is_new = !set.intersects(rows.first_seq, rows.last_seq);
            set.insert(rows.first_seq, rows.last_seq);
            let next = set.next();
            if is_new {
                let stream = [state.opening.clone(), bytes()].concat();
                books.batches.push((table, epoch, rows, stream));
            }
            let good = ack(epoch, next, rows.first_seq, rows.last_seq);
            match trick {
                Trick::StoreSilently => Ok(Vec::new()),
                Trick::StoreAndDie => Err(Status::unavailable("gone")),
                Trick::StoreAndBabble => Ok(vec![
                    Ack { epoch: epoch + 1, ..good },
                    Ack { next_seq: u64::MAX, ..good },
                    Ack { last_seq: rows.last_seq + 1_000_000, ..good },
                    Ack { first_seq: rows.last_seq, last_seq: rows.first_seq, ..good },
                    Ack { refusal: 99, ..good },
                    good,
                    good,
                ]),
                _ => Ok(vec![good]),
            }
        }
    }
}

fn ack(epoch: u32, next_seq: u64, first_seq: u64, last_seq: u64) -> Ack {
    Ack { epoch, next_seq, first_seq, last_seq, refusal: 0 }
}

#[derive(Default)]
struct PutState {
    table: Option<Table>,
    epoch: u32,
    opening: Vec<u8>,
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Reply<HandshakeResponse>;
    type ListFlightsStream = Reply<FlightInfo>;
    type DoGetStream = Reply<FlightData>;
    type DoPutStream = Reply<PutResult>;
    type DoExchangeStream = Reply<FlightData>;
    type DoActionStream = Reply<arrow_flight::Result>;
    type ListActionsStream = Reply<ActionType>;

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let asked: ResumeRequest = decode(&request.into_inner().body).unwrap();
        let mut books = self.books.lock().unwrap();
        books.connections += 1;
        books.tokens.push(asked.token);
        books.given += 1000;
        let stored = asked.streams.iter().filter_map(|position| {
            let set = books.stored.get(&(table_of_number(position.table)?, position.epoch))?;
            let ranges = set.iter().map(|(first_seq, last_seq)| Range { first_seq, last_seq }).collect();
            Some(Stored { table: position.table, epoch: position.epoch, ranges })
        });
        let reply = ResumeReply { token: books.given, stored: stored.collect() };
        assert!(asked.streams.iter().all(|position| Table::ALL.map(table_number).contains(&position.table)));
        Ok(Response::new(Box::pin(once(Ok(arrow_flight::Result { body: reply.encode_to_vec().into() })))))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let mut stream = request.into_inner();
        let books = Arc::clone(&self.books);
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut state = PutState::default();
            while let Some(Ok(data)) = stream.next().await {
                let ends = books.lock().unwrap().tricks.front() == Some(&Trick::StoreAndEnd) && is_rows(&data);
                let answers = match put(&books, &mut state, data) {
                    Ok(acks) => acks
                        .into_iter()
                        .map(|ack| Ok(PutResult { app_metadata: ack.encode_to_vec().into() }))
                        .collect(),
                    Err(status) => vec![Err(status)],
                };
                for answer in answers {
                    let is_over = answer.is_err();
                    if sender.send(answer).is_err() || is_over {
                        return;
                    }
                }
                if ends {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
