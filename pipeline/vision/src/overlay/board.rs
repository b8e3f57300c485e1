//! What operators have said so far, as far as an overlay shows it: running numbers, what happened just now, and
//! situations that last. Pure: no pixel, no clock but the frames' own.

use std::collections::BTreeMap;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::{Geometry, SiteId};
use kerbside_core::incident::{Incident, Phase};
use kerbside_core::observation::TrackId;
use kerbside_core::time::MediaTime;

use super::words;

/// For how long something that happened stays on the picture: long enough to read it.
const EVENT_STAYS: Duration = Duration::from_millis(1500);
/// For how long its site is lit up.
const FLASH: Duration = Duration::from_millis(500);
/// For how long a situation that is over is still listed.
const ENDED_STAYS: Duration = Duration::from_millis(2000);

/// Which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TallyKey {
    pub(super) site: SiteId,
    /// The operator's place.
    pub(super) operator: u16,
    pub(super) subject: Subject,
    pub(super) class: Option<Class>,
}

/// What a running number is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Crossings,
    Presence,
    Turns(SiteId),
    Counted(Measure),
    Peak(Measure),
    Level(Measure),
}

/// A running number, or what its subject needs of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Objects, by [`Direction`].
    pub(super) counts: [u64; Direction::ALL.len()],
    /// The bucket of the last object.
    pub(super) bucket: u8,
    /// Time with at least one object.
    pub(super) occupied: Duration,
    /// The level of the frame at `at`: objects, what the measure says, or for a level in millionths of its unit.
    pub(super) level: u32,
    /// The highest level.
    pub(super) highest: u32,
    /// When the level was told.
    pub(super) at: Option<MediaTime>,
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) at: MediaTime,
    pub(super) site: SiteId,
    pub(super) track: Option<TrackId>,
    pub(super) text: String,
}

/// A situation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Situation {
    pub(super) since: MediaTime,
    pub(super) ended: Option<MediaTime>,
    pub(super) track: Option<TrackId>,
    pub(super) site: SiteId,
    pub(super) text: String,
}

/// Everything that operators have said.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) tallies: BTreeMap<TallyKey, Tally>,
    /// Oldest first.
    pub(super) events: Vec<Event>,
    /// By the operator's place and the situation's number.
    pub(super) situations: BTreeMap<(u16, u32), Situation>,
    /// When each site had its last finding.
    fired: BTreeMap<SiteId, MediaTime>,
}

impl Board {
    /// Takes in the findings of the frame at `at`, each with its operator's place and name, and forgets what has
    /// been shown for long enough. The number of events from the end of the list that are new.
    pub(super) fn take_in<'a>(
        &mut self,
        at: MediaTime,
        geometry: &Geometry,
        findings: impl Iterator<Item = (u16, &'a str, &'a Finding)>,
    ) -> usize {
        self.events.retain(|event| at.since(event.at) < EVENT_STAYS);
        self.situations.retain(|_, one| one.ended.is_none_or(|ended| at.since(ended) < ENDED_STAYS));
        let before = self.events.len();
        for (operator, name, finding) in findings {
            if is_something(&finding.kind) {
                self.fired.insert(finding.site, at);
            }
            if let FindingKind::Incident(incident) = &finding.kind {
                self.hear(at, operator, words::situation(name, geometry, finding, incident), finding, incident);
            } else {
                self.count(at, operator, finding);
            }
            if let Some(text) = words::event(name, geometry, finding) {
                self.events.push(Event { at, site: finding.site, track: finding.track, text });
            }
        }
        self.events.len() - before
    }

    /// Whether an operator has something to say of the site at this frame.
    pub(super) fn is_firing(&self, site: SiteId, at: MediaTime) -> bool {
        self.fired.get(&site).is_some_and(|fired| *fired == at) || self.is_flashing(site, at)
    }

    /// Whether something happened there a moment ago, or a situation lasts there.
    pub(super) fn is_flashing(&self, site: SiteId, at: MediaTime) -> bool {
        self.events.iter().any(|event| event.site == site && at.since(event.at) < FLASH)
            || self.situations.values().any(|one| one.site == site && one.ended.is_none())
    }

    /// Whether a situation lasts that is about this track.
    pub(super) fn is_alarming(&self, track: TrackId) -> bool {
        self.situations.values().any(|one| one.track == Some(track) && one.ended.is_none())
    }

    fn hear(&mut self, at: MediaTime, operator: u16, text: String, finding: &Finding, incident: &Incident) {
        let ended = (incident.phase == Phase::End).then_some(at);
        let Finding { site, track, .. } = *finding;
        let since = incident.since;
        self.situations.insert((operator, incident.number), Situation { since, ended, track, site, text });
    }

    fn count(&mut self, at: MediaTime, operator: u16, finding: &Finding) {
        let subject = match finding.kind {
            FindingKind::Crossing { .. } => Subject::Crossings,
            FindingKind::Presence { .. } => Subject::Presence,
            FindingKind::Turn { toward } => Subject::Turns(toward),
            FindingKind::Counted { measure, .. } => Subject::Counted(measure),
            FindingKind::Peak { measure, .. } => Subject::Peak(measure),
            // Where nobody knows the street's measures there is no level.
            FindingKind::Level { share: 0, .. } | FindingKind::Incident(_) => return,
            FindingKind::Level { measure, .. } => Subject::Level(measure),
        };
        let key = TallyKey { site: finding.site, operator, subject, class: finding.class };
        let tally = self.tallies.entry(key).or_default();
        match finding.kind {
            FindingKind::Crossing { direction } => tally.counts[direction as usize] += 1,
            FindingKind::Turn { .. } => tally.counts[Direction::None as usize] += 1,
            FindingKind::Counted { direction, bucket, .. } => {
                tally.counts[direction as usize] += 1;
                tally.bucket = bucket;
            }
            FindingKind::Presence { lasted } => {
                // Each object has its own finding; the time that they share counts once.
                let first = tally.at != Some(at);
                tally.occupied += if first { lasted } else { Duration::ZERO };
                tally.level = if first { 1 } else { tally.level + 1 };
            }
            FindingKind::Peak { amount, .. } => tally.level = amount,
            FindingKind::Level { share, .. } => {
                // Each object has its own finding; together they are the level.
                let first = tally.at != Some(at);
                tally.level = if first { share } else { tally.level.saturating_add(share) };
            }
            FindingKind::Incident(_) => {}
        }
        tally.highest = tally.highest.max(tally.level);
        tally.at = Some(at);
    }
}

