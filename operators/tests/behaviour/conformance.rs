//! What holds for every operator of the table, each driven by its own example.
//!
//! Every operator finds something in what it is shown ([`crate::parade`]), so that none passes by silence. Analytics
//! are fed with tracks, guards with scenes alone, operators over bins with five weeks of bins of what they watch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Geometry, SiteId};
use kerbside_core::incident::{IncidentKind, IncidentUnit, Phase};
use kerbside_core::operator::{ClosedBin, Configured, Role};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_operators::TABLE;

use crate::camera::{configure, geometry_of};
use crate::parade::{Moment, Showing, parade};

/// The frame rate of every test but the one about frame rates.
const FPS: f64 = 5.0;
/// The length of a bin, and how many there are.
const BIN: Duration = Duration::from_secs(900);
const BINS: u64 = 5 * 7 * 24 * 4;

/// One row of the table with its example, ready to be run any number of times.
struct Example {
    name: &'static str,
    text: &'static str,
    geometry: Geometry,
    showing: Showing,
    moments: Vec<Moment>,
}

impl Example {
    /// The operators of this row in the example; it may hold others that feed them.
    fn operators(&self) -> Vec<Configured> {
        let all = configure(self.text).unwrap_or_else(|problems| panic!("{}: {problems:?}", self.name));
        let own: Vec<_> = all.into_iter().filter(|(name, _)| name == self.name).map(|(_, it)| it).collect();
        assert!(!own.is_empty(), "{}", self.name);
        own
    }

    /// What each operator finds in these frames; with `cut`, windows are closed after every so many of them.
    fn find(&self, moments: &[Moment], cut: Option<usize>) -> Vec<Vec<Finding>> {
        let feed = |it: &mut Configured| {
            let mut findings = Findings::new();
            feed(it, moments, cut, &mut findings);
            it.operator.finish(&mut findings);
            findings.as_slice().to_vec()
        };
        self.operators().iter_mut().map(feed).collect()
    }
}

fn examples() -> impl Iterator<Item = Example> {
    TABLE.iter().map(|spec| {
        let (geometry, showing) = (geometry_of(spec.example), Showing::of(spec.name));
        let moments = parade(&geometry, &showing, FPS);
        Example { name: spec.name, text: spec.example, geometry, showing, moments }
    })
}

fn feed(it: &mut Configured, moments: &[Moment], cut: Option<usize>, findings: &mut Findings) {
    if it.role == Role::Bins {
        // A stretch without any frame has no bins either.
        if moments.iter().any(|moment| !moment.tracks.is_empty()) {
            feed_bins(it, cut, findings);
        }
        return;
    }
    for (index, moment) in moments.iter().enumerate() {
        let mut observation = moment.observation();
        if it.role == Role::Guard {
            observation.tracks = &[];
        }
        it.operator.observe(&observation, findings);
        if it.role == Role::Analytic {
            assert!(it.operator.trusts(), "only guards judge the picture");
        }
        if cut.is_some_and(|cut| index.is_multiple_of(cut)) {
            it.operator.advance(moment.at, findings);
        }
    }
}

/// A week's rhythm five times over; in the last week a morning on which hardly anything comes.
fn feed_bins(it: &mut Configured, cut: Option<usize>, findings: &mut Findings) {
    assert!(!it.watches.is_empty(), "an operator over bins watches some");
    let mut dice = fastrand::Rng::with_seed(5);
    for index in 0..BINS {
        let from = WallTime::UNIX_EPOCH + BIN * index as u32;
        let (local, to) = (LocalTime::utc(from), from + BIN);
        let hour = f64::from(local.second_of_day) / 3600.0;
        let quiet = BINS - index < 4 * 4 * 24 && (8.0..13.0).contains(&hour);
        let weekend = if local.weekday() >= 5 { 0.6 } else { 1.0 };
        let usual = 20.0 + weekend * 180.0 * (1.0 - (hour - 14.0).abs() / 14.0).max(0.0);
        for cell in it.watches.clone() {
            let value = if quiet { 2 } else { (usual * (0.95 + 0.1 * dice.f64())) as i32 };
            it.operator.observe_bin(&ClosedBin { cell, from, to, local, value, coverage: 1.0 }, findings);
        }
        if cut.is_some_and(|cut| index.is_multiple_of(cut as u64)) {
            it.operator.advance(MediaTime::from_nanos(to.as_unix_nanos()), findings);
        }
    }
}

