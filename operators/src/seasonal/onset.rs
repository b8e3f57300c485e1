//! Tells the beginning of an event, once.

use super::SeasonalSettings;
use super::saved::Number;

/// A surprise of this many thresholds keeps the shadow of an event up: it goes on. Lesser ones are the noise
/// that follows it.
const LASTING: f64 = 1.5;

/// Hides what is not clearly worse than what was told lately.
///
/// The shadow of an event fades exponentially in time, but not while the event goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Onset {
    shadow: f64,
}

impl Onset {
    /// What of a surprise is new: all of it, or 0 where it belongs to something that was told already.
    pub(super) fn news(&mut self, secs: f64, surprise: f64, settings: &SeasonalSettings) -> f64 {
        let SeasonalSettings { threshold, fade_secs, worse_by, .. } = *settings;
        self.shadow *= (-secs / fade_secs).exp();
        if surprise > worse_by * self.shadow {
            self.shadow = surprise;
            surprise
        } else {
            if surprise >= LASTING * threshold {
                self.shadow = self.shadow.max(surprise);
            }
            0.0
        }
    }

    pub(super) fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        each(Number::Amount(&mut self.shadow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_event_is_told_once_a_worse_one_again_and_a_later_one_after_the_shadow_has_faded() {
        let mut onset = Onset::default();
        let settings = SeasonalSettings { threshold: 2.0, fade_secs: 3600.0, worse_by: 1.3, learning_secs: 1.0 };
        let mut news = |secs, surprise| onset.news(secs, surprise, &settings);
        assert_eq!(news(60.0, 4.0), 4.0);
        for _ in 0..500 {
            assert_eq!(news(60.0, 4.0), 0.0, "it goes on");
        }
        assert_eq!(news(60.0, 6.0), 6.0, "clearly worse");
        assert_eq!(news(1800.0, 4.0), 0.0, "in the shadow");
        assert_eq!(news(7200.0, 4.0), 4.0);
    }
}
