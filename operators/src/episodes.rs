//! When a situation begins, is worth another word, and ends: the bookkeeping of incidents that several
//! operators share.
//!
//! An operator says in each frame for which keys its condition holds ([`Episodes::holds`]), then that the
//! frame is done ([`Episodes::settle`]). A key is whatever tells situations of one operator apart: a site, an
//! object that outlives its track's id ([`crate::per_object`]), a place. A condition that held for `after`
//! begins an incident; one that was absent for `patience` ends it. Detectors miss and trackers change ids:
//! both times are there so that one situation stays one incident.
//!
//! # Invariants
//! - Each number has exactly one begin, then updates, then exactly one end; numbers are 0, 1, 2 and so on.
//! - No two incidents of one key last at the same time.
//! - From a key's end to its next begin at least `after` passes; from begin to end at least `patience`, unless
//!   the operator itself knows better ([`Episodes::end`]).
//! - What lasts ends by the clock ([`Episodes::advance`]): at most `patience` after it last held, whether frames come
//!   or not.
//! - Words about one incident between its begin and end are [`BETWEEN_UPDATES`] apart or more, and each
//!   differs from the one before in what would be released of it.
//! - Memory is bounded by the keys of the last `patience`; once warm, nothing is allocated.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase, Reason};
use kerbside_core::observation::TrackId;
use kerbside_core::time::MediaTime;

/// The least time between two words about a situation that lasts.
pub(crate) const BETWEEN_UPDATES: Duration = Duration::from_secs(10);

/// When situations of one kind begin and end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What kind.
    pub(crate) kind: IncidentKind,
    /// For how long the condition must have held. Zero begins at once.
    pub(crate) after: Duration,
    /// For how long the condition may fail meanwhile without starting anew.
    pub(crate) gap: Duration,
    /// For how long it must be absent before the situation is over.
    pub(crate) patience: Duration,
}

/// What is to be said of a situation now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Word {
    /// Where.
    pub(crate) site: SiteId,
    /// To what; `None` where it is not about objects of one class.
    pub(crate) class: Option<Class>,
    /// To which track, if to one.
    pub(crate) track: Option<TrackId>,
    /// 0 to 100.
    pub(crate) severity: u8,
    /// 0 to 100.
    pub(crate) confidence: u8,
    /// In `unit`.
    pub(crate) value: i32,
    /// What `value` is of.
    pub(crate) unit: IncidentUnit,
    /// Why it is unusual, where the kind does not say it.
    pub(crate) reason: Option<Reason>,
}

impl Word {
    /// The severity and value as they would be released: what is finer is no change.
    fn coarse(&self, kind: IncidentKind) -> (u8, i32) {
        let Self { severity, confidence, value, unit, reason, .. } = *self;
        let (phase, number, since) = (Phase::Update, 0, MediaTime::ZERO);
        let word = Incident { kind, phase, number, since, severity, confidence, value, unit, reason };
        let coarse = word.coarse(self.class);
        (coarse.severity, coarse.value)
    }
}

#[derive(Clone, Copy, Debug)]
struct Episode<K> {
    key: K,
    /// Since when the condition holds, gaps aside.
    held_since: MediaTime,
    held_last: MediaTime,
    /// The newest word.
    word: Word,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u32,
    since: MediaTime,
    /// When the last finding was, and what it said.
    said_at: MediaTime,
    said: (u8, i32),
}

/// The situations of one operator, those that may begin and those that last.
#[derive(Debug)]
pub(crate) struct Episodes<K> {
    rules: Rules,
    /// In the order in which their conditions began to hold.
    list: Vec<Episode<K>>,
    next: u32,
    now: MediaTime,
}

