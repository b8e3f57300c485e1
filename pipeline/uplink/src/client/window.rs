//! How much may be on its way at once, learned from how long its answer takes.
//!
//! Links differ by a factor of ten thousand: a cabinet on a fibre, and one on 64 kbit/s with three seconds of
//! delay. What is on its way is in memory and is sent again after an interruption, so it has to fit the link.

use std::time::Duration;

/// A number of bytes that grows while answers come soon and shrinks when they come late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    bytes: usize,
    least: usize,
    most: usize,
    /// An answer within this time lets it grow.
    soon: Duration,
    /// One after this time makes it shrink.
    late: Duration,
}

impl Window {
    /// Rows that have just been made: an answer may take some seconds.
    pub(super) fn live() -> Self {
        let (soon, late) = (Duration::from_secs(4), Duration::from_secs(15));
        Self { bytes: 64 << 10, least: 16 << 10, most: 16 << 20, soon, late }
    }

    /// A piece of the backlog: while it is on its way, newer rows wait behind it, so it is to be short.
    pub(super) fn backlog() -> Self {
        let (soon, late) = (Duration::from_secs(3), Duration::from_secs(8));
        Self { bytes: 32 << 10, least: 8 << 10, most: 4 << 20, soon, late }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Learns from an answer that took so long. `was_full` says whether the window was used up: only then a soon
    /// answer says that more would have gone through.
    pub(super) fn answered(&mut self, took: Duration, was_full: bool) {
        if took > self.late {
            self.bytes = (self.bytes / 2).max(self.least);
        } else if took < self.soon && was_full {
            self.bytes = self.bytes.saturating_mul(4).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_follows_the_link_within_its_bounds() {
        let second = Duration::from_secs(1);
        for (mut window, least, most) in
            [(Window::live(), 16 << 10, 16 << 20), (Window::backlog(), 8 << 10, 4 << 20)]
        {
            let start = window.bytes();
            window.answered(second, false);
            assert_eq!(window.bytes(), start, "an idle link says nothing");
            (0..20).for_each(|_| window.answered(second, true));
            assert_eq!(window.bytes(), most);
            (0..20).for_each(|_| window.answered(20 * second, true));
            assert_eq!(window.bytes(), least);
            window.answered(6 * second, true);
            assert_eq!(window.bytes(), least, "neither soon nor late");
        }
    }
}
