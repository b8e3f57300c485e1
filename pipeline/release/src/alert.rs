//! Alerts on a number of people, decided by a noisy number.
//!
//! AboveThreshold (Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", 2014, algorithm 1): a threshold
//! with noise of scale 2Δ/ε is compared once a minute with the minute's person-time, with fresh noise of scale 4Δ/ε, until
//! it answers; that answer costs ε, however many comparisons came before it. One person adds at most Δ = one minute to
//! each comparison. After an answer nothing is compared for as long as a passage can last, so that no passage is part of
//! two answers. Answers alternate: a begin, then its end. Each is debited from the ledger before its noise is drawn.

use std::time::Duration;

use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::incident::{Incident, Phase};
use kerbside_core::operator::Alert;
use kerbside_core::privacy::Privacy;
use kerbside_core::time::{MediaTime, WallTime};

use crate::bins::nanos;
use crate::error::ReleaseError;
use crate::ledger::{Account, CameraUid, Debit, Ledger, Verdict};
use crate::noise::{Noise, Scale};

/// The length of a window, aligned to the Unix epoch, in nanoseconds: Δ for one person.
pub(crate) const WINDOW: u64 = 60_000_000_000;
/// Windows that are caught up with after a jump of the clock: a day.
const MOST_WINDOWS: u64 = 1440;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Answers a camera and day.
pub(crate) const ANSWERS_A_DAY: u32 = 10;

/// What a noisy decision says of how bad it is, and how sure it is: the same every time, since anything finer would tell
/// more than the decision.
const ALERT_SEVERITY: u8 = 50;
const ALERT_CONFIDENCE: u8 = 80;

/// What one alert is doing.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It compares nothing before this moment.
    Pausing(u64),
    /// It compares with this, which has its noise.
    Armed(i128),
}

/// One alert of one camera.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) alert: Alert,
    state: State,
    /// Whether a begin was told and not its end.
    is_open: bool,
    /// The window that is closed next, and person-time in it and in the one after, in nanoseconds: a window is closed
    /// when its last frames have come, and by then the next has begun.
    window: u64,
    sums: [u64; 2],
}

/// What an alert has to say at the end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It begins.
    Begin,
    /// It ends.
    End,
}

/// What a decision needs.
pub(crate) struct Means<'a> {
    pub(crate) noise: &'a mut Noise,
    pub(crate) ledger: &'a mut dyn Ledger,
    pub(crate) camera: CameraUid,
    pub(crate) privacy: &'a Privacy,
    /// How many alerts the camera has: somebody may walk through the zones of all, so they share the budget.
    pub(crate) alerts: u64,
    /// Counts what the ledger refused.
    pub(crate) refused: &'a mut u64,
}

impl Watch {
    pub(crate) fn new(alert: Alert, start: WallTime) -> Self {
        let window = start.as_unix_nanos() / WINDOW * WINDOW;
        Self { alert, state: State::Pausing(0), is_open: false, window, sums: [0; 2] }
    }

    /// A person was in the zone from `from` to `to`. What is about a window that is over is late, and left out.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        for (place, sum) in (0..).zip(&mut self.sums) {
            let begin = self.window.saturating_add(place * WINDOW);
            let (from, to) = (from.max(begin), to.min(begin.saturating_add(WINDOW)));
            *sum = sum.saturating_add(to.saturating_sub(from));
        }
    }

    /// Closes the windows that ended at or before `now`; says what is to be told, and of which moment.
    pub(crate) fn advance(
        &mut self,
        now: WallTime,
        means: &mut Means<'_>,
        mut tell: impl FnMut(Answer, WallTime),
    ) -> Result<(), ReleaseError> {
        let now = now.as_unix_nanos();
        if now.saturating_sub(self.window) > MOST_WINDOWS * WINDOW {
            // Nobody was counted in the windows that are left out.
            self.window = (now - MOST_WINDOWS * WINDOW) / WINDOW * WINDOW;
            self.sums = [0; 2];
        }
        while self.window + WINDOW <= now {
            let end = self.window + WINDOW;
            if let Some(answer) = self.close(end, means)? {
                tell(answer, WallTime::from_unix_nanos(end));
            }
            self.window = end;
            self.sums = [self.sums[1], 0];
        }
        Ok(())
    }

    /// What is told when nothing more will come: every begin has its end. It says nothing about anybody.
    pub(crate) fn finish(&mut self) -> Option<Answer> {
        std::mem::take(&mut self.is_open).then_some(Answer::End)
    }

    fn close(&mut self, end: u64, means: &mut Means<'_>) -> Result<Option<Answer>, ReleaseError> {
        if let State::Pausing(until) = self.state {
            if self.window < until {
                return Ok(None);
            }
            if !debit(WallTime::from_unix_nanos(self.window), means) {
                *means.refused += 1;
                // An end that can no longer be decided by a number is told at once; then nothing is compared until the
                // next day.
                let answer = self.finish();
                let day = DAY.as_nanos() as u64;
                self.state = State::Pausing((self.window / day + 1) * day);
                return Ok(answer);
            }
            let noise = means.noise.laplace(scale(2, means)?)?;
            self.state = State::Armed(self.threshold() + noise);
        }
        let State::Armed(threshold) = self.state else { return Ok(None) };
        let noise = means.noise.laplace(scale(4, means)?)?;
        // An end is asked for with both signs turned, which is the same comparison.
        let sum = if self.is_open { -i128::from(self.sums[0]) } else { i128::from(self.sums[0]) };
        if sum + noise < threshold {
            return Ok(None);
        }
        let pause = nanos(means.privacy.bounds.track_max);
        self.state = State::Pausing(end.saturating_add(pause));
        self.is_open = !self.is_open;
        Ok(Some(if self.is_open { Answer::Begin } else { Answer::End }))
    }

    /// What the sum, or the sum with its sign turned, is compared with.
    fn threshold(&self) -> i128 {
        let people = |milli: u32| i128::from(milli) * i128::from(WINDOW) / 1000;
        if self.is_open { -people(self.alert.until_milli) } else { people(self.alert.from_milli) }
    }
}

fn debit(at: WallTime, means: &mut Means<'_>) -> bool {
    let from = at.bin_start(DAY);
    let (camera, account) = (means.camera, Account::Alert);
    let debit = Debit { camera, account, from, to: from + DAY, most: ANSWERS_A_DAY };
    means.ledger.debit(&[debit]).as_slice() == [Verdict::Granted]
}

/// The scale `times` Δ / ε, where ε is this alert's part.
fn scale(times: u64, means: &Means<'_>) -> Result<Scale, ReleaseError> {
    let numerator = (times * WINDOW * 1000).checked_mul(means.alerts);
    let scale = numerator.and_then(|numerator| Scale::new(numerator, u64::from(means.privacy.epsilon.alert)));
    scale.ok_or(ReleaseError::Budget)
}

/// What an alert's answer is as an operator's word.
pub(crate) fn word(alert: &Alert, answer: Answer, number: u32, at: WallTime) -> (Finding, Incident) {
    let moment = MediaTime::from_nanos(at.as_unix_nanos());
    let incident = Incident {
        kind: alert.kind,
        phase: match answer {
            Answer::Begin => Phase::Begin,
            Answer::End => Phase::End,
        },
        number,
        since: moment,
        severity: ALERT_SEVERITY,
        confidence: ALERT_CONFIDENCE,
        value: alert.value,
        unit: alert.unit,
        reason: None,
    };
    let kind = FindingKind::Incident(incident);
    (Finding { at: moment, site: alert.site, class: Some(alert.class), track: None, kind }, incident)
}
