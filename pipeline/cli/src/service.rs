//! Tells the service manager how the node is: systemd, or podman for a container, where one listens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The way to the service manager.
pub(crate) struct Service {
    /// How often it wants to hear that the node is alive; never if `None`.
    every: Option<Duration>,
    next: Instant,
    hangs_since: Option<Instant>,
}

/// After so long a stage that makes no progress will not make any.
const HANGS_FOR_GOOD: Duration = Duration::from_secs(60);

impl Service {
    pub(crate) fn new() -> Self {
        // Half of the time would do; a third leaves room for one that was late.
        Self::with(sd_notify::watchdog_enabled().map(|limit| limit / 3))
    }

    fn with(every: Option<Duration>) -> Self {
        Self { every, next: Instant::now(), hangs_since: None }
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
    /// Whether the node has to end by itself, since it hangs for good and no manager would notice.
    pub(crate) fn look(&mut self, is_alive: bool, now: Instant) -> bool {
        if is_alive {
            self.hangs_since = None;
            if self.is_due(now) {
                tell(&[NotifyState::Watchdog]);
            }
            return false;
        }
        let since = *self.hangs_since.get_or_insert(now);
        self.every.is_none() && now.saturating_duration_since(since) >= HANGS_FOR_GOOD
    }

    /// Whether the manager wants to hear something now.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return false };
        self.next = now + every;
        true
    }
}

/// A manager that does not listen is none of the node's business.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_hears_of_a_node_that_is_alive_and_of_no_other() {
        let second = Duration::from_secs(1);
        let now = Instant::now() + second;
        let mut service = Service::with(Some(10 * second));
        assert!(service.is_due(now) && !service.is_due(now + 9 * second) && service.is_due(now + 10 * second));
        // While a stage hangs nothing is said, so that what is due stays due; the manager ends the node.
        assert!(!service.look(false, now + 30 * second) && !service.look(false, now + 3600 * second));
        assert!(service.is_due(now + 3600 * second), "it was not told meanwhile");
    }

    #[test]
    fn a_node_that_hangs_for_good_ends_by_itself_where_no_watchdog_listens() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let mut service = Service::with(None);
        assert!(!service.look(false, now) && !service.look(false, now + 59 * second));
        assert!(!service.look(true, now + 59 * second), "it goes on");
        assert!(!service.look(false, now + 60 * second) && !service.look(false, now + 119 * second));
        assert!(service.look(false, now + 120 * second));
    }
}