#[test]
fn the_example_finds_something_and_every_time_the_same() {
    for example in examples() {
        let first = example.find(&example.moments, None);
        assert!(first.iter().all(|findings| !findings.is_empty()), "{}", example.name);
        assert_eq!(first, example.find(&example.moments, None), "{}", example.name);
    }
}

#[test]
fn nothing_in_nothing_out() {
    let at = |n: u64| MediaTime::from_millis(100 * n);
    let empty: Vec<Moment> = (0..50).map(|n| Moment::plain(at(n), n.checked_sub(1).map(at), Vec::new())).collect();
    for example in examples() {
        for (name, moments) in [("no frame", &[][..]), ("empty frames", &empty[..])] {
            assert!(example.find(moments, None).iter().all(Vec::is_empty), "{}: {name}", example.name);
        }
    }
}

#[test]
fn every_finding_feeds_declared_cells_and_is_in_order() {
    for example in examples() {
        for (it, findings) in example.operators().iter().zip(example.find(&example.moments, None)) {
            let mut sorted = it.cells.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), it.cells.len(), "{}: a cell is declared twice", example.name);
            assert!(findings.is_sorted_by_key(|finding| finding.at), "{}", example.name);
            for finding in findings {
                // Alerts count people also where there is no density.
                let counts = matches!(finding.kind, FindingKind::Level { share: 0, .. })
                    && it
                        .alerts
                        .iter()
                        .any(|alert| (alert.site, Some(alert.class)) == (finding.site, finding.class));
                let feeds = finding.feeds().all(|cell| it.cells.contains(&cell));
                assert!(feeds || counts, "{}: {finding:?}", example.name);
                let known = finding.site == SiteId::PICTURE || example.geometry.name(finding.site).is_some();
                assert!(known, "{}: {finding:?}", example.name);
            }
        }
    }
}

#[test]
fn pc_8_what_feeds_a_counter_names_its_track_and_a_class_that_is_counted() {
    let mut tried = BTreeSet::new();
    for example in examples() {
        for (it, findings) in example.operators().iter().zip(example.find(&example.moments, None)) {
            for finding in findings.iter().filter(|finding| finding.feeds().next().is_some()) {
                if let FindingKind::Peak { measure, .. } = finding.kind {
                    // The highest of a level has no bounded share of one track, so that it never gets noise. A score
                    // is reckoned from released numbers.
                    let known = [Measure::QueueLen, Measure::QueueReach, Measure::FlowScore].contains(&measure);
                    assert!(known, "{}: {finding:?}", example.name);
                    continue;
                }
                assert!(finding.track.is_some(), "{}: {finding:?}", example.name);
                let class = finding.class.unwrap_or_else(|| panic!("{}: {finding:?}", example.name));
                let of_cell = it.cells.iter().any(|cell| (cell.site, cell.class) == (finding.site, Some(class)));
                let of_alert = it.alerts.iter().any(|it| (it.site, it.class) == (finding.site, class));
                assert!(of_cell || of_alert, "{}: {finding:?}", example.name);
                tried.insert(example.name);
            }
        }
    }
    let counting: BTreeSet<_> = TABLE.iter().map(|spec| spec.name).filter(|name| counts_tracks(name)).collect();
    assert_eq!(tried, counting, "every operator that counts tracks has shown one");
}

/// Whether the operator's own cells or alerts are about tracks.
fn counts_tracks(name: &str) -> bool {
    let spec = kerbside_operators::find(name).expect("a row");
    let levels = [Measure::QueueLen, Measure::QueueReach, Measure::FlowScore];
    configure(spec.example)
        .expect("no problems")
        .iter()
        .filter(|(operator, _)| operator == name)
        .any(|(_, it)| !it.alerts.is_empty() || it.cells.iter().any(|cell| !levels.contains(&cell.measure)))
}

