//! A courier's work: brings what `export` wrote to the gateway.
//!
//! The gateway believes the node's signature, not the courier: it checks the manifest against the node's certificate,
//! each segment against the manifest, and each batch as if the node had sent it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use prost::Message;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{UplinkError, link};
use crate::export::{CERTIFICATE, MANIFEST, MAX_MANIFEST_BYTES, Manifest, SIGNATURE};
use crate::tls::{TlsFiles, client_config};
use crate::wire::{
    IMPORT, IMPORT_SEGMENT, ImportReply, ImportRequest, MAX_MESSAGE_BYTES, Refusal, SegmentReply, decode,
};

/// For the answer to one segment, which comes after the gateway's commit.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// What became of an exported folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The node that has signed it.
    pub node: String,
    /// Segments that were brought.
    pub segments: usize,
    /// Numbers of rows that the city has now, those included that it had before.
    pub settled: u64,
    /// Batches that were refused.
    pub refused: u64,
    /// Why the first of them was.
    pub refusal: Option<Refusal>,
}

/// Brings an exported folder to the gateway; blocks until all of it is stored there. What was stored before is stored
/// once, so it can be done again after an interruption.
///
/// # Errors
/// The folder cannot be read, the gateway cannot be reached or does not want it.
pub fn import(folder: &Path, host: &str, port: u16, tls: &TlsFiles) -> Result<Imported, UplinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| UplinkError::File { path: folder.to_owned(), source })?;
    runtime.block_on(bring(folder, host, port, tls))
}

async fn bring(folder: &Path, host: &str, port: u16, tls: &TlsFiles) -> Result<Imported, UplinkError> {
    let part = |name: &str| read(folder.join(name), MAX_MANIFEST_BYTES);
    let (manifest, signature, certificate) = (part(MANIFEST)?, part(SIGNATURE)?, part(CERTIFICATE)?);
    let segments = Manifest::decode(&manifest)?.segments;
    let client = link::connect(host, port, client_config(tls)?, &Arc::default()).await?;
    let request =
        ImportRequest { manifest: manifest.into(), signature: signature.into(), certificate: certificate.into() };
    let reply: ImportReply = ask(&client, IMPORT, request.encode_to_vec()).await?;
    let mut imported =
        Imported { node: reply.node, segments: segments.len(), settled: 0, refused: 0, refusal: None };
    for segment in segments {
        let bytes = read(folder.join(segment.file()), MAX_MESSAGE_BYTES as u64)?;
        let reply: SegmentReply = ask(&client, IMPORT_SEGMENT, bytes).await?;
        imported.settled += reply.settled;
        imported.refused += reply.refused;
        let refusal = Refusal::try_from(reply.refusal).map_err(|_| UplinkError::Answer)?;
        imported.refusal = imported.refusal.or(Some(refusal).filter(|refusal| *refusal != Refusal::None));
    }
    Ok(imported)
}

async fn ask<M: Message + Default>(
    client: &FlightServiceClient<Channel>,
    action: &str,
    body: Vec<u8>,
) -> Result<M, UplinkError> {
    let mut client = client.clone();
    let action = Action { r#type: action.to_owned(), body: body.into() };
    let asked = async { client.do_action(action).await?.into_inner().message().await };
    let silent = |_| UplinkError::Silent { seconds: ANSWER_LIMIT.as_secs() };
    let reply = timeout(ANSWER_LIMIT, asked).await.map_err(silent)?.map_err(UplinkError::from_status)?;
    decode(&reply.ok_or(UplinkError::Answer)?.body).map_err(|_| UplinkError::Answer)
}

/// A file of at most so many bytes.
fn read(path: PathBuf, most: u64) -> Result<Vec<u8>, UplinkError> {
    let mut bytes = Vec::new();
    let count = File::open(&path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match count {
        Ok(count) if count as u64 <= most => Ok(bytes),
        Ok(_) => Err(UplinkError::File { path, source: io::ErrorKind::FileTooLarge.into() }),
        Err(source) => Err(UplinkError::File { path, source }),
    }
}