/// Levels are told at every frame, also where there is nothing.
fn is_something(kind: &FindingKind) -> bool {
    !matches!(kind, FindingKind::Peak { amount: 0, .. } | FindingKind::Level { share: 0, .. })
}

#[cfg(test)]
mod tests {
    use kerbside_core::incident::{IncidentKind, IncidentUnit};

    use super::*;

    fn at(millis: u64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn finding(millis: u64, kind: FindingKind) -> Finding {
        Finding { at: at(millis), site: SiteId(0), class: Some(Class::Car), track: Some(TrackId(7)), kind }
    }

    fn take_in(board: &mut Board, millis: u64, kinds: &[FindingKind]) -> usize {
        let findings: Vec<Finding> = kinds.iter().map(|kind| finding(millis, *kind)).collect();
        let spoken = findings.iter().map(|finding| (0, "an_operator", finding));
        board.take_in(at(millis), &Geometry::default(), spoken)
    }

    fn incident(phase: Phase) -> FindingKind {
        FindingKind::Incident(Incident {
            kind: IncidentKind::WrongWay,
            phase,
            number: 3,
            since: at(100),
            severity: 50,
            confidence: 90,
            value: 0,
            unit: IncidentUnit::None,
            reason: None,
        })
    }

    #[test]
    fn time_that_two_objects_share_is_occupied_once() {
        let mut board = Board::default();
        let presence = FindingKind::Presence { lasted: Duration::from_millis(100) };
        take_in(&mut board, 100, &[presence, presence]);
        take_in(&mut board, 200, &[presence]);
        let tally = board.tallies.values().next().unwrap();
        assert_eq!((tally.occupied, tally.level, tally.highest), (Duration::from_millis(200), 1, 2));
    }

    #[test]
    fn the_shares_of_one_frame_are_one_level_and_no_share_is_none() {
        let mut board = Board::default();
        let lasted = Duration::from_millis(100);
        let level = |share| FindingKind::Level { measure: Measure::DensityLevel, share, lasted };
        take_in(&mut board, 100, &[level(0)]);
        assert!(board.tallies.is_empty() && !board.is_firing(SiteId(0), at(100)));
        take_in(&mut board, 200, &[level(250_000), level(250_000), level(250_000)]);
        take_in(&mut board, 300, &[level(250_000)]);
        let (key, tally) = board.tallies.iter().next().unwrap();
        assert_eq!((tally.level, tally.highest), (250_000, 750_000));
        let words = words::tally(&Geometry::default(), key, tally, at(300));
        assert_eq!(words, "density_level car 0.25");
    }

    #[test]
    fn crossings_are_counted_by_direction_and_shown_for_a_moment() {
        let mut board = Board::default();
        let crossing = |direction| FindingKind::Crossing { direction };
        assert_eq!(take_in(&mut board, 100, &[crossing(Direction::Forward), crossing(Direction::Backward)]), 2);
        assert_eq!(take_in(&mut board, 200, &[crossing(Direction::Forward)]), 1);
        assert!(board.is_firing(SiteId(0), at(400)));
        assert!(!board.is_firing(SiteId(1), at(400)));
        assert_eq!(take_in(&mut board, 5000, &[]), 0);
        assert!(board.events.is_empty() && !board.is_firing(SiteId(0), at(5000)));
        assert_eq!(board.tallies.values().next().unwrap().counts, [0, 2, 1]);
    }

    #[test]
    fn a_situation_is_listed_while_it_lasts_and_for_a_moment_after() {
        let mut board = Board::default();
        take_in(&mut board, 100, &[incident(Phase::Begin)]);
        take_in(&mut board, 60_000, &[]);
        assert!(board.is_firing(SiteId(0), at(60_000)) && board.is_alarming(TrackId(7)));
        take_in(&mut board, 61_000, &[incident(Phase::End)]);
        assert!(!board.is_alarming(TrackId(7)));
        assert_eq!(board.situations.len(), 1);
        take_in(&mut board, 64_000, &[]);
        assert!(board.situations.is_empty());
    }
}