#[test]
fn pc_5_no_operator_is_named_after_or_asks_for_what_a_person_or_vehicle_looks_like() {
    const LOOKS: [&str; 18] = [
        "age",
        "appearance",
        "biometric",
        "brand",
        "clothes",
        "color",
        "colour",
        "embedding",
        "ethnicity",
        "face",
        "faces",
        "gait",
        "gender",
        "identity",
        "licence",
        "license",
        "plate",
        "plates",
    ];
    let looks = |text: &str| {
        let words =
            |text: &str| text.to_lowercase().split(|c: char| !c.is_alphabetic()).map(str::to_owned).collect();
        let words: Vec<String> = words(text);
        LOOKS.into_iter().find(|look| words.iter().any(|word| word == look))
    };
    assert_eq!(looks("read_plate"), Some("plate"));
    for spec in TABLE {
        let options = spec.options.iter().flat_map(|option| [option.name, option.takes, option.meaning]);
        for text in [spec.name, spec.summary, spec.example].into_iter().chain(options) {
            assert_eq!(looks(text), None, "{}: {text}", spec.name);
        }
    }
    for name in Measure::ALL.map(Measure::name).into_iter().chain(IncidentKind::ALL.map(IncidentKind::name)) {
        assert_eq!(looks(name), None, "{name}");
    }
}

#[test]
fn incidents_begin_and_end_once_and_are_declared() {
    for example in examples() {
        for (it, findings) in example.operators().iter().zip(example.find(&example.moments, None)) {
            let mut lives: BTreeMap<u32, (Phase, MediaTime, MediaTime)> = BTreeMap::new();
            for finding in findings {
                let FindingKind::Incident(incident) = finding.kind else { continue };
                let name = format!("{}: {finding:?}", example.name);
                assert!(it.incidents.contains(&(incident.kind, finding.site)), "{name} is not declared");
                assert!(incident.severity <= 100 && incident.confidence <= 100, "{name}");
                assert!(incident.unit != IncidentUnit::None || incident.value == 0, "{name}");
                let next = lives.len() as u32;
                match (incident.phase, lives.get_mut(&incident.number)) {
                    (Phase::Begin, None) => {
                        assert_eq!((incident.number, incident.since), (next, finding.at), "{name}");
                        lives.insert(incident.number, (Phase::Begin, finding.at, finding.at));
                    }
                    (phase @ (Phase::Update | Phase::End), Some((last, since, told))) if *last != Phase::End => {
                        assert_eq!(incident.since, *since, "{name}");
                        let rare = finding.at.since(*told) >= Duration::from_secs(10);
                        assert!(rare || phase == Phase::End, "{name}: told at {told:?}");
                        (*last, *told) = (phase, finding.at);
                    }
                    (_, life) => panic!("{name} after {life:?}"),
                }
            }
            assert!(lives.values().all(|(last, ..)| *last == Phase::End), "{}: {lives:?}", example.name);
        }
    }
}

#[test]
fn where_the_stream_is_cut_does_not_matter() {
    for example in examples() {
        let whole = example.find(&example.moments, None);
        for cut in [1, 3, 7, 100] {
            let findings = example.find(&example.moments, Some(cut));
            assert!(findings == whole, "{}, cut every {cut} frames", example.name);
        }
    }
}

#[test]
fn nothing_is_found_after_the_end() {
    for example in examples() {
        for it in &mut example.operators() {
            let mut findings = Findings::new();
            feed(it, &example.moments, None, &mut findings);
            it.operator.finish(&mut findings);
            findings.clear();
            let last = example.moments.last().expect("frames").at + BIN * BINS as u32;
            it.operator.advance(last + Duration::from_secs(3600), &mut findings);
            assert_eq!(findings.as_slice(), [], "{}", example.name);
        }
    }
}

/// The numbers of the incidents that begin in these findings, and those that end, with when.
fn lives(findings: &[Finding]) -> (Vec<u32>, Vec<(u32, MediaTime)>) {
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    for finding in findings {
        match finding.kind {
            FindingKind::Incident(it) if it.phase == Phase::Begin => begun.push(it.number),
            FindingKind::Incident(it) if it.phase == Phase::End => ended.push((it.number, finding.at)),
            _ => {}
        }
    }
    ended.sort_unstable_by_key(|(number, _)| *number);
    (begun, ended)
}

