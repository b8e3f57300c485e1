//! Rows that somebody carries: a node's export, handed in by a courier.
//!
//! The courier's certificate lets it in and no more. What counts is the node's signature over the manifest, and the
//! manifest's hash of each segment; from there on every batch goes the way of those that come over the line: the same
//! checks, the same numbers, the same commit. So it does no harm to hand an export in twice, or while its node is
//! connected.

use std::sync::Arc;

use bytes::Bytes;
use kerbside_core::time::WallTime;
use kerbside_uplink::export::{ExportError, Manifest, verify_manifest};
use kerbside_uplink::tls::{Role, TlsFiles};
use kerbside_uplink::wire::{self, ImportReply, ImportRequest, Refusal, SegmentReply, take_apart};
use kerbside_uplink::{Opening, Parcel, SegmentContent, read_segment};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::check::Checker;
use crate::commit::{Job, Outcome, What};
use crate::error::GatewayError;
use crate::landing::{self, now_millis};
use crate::put::{now, pin, take_epoch};
use crate::refused::Refused;
use crate::service::Shared;
use crate::session::{Connection, Failure};
use crate::state::StreamKey;

/// Batches of a segment that wait for their commit at most.
const MAX_IN_FLIGHT: usize = 256;

/// Looks at what a courier shows, and remembers it for the connection.
pub(crate) async fn begin(
    shared: &Shared,
    connection: &Connection,
    files: &TlsFiles,
    request: ImportRequest,
) -> Result<ImportReply, Failure> {
    connection.must_be(Role::Courier)?;
    let files = files.clone();
    let verified = tokio::task::spawn_blocking(move || verify(&request, &files)).await;
    let manifest = verified.map_err(|_| GatewayError::Ended("the check of an export"))??;
    if !shared.leases.is_listed(&manifest.node) {
        return Err(Refused::new(Refusal::Role, "this node is not on the gateway's list").into());
    }
    let reply = ImportReply { node: manifest.node.clone(), segments: manifest.segments.len() as u64 };
    connection.set_import(manifest);
    Ok(reply)
}

fn verify(request: &ImportRequest, files: &TlsFiles) -> Result<Manifest, Failure> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&request.certificate).collect();
    let chain = chain.map_err(|_| Refused::new(Refusal::Identity, "the export's certificate is damaged"))?;
    let now = WallTime::from_unix_millis(u64::try_from(now_millis()).unwrap_or_default());
    let revoked = files.revoked.as_deref();
    let verified = verify_manifest(&request.manifest, &request.signature, &chain, &files.authority, revoked, now);
    verified.map_err(|error| {
        let refusal = match &error {
            ExportError::Manifest(_) => Refusal::Malformed,
            _ => Refusal::Identity,
        };
        Refused::new(refusal, error.to_string()).into()
    })
}

/// Takes a segment in. Answers once everything in it is stored or was refused.
pub(crate) async fn segment(
    shared: &Shared,
    connection: &Connection,
    bytes: Bytes,
) -> Result<SegmentReply, Failure> {
    connection.must_be(Role::Courier)?;
    let Some(manifest) = connection.import() else {
        return Err(Refused::new(Refusal::Malformed, "a segment before its manifest").into());
    };
    let sha256: [u8; 32] = Sha256::digest(&bytes).into();
    let listed = manifest.segments.iter().find(|segment| segment.sha256 == sha256);
    let listed = listed.ok_or_else(|| Refused::new(Refusal::Identity, "the manifest knows no such segment"))?;
    let content = read_segment(bytes).map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))?;
    if (content.table(), content.epoch(), content.first_seq()) != (listed.table, listed.epoch, listed.first_seq) {
        return Err(Refused::new(Refusal::Malformed, "the segment is another than its name says").into());
    }
    let (tell, outcomes) = mpsc::unbounded_channel();
    let key =
        StreamKey { node: manifest.node.clone(), table: listed.table.name().to_owned(), epoch: listed.epoch };
    take_epoch(shared, &key)?;
    let taking = Taking {
        shared,
        key,
        checker: None,
        tell,
        outcomes,
        in_flight: 0,
        reply: SegmentReply { settled: 0, refused: 0, refusal: 0 },
    };
    taking.run(content).await
}

