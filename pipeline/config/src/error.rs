//! The one way in which reading a configuration fails.

use std::fmt;

use kerbside_core::diagnostics::Problem;
use kerbside_core::error::{Classified, ErrorKind};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Everything that is wrong, sorted by file and place; never empty.
    #[error("{}", Lines(.0))]
    Problems(Vec<Problem>),
}

impl ConfigError {
    /// Everything that is wrong, sorted by file and place.
    pub fn problems(&self) -> &[Problem] {
        let Self::Problems(problems) = self;
        problems
    }
}

impl Classified for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    /// One line a problem, no line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