#[test]
fn when_nothing_more_comes_incidents_end_by_the_clock_alone() {
    let hour = Duration::from_secs(3600);
    let mut tried = 0;
    for example in examples() {
        for (place, mut whole) in example.operators().into_iter().enumerate() {
            let mut findings = Findings::new();
            feed(&mut whole, &example.moments, None, &mut findings);
            let begins = |it: &&Finding| matches!(it.kind, FindingKind::Incident(it) if it.phase == Phase::Begin);
            let first = findings.as_slice().iter().find(begins).map(|finding| finding.at);
            if whole.incidents.is_empty() {
                assert_eq!(first, None, "{}", example.name);
                continue;
            }
            if whole.role == Role::Bins {
                // What is told of bins lasts for an hour after the last unusual one.
                findings.clear();
                let last = BIN * BINS as u32;
                whole.operator.advance(MediaTime::ZERO + last + 2 * hour, &mut findings);
                let (_, ended) = lives(findings.as_slice());
                assert!(ended.iter().all(|(_, at)| *at <= MediaTime::ZERO + last + hour), "{ended:?}");
                findings.clear();
                whole.operator.finish(&mut findings);
                assert_eq!(findings.as_slice(), [], "{}", example.name);
                continue;
            }
            // The stream breaks off at the frame with which an incident begins.
            let Some(first) = first else {
                // Its limit is beyond what the example shows.
                assert_eq!(example.name, "measure_queue");
                continue;
            };
            let count = example.moments.iter().take_while(|moment| moment.at <= first).count();
            let (moments, mut it) = (&example.moments[..count], example.operators().remove(place));
            findings.clear();
            feed(&mut it, moments, None, &mut findings);
            let last = moments.last().expect("frames").at;
            it.operator.advance(last, &mut findings);
            let before = findings.as_slice().len();
            it.operator.advance(last + hour, &mut findings);
            let (begun, ended) = lives(findings.as_slice());
            let numbers: Vec<u32> = ended.iter().map(|(number, _)| *number).collect();
            assert_eq!(begun, numbers, "{}: each ends once", example.name);
            let (_, late) = lives(&findings.as_slice()[before..]);
            assert!(!late.is_empty(), "{}: it lasted at the end", example.name);
            let minute = last + Duration::from_secs(60);
            assert!(late.iter().all(|(_, at)| (last..=minute).contains(at)), "{}: {late:?}", example.name);
            assert!(findings.as_slice().is_sorted_by_key(|finding| finding.at), "{}", example.name);
            findings.clear();
            it.operator.advance(last + 2 * hour, &mut findings);
            it.operator.finish(&mut findings);
            assert_eq!(findings.as_slice(), [], "{}", example.name);
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} operators were tried");
}

#[test]
fn a_frame_hours_later_ends_incidents_as_the_clock_does() {
    let hour = Duration::from_secs(3600);
    for example in examples() {
        let ends = |clock: bool| {
            let mut ends = Vec::new();
            for it in example.operators().iter_mut().filter(|it| it.role != Role::Bins) {
                let mut findings = Findings::new();
                let half = example.moments.len() / 2;
                feed(it, &example.moments[..half], None, &mut findings);
                let last = example.moments[half - 1].at;
                if clock {
                    it.operator.advance(last + hour, &mut findings);
                }
                let later = Moment::plain(last + 2 * hour, None, Vec::new());
                it.operator.observe(&later.observation(), &mut findings);
                it.operator.finish(&mut findings);
                ends.push(findings.as_slice().to_vec());
            }
            ends
        };
        assert_eq!(ends(false), ends(true), "{}", example.name);
    }
}

#[test]
fn a_picture_that_cannot_be_trusted_yields_nothing_and_a_guard_says_which() {
    for example in examples() {
        for it in &mut example.operators() {
            let mut findings = Findings::new();
            let (mut trusted, mut doubted) = (0, 0);
            for moment in &example.moments {
                let mut observation = moment.observation();
                match it.role {
                    Role::Analytic => observation.trusted = false,
                    Role::Guard => observation.tracks = &[],
                    Role::Bins => continue,
                }
                it.operator.observe(&observation, &mut findings);
                if it.operator.trusts() { trusted += 1 } else { doubted += 1 }
            }
            it.operator.finish(&mut findings);
            match it.role {
                Role::Analytic => assert_eq!(findings.as_slice(), [], "{}", example.name),
                Role::Guard => assert!(trusted > 0 && doubted > 0, "{}: {trusted} {doubted}", example.name),
                Role::Bins => assert!(!it.watches.is_empty(), "{}", example.name),
            }
        }
    }
}

#[test]
fn what_was_learned_is_taken_back_and_damage_is_refused() {
    for example in examples() {
        for (place, it) in example.operators().iter_mut().enumerate() {
            let (mut findings, mut learned) = (Findings::new(), Vec::new());
            feed(it, &example.moments, None, &mut findings);
            it.operator.remember(&mut learned);
            if learned.is_empty() {
                continue;
            }
            let fresh = |bytes: &[u8]| {
                let mut it = example.operators().remove(place);
                it.operator.recall(bytes).map(|()| it)
            };
            let mut again = Vec::new();
            fresh(&learned).expect("its own bytes").operator.remember(&mut again);
            assert!(again == learned, "{}: what is taken back is what was given", example.name);
            for cut in [0, 1, learned.len() / 2, learned.len() - 1] {
                assert!(fresh(&learned[..cut]).is_err(), "{}: {cut} bytes", example.name);
            }
        }
    }
}

/// What is added up or compared over a whole showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Total {
    /// Objects.
    Count(Cell),
    /// Seconds of presence.
    Presence(Cell),
    /// The highest level.
    Peak(Cell),
    /// A level times its seconds.
    Level(Cell),
    /// Incidents that begin.
    Incidents(IncidentKind, SiteId),
    /// Seconds that incidents last.
    Lasting(IncidentKind, SiteId),
}

