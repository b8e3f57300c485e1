//! SIGINT and SIGTERM: the first asks the process to finish, the second ends it at once. SIGHUP asks it to read its
//! configuration again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a process that a second signal ended.
const BROKEN_OFF: i32 = 130;

/// Whether someone asked the process to stop.
#[derive(Clone, Debug)]
pub(crate) struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Listens for the signals from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the shutdown sees the flag that the first signal set.
            flag::register_conditional_shutdown(signal, BROKEN_OFF, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whether someone asked the process to read its configuration again.
#[derive(Clone, Debug)]
pub(crate) struct ReloadRequest(Arc<AtomicBool>);

impl ReloadRequest {
    /// Listens for the signal from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&asked))?;
        Ok(Self(asked))
    }

    /// Whether it was asked since the last call.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}
