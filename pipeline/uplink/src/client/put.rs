//! One DoPut: a stream of rows of one table and epoch that share a schema and its dictionaries.

use std::sync::Arc;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use kerbside_release::Table;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::UplinkError;
use crate::parcel::Opening;
use crate::wire::{Ack, Gap, MAX_MESSAGE_BYTES, Open, Rows, Said, Up, checksum, decode, take_apart};

/// What the gateway says on one of the streams.
pub(super) struct Answer {
    /// The stream's number within the connection.
    pub(super) put: u64,
    pub(super) said: Result<Ack, Broken>,
}

/// Why a stream came to an end.
pub(super) enum Broken {
    /// The gateway, or the connection, ended it.
    Status(Status),
    /// What came is no answer.
    Unreadable,
    /// The gateway ended it and is content, as it does with one on which nothing came for long.
    Ended,
}

/// The sending half. Dropping it tells the gateway that no more comes; answers still do.
pub(super) struct Put {
    pub(super) number: u64,
    pub(super) epoch: u32,
    pub(super) opening: Arc<Opening>,
    /// Not bounded by itself: the windows bound what is on its way.
    sender: mpsc::UnboundedSender<FlightData>,
}

impl Put {
    /// Begins a stream. Its answers go to `answers` for as long as they come.
    pub(super) fn begin(
        client: &FlightServiceClient<Channel>,
        number: u64,
        table: Table,
        open: Open,
        opening: &Arc<Opening>,
        answers: mpsc::UnboundedSender<Answer>,
    ) -> Result<Self, UplinkError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let put = Self { number, epoch: open.epoch, opening: Arc::clone(opening), sender };
        let mut messages =
            take_apart(opening.payload.clone()).ok_or(UplinkError::Unsendable { table })?.into_iter();
        let schema = messages.next().ok_or(UplinkError::Unsendable { table })?;
        put.send(FlightData {
            flight_descriptor: Some(FlightDescriptor::new_path(vec![table.name().to_owned()])),
            data_header: schema.header,
            app_metadata: said(Said::Open(open)),
            data_body: schema.body,
        });
        for words in messages {
            put.send(FlightData { data_header: words.header, data_body: words.body, ..FlightData::default() });
        }
        let mut client = client.clone();
        tokio::spawn(async move {
            let broken = |status| Answer { put: number, said: Err(Broken::Status(status)) };
            let mut stream = match client.do_put(UnboundedReceiverStream::new(receiver)).await {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    // Where nobody listens any more the connection is over anyway.
                    let _ = answers.send(broken(status));
                    return;
                }
            };
            loop {
                let said = match stream.message().await {
                    Ok(Some(result)) => decode::<Ack>(&result.app_metadata).map_err(|_| Broken::Unreadable),
                    Ok(None) => Err(Broken::Ended),
                    Err(status) => Err(Broken::Status(status)),
                };
                let is_over = said.is_err();
                if answers.send(Answer { put: number, said }).is_err() || is_over {
                    return;
                }
            }
        });
        Ok(put)
    }

    /// Sends one record batch. `false` where the bytes are none, or too many for a message.
    pub(super) fn rows(&self, first_seq: u64, last_seq: u64, payload: &Bytes) -> bool {
        let mut messages = take_apart(payload.clone()).unwrap_or_default().into_iter();
        let (Some(batch), None) = (messages.next(), messages.next()) else { return false };
        if payload.len() > MAX_MESSAGE_BYTES {
            return false;
        }
        let crc = checksum(&batch.header, &batch.body);
        self.send(FlightData {
            app_metadata: said(Said::Rows(Rows { first_seq, last_seq, crc })),
            data_header: batch.header,
            data_body: batch.body,
            ..FlightData::default()
        });
        true
    }

    /// Says that rows will never come.
    pub(super) fn gap(&self, gap: Gap) {
        self.send(FlightData { app_metadata: said(Said::Gap(gap)), ..FlightData::default() });
    }

    fn send(&self, data: FlightData) {
        // It fails only when the stream is over; then its answers say why, and what was on its way is sent again.
        let _ = self.sender.send(data);
    }
}

fn said(said: Said) -> Bytes {
    Up { said: Some(said) }.encode_to_vec().into()
}
