//! Keeps a failing camera from filling the log.

use std::time::{Duration, Instant};

/// Between two lines of one camera.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// Between two lines that say the same.
const REPEAT_GAP: Duration = Duration::from_secs(60);

/// Decides which lines of one camera are written. `T` names what a line says.
pub(crate) struct Quiet<T> {
    last: Option<(T, Instant)>,
    withheld: u64,
}

impl<T: PartialEq + Copy> Quiet<T> {
    pub(crate) fn new() -> Self {
        Self { last: None, withheld: 0 }
    }

    /// `Some` when the line may be written, with the number of lines withheld since the last one.
    pub(crate) fn admit(&mut self, what: T, now: Instant) -> Option<u64> {
        if let Some((last, at)) = self.last {
            let gap = if last == what { REPEAT_GAP } else { LEAST_GAP };
            if now.saturating_duration_since(at) < gap {
                self.withheld += 1;
                return None;
            }
        }
        self.last = Some((what, now));
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_writes_one_line_a_second_and_repeats_itself_once_a_minute() {
        let begin = Instant::now();
        let mut quiet = Quiet::new();
        // (milliseconds, what, lines withheld before it when it is written)
        for (at, what, expected) in [
            (0, "lost", Some(0)),
            (900, "up", None),
            (1100, "lost", None),
            (1200, "up", Some(2)),
            (2300, "lost", Some(0)),
            (30_000, "lost", None),
            (62_300, "lost", Some(1)),
        ] {
            assert_eq!(quiet.admit(what, begin + Duration::from_millis(at)), expected, "{what} at {at}");
        }
    }
}
