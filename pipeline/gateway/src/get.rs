//! What readers get: a day of a table as Arrow, and the list of the days there are.
//!
//! Which files make up a day comes from the state, never from a listing of the landing, so that a merge in the meantime
//! shows nobody a row twice or not at all. Files that are being read are not deleted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Key;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;
use tonic::Status;

use crate::commit::blocking;
use crate::error::GatewayError;
use crate::landing::{self, Store};
use crate::service::Shared;
use crate::state::{LandingFile, State};

/// Batches that wait to be sent to one reader.
const AHEAD: usize = 4;
/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Files that are being read.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    files: Mutex<HashMap<String, usize>>,
}

/// Keeps files from being deleted while it lives.
#[derive(Debug)]
pub(crate) struct Pinned {
    pins: Arc<Pins>,
    pub(crate) files: Vec<LandingFile>,
}

impl Pins {
    /// Pins the files of a table and day as they are listed now.
    pub(crate) fn pin(self: &Arc<Self>, state: &State, table: &str, day: &str) -> Pinned {
        let mut pinned = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let files = state.files(table, day);
        for file in &files {
            *pinned.entry(file.key.clone()).or_default() += 1;
        }
        Pinned { pins: Arc::clone(self), files }
    }

    /// Whether nobody reads a file that is listed no more.
    pub(crate) fn is_free(&self, key: &str) -> bool {
        !self.files.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pinned = self.pins.files.lock().unwrap_or_else(PoisonError::into_inner);
        for file in &self.files {
            if let Some(count) = pinned.get_mut(&file.key) {
                *count -= 1;
                if *count == 0 {
                    pinned.remove(&file.key);
                }
            }
        }
    }
}

/// A table and day by their names, where there is such a table.
pub(crate) fn place(table: &str, day: &str) -> Option<(SchemaRef, String, String)> {
    let schema = landing::schema_of(table)?;
    landing::day_of_name(day)?;
    Some((schema, table.to_owned(), day.to_owned()))
}

/// The rows of a ticket, `TABLE/DAY`.
pub(crate) fn rows(
    shared: &Arc<Shared>,
    ticket: &Ticket,
) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
    let wrong = || Status::invalid_argument("a ticket is a table and a day, such as agg.v1/2026-03-29");
    let text = std::str::from_utf8(&ticket.ticket).map_err(|_| wrong())?;
    let (schema, table, day) =
        text.split_once('/').and_then(|(table, day)| place(table, day)).ok_or_else(wrong)?;
    let pinned = shared.pins.pin(&shared.state, &table, &day);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(read(Arc::clone(&shared.store), table, pinned, sender));
    let batches = tokio_stream::wrappers::ReceiverStream::new(receiver)
        .map_err(|error: GatewayError| FlightError::from_external_error(Box::new(error)));
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Ok(encoded
        .map_err(|error| {
            tracing::error!(%error, "a reader could not be served");
            Status::internal("the rows could not be read")
        })
        .boxed())
}

async fn read(
    store: Store,
    table: String,
    pinned: Pinned,
    sender: mpsc::Sender<Result<RecordBatch, GatewayError>>,
) {
    for file in &pinned.files {
        match read_file(&store, &table, file, &sender).await {
            Ok(true) => {}
            // The reader has gone, or stands still.
            Ok(false) => return,
            Err(error) => {
                let _ = tokio::time::timeout(PATIENCE, sender.send(Err(error))).await;
                return;
            }
        }
    }
}

async fn read_file(
    store: &Store,
    table: &str,
    file: &LandingFile,
    sender: &mpsc::Sender<Result<RecordBatch, GatewayError>>,
) -> Result<bool, GatewayError> {
    let bytes = store.get(&Key::from(file.key.as_str())).await?.bytes().await?;
    let schema =
        landing::schema_of(table).ok_or_else(|| GatewayError::StateContent(format!("the table {table}")))?;
    let mut reader =
        blocking(move || Ok(ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(8192).build()?))
            .await?;
    loop {
        let next;
        (reader, next) = blocking(move || {
            let next = reader.next().transpose()?;
            Ok((reader, next))
        })
        .await?;
        let Some(batch) = next else { return Ok(true) };
        let batch = landing::plain(&batch, &schema)?;
        if !matches!(tokio::time::timeout(PATIENCE, sender.send(Ok(batch))).await, Ok(Ok(()))) {
            return Ok(false);
        }
    }
}

/// What there is of a table and day.
pub(crate) fn info(state: &State, schema: &SchemaRef, table: &str, day: &str) -> Result<FlightInfo, Status> {
    let files = state.files(table, day);
    let total = |of: fn(&LandingFile) -> u64| i64::try_from(files.iter().map(of).sum::<u64>()).unwrap_or(i64::MAX);
    let ticket = Ticket { ticket: format!("{table}/{day}").into() };
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|_| Status::internal("the schema cannot be written"))?
        .with_descriptor(FlightDescriptor::new_path(vec![table.to_owned(), day.to_owned()]))
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_total_records(total(|file| file.rows))
        .with_total_bytes(total(|file| file.bytes));
    Ok(info)
}
