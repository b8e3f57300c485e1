//! The Flight service: who may call what.
//!
//! | call | node | courier | reader |
//! | --- | --- | --- | --- |
//! | `DoAction` resume, `DoPut` | yes | | |
//! | `DoAction` import, import-segment | | yes | |
//! | `DoGet`, `ListFlights`, `GetFlightInfo`, `GetSchema` | | | yes |

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::SchemaRef;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kerbside_telemetry::GatewayMetrics;
use kerbside_uplink::tls::{Role, TlsFiles};
use kerbside_uplink::wire::{self, ImportRequest, Refusal, ResumeRequest};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::commit::Entrance;
use crate::get::{self, Pins};
use crate::import;
use crate::landing::Store;
use crate::put;
use crate::quota::Quotas;
use crate::refused::Refused;
use crate::session::{Connection, Failure, Leases};
use crate::sparing::Sparing;
use crate::state::State;

/// The longest body of a [`wire::RESUME`], in bytes.
const MAX_RESUME_BYTES: usize = 128 << 10;
/// Acknowledgements that wait to be sent.
const ACKS_AHEAD: usize = 64;

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) store: Store,
    pub(crate) leases: Arc<Leases>,
    pub(crate) quotas: Quotas,
    pub(crate) entrance: Entrance,
    pub(crate) pins: Arc<Pins>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) refusals: Sparing,
    pub(crate) accept_demo: bool,
    /// Who may vouch for what a courier brings.
    pub(crate) tls: TlsFiles,
    /// Becomes true when the gateway is asked to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        connection.cloned().ok_or_else(|| Status::internal("a connection without identity"))
    }

    /// The connection, if it may do what that role may.
    fn only<T>(&self, role: Role, request: &Request<T>) -> Result<Arc<Connection>, Status> {
        let connection = Self::connection(request)?;
        connection.must_be(role).map_err(|refused| self.0.refuse(&connection.name, refused))?;
        Ok(connection)
    }

    fn place(descriptor: &FlightDescriptor) -> Result<(SchemaRef, String, String), Status> {
        let wrong = || Status::not_found("a path of table and day is expected, such as agg.v1 and 2026-03-29");
        let [table, day] = descriptor.path.as_slice() else { return Err(wrong()) };
        get::place(table, day).ok_or_else(wrong)
    }

    fn unimplemented<T>() -> Answer<T> {
        Err(Status::unimplemented("the gateway does not serve this call"))
    }

    async fn resume(
        &self,
        connection: Arc<Connection>,
        action: &Action,
    ) -> Result<Items<arrow_flight::Result>, Status> {
        let refuse = |refused| self.0.refuse(&connection.name, refused);
        if action.body.len() > MAX_RESUME_BYTES {
            return Err(refuse(Refused::new(Refusal::Size, "too long a request")));
        }
        let request = wire::decode::<ResumeRequest>(&action.body)
            .map_err(|error| refuse(Refused::new(Refusal::Malformed, error.to_string())))?;
        let (leases, of) = (Arc::clone(&self.0.leases), Arc::clone(&connection));
        let resumed = tokio::task::spawn_blocking(move || leases.resume(&of, &request)).await;
        self.answer(&connection, resumed.map_err(|_| Status::internal("the call failed"))?)
    }

    async fn import(&self, connection: &Connection, body: &[u8]) -> Result<Items<arrow_flight::Result>, Status> {
        let request = wire::decode::<ImportRequest>(body);
        let request = request.map_err(|error| {
            self.0.refuse(&connection.name, Refused::new(Refusal::Malformed, error.to_string()))
        })?;
        self.answer(connection, import::begin(&self.0, connection, &self.0.tls, request).await)
    }

    /// The one result of an action.
    fn answer(
        &self,
        connection: &Connection,
        answer: Result<impl prost::Message, Failure>,
    ) -> Result<Items<arrow_flight::Result>, Status> {
        match answer {
            Ok(reply) => {
                let result = arrow_flight::Result { body: reply.encode_to_vec().into() };
                Ok(futures::stream::once(async move { Ok(result) }).boxed())
            }
            Err(Failure::Refused(refused)) => Err(self.0.refuse(&connection.name, refused)),
            Err(Failure::Gone) => Err(Status::cancelled("the connection has ended")),
            Err(Failure::Gateway(error)) => {
                tracing::error!(%error, "a call could not be answered");
                Err(Status::unavailable("the gateway cannot answer for now"))
            }
        }
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Items<HandshakeResponse>;
    type ListFlightsStream = Items<FlightInfo>;
    type DoGetStream = Items<FlightData>;
    type DoPutStream = tokio_stream::wrappers::ReceiverStream<Result<PutResult, Status>>;
    type DoExchangeStream = Items<FlightData>;
    type DoActionStream = Items<arrow_flight::Result>;
    type ListActionsStream = Items<ActionType>;

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let connection = Self::connection(&request)?;
        let action = request.into_inner();
        match action.r#type.as_str() {
            wire::RESUME => self.resume(connection, &action).await.map(Response::new),
            wire::IMPORT => self.import(&connection, &action.body).await.map(Response::new),
            wire::IMPORT_SEGMENT => {
                let taken = import::segment(&self.0, &connection, action.body).await;
                self.answer(&connection, taken).map(Response::new)
            }
            _ => Self::unimplemented(),
        }
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let connection = self.only(Role::Node, &request)?;
        let (acks, receiver) = mpsc::channel(ACKS_AHEAD);
        tokio::spawn(put::serve(Arc::clone(&self.0), connection, request.into_inner(), acks));
        Ok(Response::new(receiver.into()))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        self.only(Role::Reader, &request)?;
        get::rows(&self.0, request.get_ref()).map(Response::new)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        self.only(Role::Reader, &request)?;
        let infos: Vec<_> = self
            .0
            .state
            .days()
            .into_iter()
            .filter_map(|(table, day)| get::place(&table, &day))
            .map(|(schema, table, day)| get::info(&self.0.state, &schema, &table, &day))
            .collect();
        Ok(Response::new(futures::stream::iter(infos).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        self.only(Role::Reader, &request)?;
        let (schema, table, day) = Self::place(request.get_ref())?;
        get::info(&self.0.state, &schema, &table, &day).map(Response::new)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        self.only(Role::Reader, &request)?;
        let (schema, ..) = Self::place(request.get_ref())?;
        let options = IpcWriteOptions::default();
        let result: Result<SchemaResult, _> = SchemaAsIpc::new(&schema, &options).try_into();
        result.map(Response::new).map_err(|_| Status::internal("the schema cannot be written"))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        Self::unimplemented()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Self::unimplemented()
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        Self::unimplemented()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        Self::unimplemented()
    }
}
