//! What was refused, and why.

use kerbside_uplink::wire::{REFUSAL_TRAILER, Refusal};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// A refusal with its reason in words. The words are for the gateway's log and for the node's; they repeat no text
/// of the message but lengths and numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", refusal.name())]
pub struct Refused {
    /// Which of the reasons.
    pub refusal: Refusal,
    /// The same in words.
    pub why: String,
}

impl Refused {
    pub(crate) fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self { refusal, why: why.into() }
    }

    /// As the end of a stream or a call, with its trailer.
    pub(crate) fn into_status(self) -> Status {
        let code = match self.refusal {
            Refusal::Identity | Refusal::IdentityConflict | Refusal::Role | Refusal::Replay => {
                Code::PermissionDenied
            }
            Refusal::Quota => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        };
        let mut status = Status::new(code, self.why);
        status.metadata_mut().insert(REFUSAL_TRAILER, MetadataValue::from_static(self.refusal.name()));
        status
    }
}
