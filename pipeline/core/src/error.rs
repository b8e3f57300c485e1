//! What every crate's error answers, so that the runtime can decide without knowing the crate.

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Refuse to start: a person has to change something.
    Config,
    /// Try again with back-off and jitter.
    Transient,
    /// Give this camera (or this stage) up.
    Fatal,
}

/// An error that knows what to do about it.
pub trait Classified: std::error::Error {
    /// Which of the three answers fits.
    fn kind(&self) -> ErrorKind;
}
