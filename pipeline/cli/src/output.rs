//! Printing to people and to pipes.

use std::io::{self, Write as _};

use kerbside_core::error::{Classified, ErrorKind};

/// Prints a line on standard error. A closed standard error is no reason to fail.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints text on standard output.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Something that a person has to change first: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// Whether the error is that the reader of our output has gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_csv = |error: &csv::Error| match error.kind() {
        csv::ErrorKind::Io(error) => Some(error.kind()),
        _ => None,
    };
    error.chain().any(|cause| {
        let kind = cause
            .downcast_ref::<io::Error>()
            .map(io::Error::kind)
            .or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
            .or_else(|| cause.downcast_ref::<csv::Error>().and_then(of_csv));
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

/// The exit code for an error: 2 where a person has to change something first, otherwise 1.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    let kind = error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Refusal>()
            .map(|_| ErrorKind::Config)
            .or_else(|| cause.downcast_ref::<kerbside_runtime::RuntimeError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_models::ModelError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_uplink::ReadError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_uplink::client::UplinkError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_uplink::enroll::EnrollError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_uplink::export::ExportError>().map(Classified::kind))
            .or_else(|| cause.downcast_ref::<kerbside_release::LedgerError>().map(Classified::kind))
    });
    if kind == Some(ErrorKind::Config) { 2 } else { 1 }
}
