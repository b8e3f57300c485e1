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

/// An error and what caused it, on one line. A cause whose words stand there already is not told again.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