impl Total {
    /// How far two frame rates may lie apart: a share of the larger amount, and so much in any case.
    fn tolerance(self) -> (f64, f64) {
        match self {
            Self::Count(_) | Self::Incidents(..) => (0.02, 0.0),
            // Each beginning and end is a frame early or late.
            Self::Presence(_) => (0.05, 1.0),
            Self::Peak(_) => (0.1, 1.0),
            // Thousandths, over as many seconds.
            Self::Level(_) => (0.05, 1000.0),
            Self::Lasting(..) => (0.1, 2.0),
        }
    }
}

fn totals(findings: &[Finding]) -> BTreeMap<Total, f64> {
    let mut totals = BTreeMap::new();
    for finding in findings {
        // In which bucket of a histogram a measurement at its edge falls is a matter of noise.
        let whole = |cell: Cell| Cell { bucket: 0, ..cell };
        for cell in finding.feeds().map(whole) {
            let (total, amount) = match finding.kind {
                FindingKind::Presence { lasted } => (Total::Presence(cell), lasted.as_secs_f64()),
                FindingKind::Peak { amount, .. } => (Total::Peak(cell), f64::from(amount)),
                FindingKind::Level { share, lasted, .. } => {
                    (Total::Level(cell), f64::from(share) / 1000.0 * lasted.as_secs_f64())
                }
                _ => (Total::Count(cell), 1.0),
            };
            let sum: &mut f64 = totals.entry(total).or_default();
            *sum = if matches!(total, Total::Peak(_)) { sum.max(amount) } else { *sum + amount };
        }
        if let FindingKind::Incident(incident) = finding.kind {
            match incident.phase {
                Phase::Begin => *totals.entry(Total::Incidents(incident.kind, finding.site)).or_default() += 1.0,
                Phase::Update => {}
                Phase::End => {
                    let lasted = finding.at.since(incident.since).as_secs_f64();
                    *totals.entry(Total::Lasting(incident.kind, finding.site)).or_default() += lasted;
                }
            }
        }
    }
    totals
}

#[test]
fn the_frame_rate_does_not_matter() {
    for example in examples() {
        let [slow, usual, fast] = [5.0, 10.0, 25.0].map(|fps| {
            let moments = parade(&example.geometry, &example.showing, fps);
            totals(&example.find(&moments, None).concat())
        });
        assert!(!usual.is_empty(), "{}", example.name);
        for (fps, other) in [(5, &slow), (25, &fast)] {
            for total in usual.keys().chain(other.keys()) {
                let [a, b] = [&usual, other].map(|totals| totals.get(total).copied().unwrap_or_default());
                let (share, least) = total.tolerance();
                let apart = (a - b).abs();
                let fine = apart <= least.max(share * a.max(b));
                assert!(fine, "{}: {total:?} is {a} at 10 fps and {b} at {fps} fps", example.name);
            }
        }
    }
}

#[test]
fn the_sums_of_a_showing_tell_counts_from_seconds() {
    let cell = Cell::new(SiteId(0), Measure::CrossingCount, None).directed(Direction::Forward);
    let finding = |kind| Finding { at: MediaTime::ZERO, site: SiteId(0), class: None, track: None, kind };
    let crossing = finding(FindingKind::Crossing { direction: Direction::Forward });
    let presence = finding(FindingKind::Presence { lasted: Duration::from_millis(500) });
    let totals = totals(&[crossing, crossing, presence, presence]);
    assert_eq!(totals.get(&Total::Count(cell)), Some(&2.0));
    let mean = Cell::new(SiteId(0), Measure::PresenceMean, None);
    assert_eq!(totals.get(&Total::Presence(mean)), Some(&1.0));
}