impl<K: Copy + PartialEq> Episodes<K> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, list: Vec::new(), next: 0, now: MediaTime::ZERO }
    }

    /// The condition holds for `key` at `at`, which never decreases. Whether an incident lasts now.
    pub(crate) fn holds(&mut self, key: K, at: MediaTime, word: Word, findings: &mut Findings) -> bool {
        self.advance(at, findings);
        let rules = self.rules;
        let place = self.list.iter().position(|episode| episode.key == key);
        let place = place.unwrap_or_else(|| {
            self.list.push(Episode { key, held_since: at, held_last: at, word, open: None });
            self.list.len() - 1
        });
        let episode = &mut self.list[place];
        let absent = at.since(episode.held_last);
        if episode.open.is_none() && absent > rules.gap {
            episode.held_since = at;
        }
        (episode.held_last, episode.word) = (at, word);
        match &mut episode.open {
            None if at.since(episode.held_since) >= rules.after => {
                episode.open =
                    Some(Open { number: self.next, since: at, said_at: at, said: word.coarse(self.rules.kind) });
                self.next += 1;
                say(rules.kind, episode, Phase::Begin, at, findings);
            }
            Some(open)
                if at.since(open.said_at) >= BETWEEN_UPDATES && open.said != word.coarse(self.rules.kind) =>
            {
                (open.said_at, open.said) = (at, word.coarse(self.rules.kind));
                say(rules.kind, episode, Phase::Update, at, findings);
            }
            _ => {}
        }
        episode.open.is_some()
    }

    /// Time has come to `upto`, and nobody has said anything since: what was absent for longer than the patience
    /// ended when the patience did, however late somebody asks. To be called before anything of a frame is told, so
    /// that findings stay in order; names no frame, so that it may be called at any time.
    pub(crate) fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        let Rules { kind, patience, .. } = self.rules;
        let overdue = |episode: &Episode<K>| episode.open.is_some() && upto.since(episode.held_last) > patience;
        while let Some(place) = (0..self.list.len())
            .filter(|place| overdue(&self.list[*place]))
            .min_by_key(|place| self.list[*place].held_last)
        {
            let episode = self.list.remove(place);
            say(kind, &episode, Phase::End, episode.held_last + patience, findings);
        }
        self.now = self.now.max(upto);
    }

    /// Every condition of this moment has been named: what was absent for too long ends here.
    pub(crate) fn settle(&mut self, at: MediaTime, findings: &mut Findings) {
        self.advance(at, findings);
        let Rules { kind, gap, patience, .. } = self.rules;
        self.list.retain(|episode| {
            let absent = at.since(episode.held_last);
            if episode.open.is_none() {
                return absent <= gap;
            }
            if absent < patience {
                return true;
            }
            say(kind, episode, Phase::End, at, findings);
            false
        });
    }

    /// The situation of `key` is known to be over.
    pub(crate) fn end(&mut self, key: K, at: MediaTime, findings: &mut Findings) {
        self.advance(at, findings);
        let kind = self.rules.kind;
        self.list.retain(|episode| {
            if episode.key == key && episode.open.is_some() {
                say(kind, episode, Phase::End, at, findings);
            }
            episode.key != key
        });
    }

    /// The last moment that was named.
    pub(crate) fn now(&self) -> MediaTime {
        self.now
    }

    /// Whether an incident of `key` lasts.
    pub(crate) fn is_open(&self, key: K) -> bool {
        self.list.iter().any(|episode| episode.key == key && episode.open.is_some())
    }

    /// What held for `from` goes on as `to`, unless an incident of `to` lasts already.
    pub(crate) fn hand_over(&mut self, from: K, to: K) {
        if from != to && !self.is_open(to) && self.list.iter().any(|episode| episode.key == from) {
            self.list.retain(|episode| episode.key != to);
            self.list.iter_mut().filter(|episode| episode.key == from).for_each(|episode| episode.key = to);
        }
    }

    /// Nobody knows what happened until now: conditions that did not begin an incident yet start anew.
    pub(crate) fn interrupt(&mut self) {
        self.list.retain(|episode| episode.open.is_some());
    }

    /// Nothing more will come: what lasts ends at the last moment that was named.
    pub(crate) fn finish(&mut self, findings: &mut Findings) {
        for episode in self.list.drain(..).filter(|episode| episode.open.is_some()) {
            say(self.rules.kind, &episode, Phase::End, self.now, findings);
        }
    }
}

