//! Tells the service manager how the node is: systemd, or podman for a container, where one listens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The way to the service manager.
pub(crate) struct Service {
    /// How often it wants to hear that the node is alive; never if `None`.
    every: Option<Duration>,
    next: Instant,
}

impl Service {
    pub(crate) fn new() -> Self {
        // Half of the time would do; a third leaves room for one that was late.
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 3), next: Instant::now() }
    }

    /// All is started.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The configuration is read again; [`Service::ready`] says when that is done.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The node ends.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Says that the node is alive, where it is: while a stage hangs it says nothing, and the manager starts it anew.
    pub(crate) fn look(&mut self, is_alive: bool, now: Instant) {
        let Some(every) = self.every else { return };
        if is_alive && now >= self.next {
            self.next = now + every;
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// A manager that does not listen is none of the node's business.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
