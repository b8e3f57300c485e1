//! Whether a stream that goes on shows the same picture over and over.
//!
//! A sensor's noise changes some pixel in every frame, unless the camera's encoder leaves it out: at night, and where
//! nothing happens, some send the same picture for seconds. A stillness is therefore held against the longest one
//! that ended by itself lately. A frozen picture that is encoded anew changes a little at each key picture, so the
//! first stillness that ends for a moment only is forgiven, and not taken for how this stream is.

use std::time::Duration;

use kerbside_core::time::MediaTime;

/// A picture that has not changed for this long may be frozen.
const LEAST: Duration = Duration::from_millis(4500);
/// A stillness this many times as long as the longest one that ended by itself is none of those.
const LONGER: f64 = 4.0;
/// After this time the longest stillness counts half.
const HALF_LIFE: Duration = Duration::from_secs(12 * 3600);
/// A stream counts as one that changes after this time of changes.
const LIVELY: Duration = Duration::from_secs(10);
/// One that never did is frozen after this time.
const NEVER_LIVELY: Duration = Duration::from_secs(600);
/// A frozen picture lives again when it has changed for this long.
const LIVES_AGAIN: Duration = Duration::from_secs(1);
/// One ending for a shorter time than [`LIVES_AGAIN`] is forgiven in this time.
const FORGIVEN_ONCE_IN: Duration = Duration::from_secs(12 * 3600);

/// What is known of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stillness {
    /// The last frame that was new, while frames repeat.
    still_since: Option<MediaTime>,
    /// Since when every frame has been new.
    changing_since: Option<MediaTime>,
    last: Option<MediaTime>,
    changed_for: Duration,
    /// How long the stillness lasted that has just ended, in seconds, until it is known whether for more than a moment.
    ended: Option<f64>,
    forgiven_at: Option<MediaTime>,
    /// The longest stillness that ended by itself, in seconds, as of when.
    longest: f64,
    longest_at: MediaTime,
    frozen: bool,
}

impl Stillness {
    /// Nobody knows what happened since the last frame.
    pub(crate) fn interrupt(&mut self) {
        (self.still_since, self.changing_since, self.last, self.ended) = (None, None, None, None);
    }

    /// Takes in one frame; whether the picture is frozen.
    pub(crate) fn watch(&mut self, at: MediaTime, step: Duration, repeated: bool) -> bool {
        if repeated {
            if let Some(lasted) = self.ended.take() {
                if self.forgiven_at.is_some_and(|then| at.since(then) < FORGIVEN_ONCE_IN) {
                    self.learn(at, lasted);
                } else {
                    self.forgiven_at = Some(at);
                }
            }
            self.changing_since = None;
            let since = *self.still_since.get_or_insert(self.last.unwrap_or(at));
            let needed = if self.changed_for < LIVELY { NEVER_LIVELY } else { self.needed(at) };
            self.frozen |= at.since(since) >= needed;
        } else {
            self.changed_for = (self.changed_for + step).min(LIVELY);
            let changing_since = *self.changing_since.get_or_insert(at);
            if let Some(since) = self.still_since.take().filter(|_| !self.frozen) {
                self.ended = Some(self.last.map_or(Duration::ZERO, |last| last.since(since)).as_secs_f64());
            }
            if at.since(changing_since) >= LIVES_AGAIN
                && let Some(lasted) = self.ended.take()
            {
                self.learn(at, lasted);
            }
            self.frozen &= at.since(changing_since) < LIVES_AGAIN;
        }
        self.last = Some(at);
        self.frozen
    }

    /// This stream is still for so long now and then.
    fn learn(&mut self, at: MediaTime, lasted: f64) {
        self.longest = self.faded(at).max(lasted);
        self.longest_at = at;
    }

    fn needed(&self, at: MediaTime) -> Duration {
        LEAST.max(Duration::from_secs_f64(LONGER * self.faded(at)))
    }

    fn faded(&self, at: MediaTime) -> f64 {
        self.longest * (-at.since(self.longest_at).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream at `fps` of spans in seconds, changing or not in turn; when it is frozen, in seconds.
    fn frozen(fps: u64, spans: &[u64]) -> Vec<u64> {
        let (mut stillness, mut frame, mut out) = (Stillness::default(), 0u64, Vec::new());
        let (mut was, mut end) = (false, 0);
        for (index, span) in spans.iter().enumerate() {
            end += span * fps;
            while frame < end {
                let at = MediaTime::from_millis(1000 * frame / fps);
                let is = stillness.watch(at, Duration::from_millis(1000 / fps), index % 2 == 1);
                if is != was {
                    out.push(at.as_nanos() / 1_000_000_000);
                }
                (was, frame) = (is, frame + 1);
            }
        }
        out
    }

    #[test]
    fn a_lively_stream_freezes_within_seconds_and_lives_again() {
        for fps in [2, 5, 10, 25] {
            let found = frozen(fps, &[20, 30, 20, 30, 20]);
            assert!(matches!(found[..], [24 | 25, 51, 74 | 75, 101]), "{fps} fps: {found:?}");
        }
    }

    #[test]
    fn pauses_that_grow_with_the_night_are_none() {
        assert_eq!(frozen(10, &[20, 1, 5, 3, 5, 8, 5, 20, 5, 60, 5, 100, 5]), [0u64; 0]);
        // But one that outlasts them by far is one.
        assert_eq!(frozen(10, &[20, 1, 5, 3, 5, 100]).len(), 1);
    }

    #[test]
    fn an_encoder_that_repeats_pictures_and_sends_a_new_one_now_and_then_is_learned() {
        // Only the first pause that ends for a moment is forgiven; the next ones say how this stream is.
        assert_eq!(frozen(10, &[20, 1, 1, 3, 1, 8, 1, 20, 1, 60, 5]), [0u64; 0]);
    }

    #[test]
    fn a_stream_that_never_changed_is_given_ten_minutes() {
        assert_eq!(frozen(5, &[1, 500, 3]), [0u64; 0]);
        assert_eq!(frozen(5, &[1, 700]), [600]);
    }

    #[test]
    fn a_key_picture_in_a_frozen_stream_does_not_hide_it() {
        let (mut stillness, mut found) = (Stillness::default(), None);
        // Frozen at 20 s; four seconds later, and every ten from then on, three frames differ a little.
        for frame in 0..40 * 25u64 {
            let is_key = frame >= 24 * 25 && (frame - 24 * 25) % 250 < 3;
            let at = MediaTime::from_millis(40 * frame);
            let frozen = stillness.watch(at, Duration::from_millis(40), frame >= 20 * 25 && !is_key);
            found = found.or(frozen.then_some(frame / 25));
        }
        assert_eq!(found, Some(28));
    }

    #[test]
    fn an_interruption_begins_anew() {
        let mut stillness = Stillness::default();
        let step = Duration::from_millis(100);
        for frame in 0..200 {
            assert!(!stillness.watch(MediaTime::from_millis(100 * frame), step, false));
        }
        for frame in 200..240 {
            assert!(!stillness.watch(MediaTime::from_millis(100 * frame), step, true));
        }
        stillness.interrupt();
        assert!(!stillness.watch(MediaTime::from_millis(60_000), step, true));
        assert!(stillness.watch(MediaTime::from_millis(65_000), step, true));
    }
}