fn say<K>(kind: IncidentKind, episode: &Episode<K>, phase: Phase, at: MediaTime, findings: &mut Findings) {
    let Some(Open { number, since, .. }) = episode.open else { return };
    let Word { site, class, track, severity, confidence, value, unit, reason } = episode.word;
    let incident = Incident { kind, phase, number, since, severity, confidence, value, unit, reason };
    findings.push(Finding { at, site, class, track, kind: FindingKind::Incident(incident) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        kind: IncidentKind::RestrictedZone,
        after: Duration::from_secs(2),
        gap: Duration::from_secs(1),
        patience: Duration::from_secs(5),
    };

    fn word(value: i32) -> Word {
        Word {
            site: SiteId(0),
            class: None,
            track: None,
            severity: 50,
            confidence: 80,
            value,
            unit: IncidentUnit::Count,
            reason: None,
        }
    }

    /// Second by second, `Some(value)` where the condition holds.
    fn run(conditions: impl IntoIterator<Item = Option<i32>>) -> Vec<(u64, Phase, u32, i32)> {
        let (mut episodes, mut findings) = (Episodes::new(RULES), Findings::new());
        for (secs, condition) in (0..).zip(conditions) {
            let at = MediaTime::from_millis(1000 * secs);
            if let Some(value) = condition {
                episodes.holds((), at, word(value), &mut findings);
            }
            episodes.settle(at, &mut findings);
        }
        episodes.finish(&mut findings);
        told(&findings)
    }

    fn told(findings: &Findings) -> Vec<(u64, Phase, u32, i32)> {
        let of = |finding: &Finding| match finding.kind {
            FindingKind::Incident(it) => (finding.at.as_nanos() / 1_000_000_000, it.phase, it.number, it.value),
            other => panic!("{other:?}"),
        };
        findings.as_slice().iter().map(of).collect()
    }

    fn seconds(pattern: &str) -> Vec<Option<i32>> {
        pattern.chars().map(|c| (c == '#').then_some(1)).collect()
    }

    #[test]
    fn a_situation_begins_after_a_while_and_ends_after_a_while() {
        use Phase::{Begin, End};
        type Case = (&'static str, &'static [(u64, Phase)]);
        let cases: [Case; 6] = [
            ("...", &[]),
            (".##.......", &[]),
            (".###.......", &[(3, Begin), (8, End)]),
            (".#.#.......", &[]),
            (".###....###", &[(3, Begin), (10, End)]),
            (".###.....###....", &[(3, Begin), (8, End), (11, Begin), (15, End)]),
        ];
        for (pattern, expected) in cases {
            let found: Vec<_> = run(seconds(pattern)).iter().map(|&(at, phase, ..)| (at, phase)).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn only_changes_are_worth_a_word_and_not_too_often() {
        use Phase::{Begin, End, Update};
        let steady = run((0..60).map(|_| Some(7)));
        assert_eq!(steady, [(2, Begin, 0, 7), (59, End, 0, 7)]);
        let rising = run((0..30).map(Some));
        assert_eq!(rising, [(2, Begin, 0, 2), (12, Update, 0, 12), (22, Update, 0, 22), (29, End, 0, 29)]);
    }

    #[test]
    fn what_is_handed_over_goes_on_and_what_is_interrupted_starts_anew() {
        let (mut episodes, mut findings) = (Episodes::new(RULES), Findings::new());
        let at = MediaTime::from_millis;
        for secs in 0..=2 {
            episodes.holds('a', at(1000 * secs), word(1), &mut findings);
        }
        episodes.hand_over('a', 'b');
        assert!(episodes.is_open('b') && !episodes.is_open('a'));
        for secs in 3..20 {
            episodes.holds('b', at(1000 * secs), word(1), &mut findings);
            episodes.settle(at(1000 * secs), &mut findings);
        }
        episodes.holds('c', at(19_000), word(1), &mut findings);
        episodes.interrupt();
        assert!(episodes.is_open('b'));
        assert!(!episodes.holds('c', at(21_000), word(1), &mut findings), "it holds since now");
        episodes.end('b', at(21_000), &mut findings);
        episodes.finish(&mut findings);
        assert_eq!(told(&findings), [(2, Phase::Begin, 0, 1), (21, Phase::End, 0, 1)]);
    }

    #[test]
    fn what_lasts_ends_with_its_patience_however_late_the_next_word() {
        let at = |secs: u64| MediaTime::from_millis(1000 * secs);
        type Resume = fn(&mut Episodes<char>, MediaTime, &mut Findings);
        let resumes: [Resume; 4] = [
            |episodes, at, findings| episodes.settle(at, findings),
            |episodes, at, findings| episodes.advance(at, findings),
            |episodes, at, findings| episodes.end('a', at, findings),
            |episodes, at, findings| assert!(!episodes.holds('a', at, word(1), findings)),
        ];
        for resume in resumes {
            let (mut episodes, mut findings) = (Episodes::new(RULES), Findings::new());
            for secs in 0..=3 {
                episodes.holds('a', at(secs), word(1), &mut findings);
                episodes.settle(at(secs), &mut findings);
                episodes.advance(at(secs), &mut findings);
            }
            resume(&mut episodes, at(7200), &mut findings);
            episodes.finish(&mut findings);
            assert_eq!(told(&findings), [(2, Phase::Begin, 0, 1), (8, Phase::End, 0, 1)]);
        }
    }

    proptest! {
        #[test]
        fn incidents_never_overlap_flap_or_stay_open(
            frames in prop::collection::vec((1u64..4000, any::<[bool; 3]>(), -40i32..40, any::<bool>()), 0..200),
        ) {
            let (mut episodes, mut findings) = (Episodes::new(RULES), Findings::new());
            let mut at = MediaTime::ZERO;
            for (millis, holds, value, settles) in frames {
                at = at + Duration::from_millis(millis);
                for key in 0u16..3 {
                    if holds[usize::from(key)] {
                        episodes.holds(key, at, Word { site: SiteId(key), ..word(value) }, &mut findings);
                    }
                }
                if settles {
                    episodes.settle(at, &mut findings);
                }
            }
            let frames_end = at;
            episodes.finish(&mut findings);
            prop_assert!(findings.as_slice().is_sorted_by_key(|finding| finding.at));
            let (mut open, mut ended, mut begun) = ([None; 3], [None; 3], 0);
            for finding in findings.as_slice() {
                let FindingKind::Incident(it) = finding.kind else { panic!("{finding:?}") };
                let key = usize::from(finding.site.0);
                match it.phase {
                    Phase::Begin => {
                        prop_assert_eq!((it.number, it.since), (begun, finding.at));
                        begun += 1;
                        prop_assert!(open[key].is_none(), "two begins");
                        if let Some(ended) = ended[key] {
                            prop_assert!(finding.at.since(ended) >= RULES.after);
                        }
                        open[key] = Some((it.number, it.since, finding.at, it.value));
                    }
                    Phase::Update => {
                        let (number, since, said_at, value) = open[key].expect("a begin");
                        prop_assert_eq!((it.number, it.since), (number, since));
                        prop_assert!(finding.at.since(said_at) >= BETWEEN_UPDATES && it.value != value);
                        open[key] = Some((number, since, finding.at, it.value));
                    }
                    Phase::End => {
                        let (number, since, ..) = open[key].take().expect("a begin");
                        prop_assert_eq!((it.number, it.since), (number, since));
                        prop_assert!(finding.at.since(since) >= RULES.patience || finding.at == frames_end);
                        ended[key] = Some(finding.at);
                    }
                }
            }
            prop_assert_eq!(open, [None; 3]);
        }
    }
}