/// One segment on its way.
struct Taking<'a> {
    shared: &'a Shared,
    key: StreamKey,
    checker: Option<(Arc<Opening>, Checker)>,
    tell: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    in_flight: usize,
    reply: SegmentReply,
}

impl Taking<'_> {
    async fn run(mut self, content: SegmentContent) -> Result<SegmentReply, Failure> {
        for parcel in content {
            let (_, first_seq, last_seq) = parcel.span();
            let taken = match parcel {
                Parcel::Gap { reason, .. } => {
                    self.shared.quotas.take(&self.key.node, 1, 0, now())?;
                    Ok((What::Gap(reason), 0))
                }
                Parcel::Rows { opening, payload, .. } => {
                    self.shared.quotas.take(&self.key.node, 0, payload.len() as u64, now())?;
                    self.rows(&opening, payload, first_seq, last_seq).await
                }
            };
            match taken {
                Ok((what, bytes)) => {
                    let job = Job { key: self.key.clone(), first_seq, last_seq, what, tell: self.tell.clone() };
                    let sent = self.shared.entrance.send(job, bytes).await;
                    sent.map_err(|_| GatewayError::Ended("the committer"))?;
                    self.in_flight += 1;
                    while self.in_flight >= MAX_IN_FLIGHT {
                        self.hear().await?;
                    }
                }
                Err(Failure::Refused(refused)) if refused.refusal != Refusal::Quota => {
                    self.reply.refused += 1;
                    if self.reply.refusal == 0 {
                        self.reply.refusal = refused.refusal as i32;
                    }
                    // The status is for a call that fails; here the reason goes into the log and the count.
                    let _ = self.shared.refuse(&self.key.node, refused);
                }
                Err(failure) => return Err(failure),
            }
        }
        while self.in_flight > 0 {
            self.hear().await?;
        }
        Ok(self.reply)
    }

    async fn rows(
        &mut self,
        opening: &Arc<Opening>,
        payload: Bytes,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<(What, usize), Failure> {
        if self.checker.as_ref().is_none_or(|(known, _)| known != opening) {
            let checker = self.open(opening)?;
            pin(self.shared, &checker, &self.key).await?;
            self.checker = Some((Arc::clone(opening), checker));
        }
        let Some((_, checker)) = &self.checker else { return Err(GatewayError::Ended("a check").into()) };
        let bytes = payload.len();
        let malformed = || Refused::new(Refusal::Malformed, "no Arrow message");
        let batch = self.shared.guarded(|| {
            let messages = take_apart(payload).ok_or_else(malformed)?;
            let [message] = messages.as_slice() else { return Err(malformed()) };
            let crc = wire::checksum(&message.header, &message.body);
            checker.rows(&message.header, &message.body, &wire::Rows { first_seq, last_seq, crc }, now_millis())
        })?;
        self.shared.quotas.take_days(&self.key.node, &self.key.table, landing::days_of(&batch)?, now())?;
        self.shared.quotas.take(&self.key.node, batch.num_rows() as u64, 0, now())?;
        Ok((What::Rows(batch), bytes))
    }

    fn open(&self, opening: &Opening) -> Result<Checker, Refused> {
        let malformed = || Refused::new(Refusal::Malformed, "no schema");
        let StreamKey { node, table, epoch } = &self.key;
        let payload = opening.payload.clone();
        self.shared.guarded(|| {
            let messages = take_apart(payload).ok_or_else(malformed)?;
            let (schema, dictionaries) = messages.split_first().ok_or_else(malformed)?;
            let accept_demo = self.shared.accept_demo;
            let mut checker = Checker::open(node, *epoch, accept_demo, table, &schema.header, &schema.body)?;
            for message in dictionaries {
                checker.dictionary(&message.header, &message.body)?;
            }
            Ok(checker)
        })
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        let Some(Outcome { first_seq, last_seq, result }) = self.outcomes.recv().await else {
            return Err(GatewayError::Ended("the committer").into());
        };
        self.in_flight -= 1;
        match result {
            Ok(_) => {
                self.reply.settled = self.reply.settled.saturating_add(last_seq - first_seq).saturating_add(1);
                Ok(())
            }
            Err(Some(refusal)) => {
                Err(Refused::new(refusal, "more holes in the numbers than are remembered").into())
            }
            Err(None) => Err(GatewayError::Ended("a commit").into()),
        }
    }
}
