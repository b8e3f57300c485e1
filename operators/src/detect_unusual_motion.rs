#![doc = include_str!("detect_unusual_motion.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::Findings;
use kerbside_core::geometry::{PointInImage, Polygon, SiteId};
use kerbside_core::ground::Ground;
use kerbside_core::incident::{IncidentKind, IncidentUnit, Reason};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, RecallError, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::episodes::{Episodes, Rules, Word};
use crate::normal_motion::memory::{Fingerprint, Learned};
use crate::normal_motion::reached::{LEAST_TRACKS, Line};
use crate::normal_motion::statistics::MOST_SURPRISE;
use crate::normal_motion::walk::{Step, Walk};
use crate::normal_motion::{Grid, Group, REASONS};
use crate::options;
use crate::per_track::PerTrack;
use crate::seen::is_cut_anywhere;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_unusual_motion",
    summary: "Learns how people and vehicles move here, and reports who moves as nobody does.",
    manual: include_str!("detect_unusual_motion.md"),
    options: &[
        OptionDoc {
            name: "zone",
            takes: "name of a zone; default: the whole picture",
            meaning: "Where movements are judged; they are learned everywhere.",
        },
        options::CLASSES,
        OptionDoc {
            name: "after",
            takes: "200ms to 60s; default 1s",
            meaning: "Over how long a track must be improbable, on average.",
        },
        OptionDoc {
            name: "rarity",
            takes: "100 to 1000000 tracks; default 5000",
            meaning: "One usual track in so many may be reported.",
        },
        OptionDoc {
            name: "learn_for",
            takes: "10m to 60d of observed time; default 24h",
            meaning: "How long it learns before it reports anything.",
        },
        OptionDoc {
            name: "half_life",
            takes: "1h to 365d of observed time; default 14d",
            meaning: "After this time what was learned counts half.",
        },
        OptionDoc {
            name: "grid",
            takes: "a list of columns and rows, 4 to 32 each; default [16, 12]",
            meaning: "Into how many cells the picture is divided.",
        },
    ],
    example: "\
geometry:
  zones:
    junction: {polygon: [[0, 0.1], [1, 0.1], [1, 1], [0, 1]]}
operators:
  detect_unusual_motion: [{zone: junction, learn_for: 2h, rarity: 2000}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(1);
const DEFAULT_RARITY: f64 = 5000.0;
const DEFAULT_LEARN_FOR: Duration = DAY;
const DEFAULT_HALF_LIFE: Duration = Duration::from_secs(14 * 86_400);
const DEFAULT_GRID: Grid = Grid { columns: 16, rows: 12 };

const DAY: Duration = Duration::from_secs(86_400);
/// An incident lasts while the score is above this share of the line on which it began.
const EASE: f64 = 0.7;
/// How long a track must be gone or usual until its incident is over.
const PATIENCE: Duration = Duration::from_secs(5);
/// Two tracks that were seen within this time are two objects.
const APART: Duration = Duration::from_millis(300);
/// How far from where it was expected an object may come back under another id: box heights, and as many more
/// for each second.
const REACH: f64 = 2.0;
/// Slower than this nobody moves on the street. Metres per second.
const SLOWEST_MPS: f64 = 0.3;

struct Settings {
    site: SiteId,
    zone: Option<Polygon>,
    classes: Vec<Class>,
    ground: Option<Ground>,
    after: Duration,
    rarity: f64,
    learn_for: Duration,
    half_life: Duration,
    grid: Grid,
}

struct DetectUnusualMotion {
    settings: Settings,
    learned: Learned,
    /// What `learned` says of each group.
    verdicts: [Verdict; Group::COUNT],
    walks: PerTrack<Walk>,
    /// By the id of the track.
    episodes: Episodes<TrackId>,
    /// The tracks of the incidents that last, as they were last seen.
    unusual: Vec<(TrackId, Walk)>,
}

/// What is unusual for a group.
#[derive(Clone, Copy)]
struct Verdict {
    line: Line,
    /// The score of any track of it, where the group itself is unusual here.
    group: Option<f64>,
    confidence_of_group: u8,
}

impl Verdict {
    const NONE: Self = Self { line: Line::NONE, group: None, confidence_of_group: 0 };

    /// The reason, the score and the confidence, if the track is unusual; `ease` lowers the line.
    fn judge(&self, walk: &Walk, ease: f64) -> Option<(Reason, f64, u8)> {
        let scores = walk.scores();
        if let (Some(score), Some(_)) = (self.group, scores[0]) {
            return Some((Reason::Place, score, self.confidence_of_group));
        }
        let excess = |(reason, line): (usize, &f64)| {
            // Standing about, or running, is nobody's business.
            let of_people = matches!(REASONS[reason], Reason::Place | Reason::Direction);
            let counts = of_people || walk.group() != Group::People;
            scores[reason].filter(|_| counts).map(|score| (reason, score, score - ease * line))
        };
        let worst = self.line.scores.iter().enumerate().filter_map(excess).max_by(|a, b| a.2.total_cmp(&b.2));
        let (reason, score, excess) = worst?;
        (excess > 0.0).then_some((REASONS[reason], score, self.line.confidence))
    }
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = match reader.optional("zone") {
        Some(_) => options::zone(reader, surroundings).map(|(site, polygon)| (site, Some(polygon))),
        None => Some((SiteId::PICTURE, None)),
    };
    let classes = options::classes(reader, surroundings);
    let duration = |key, least, most, default| options::duration_or(reader, key, least..=most, default);
    let after = duration("after", Duration::from_millis(200), Duration::from_secs(60), DEFAULT_AFTER);
    let learn_for = duration("learn_for", Duration::from_secs(600), 60 * DAY, DEFAULT_LEARN_FOR);
    let half_life = duration("half_life", Duration::from_secs(3600), 365 * DAY, DEFAULT_HALF_LIFE);
    let rarity = options::number_or(reader, "rarity", 100.0..=1e6, "tracks", DEFAULT_RARITY);
    let grid = grid(reader);
    reader.finish();
    let (site, zone) = zone?;
    let settings = Settings {
        site,
        zone,
        classes: classes?,
        ground: surroundings.ground.copied(),
        after: after?,
        rarity: rarity?,
        learn_for: learn_for?,
        half_life: half_life?,
        grid: grid?,
    };
    let operator = DetectUnusualMotion::new(settings);
    Some(Configured::counting(operator, Vec::new()).reporting([(IncidentKind::SceneAnomaly, site)]))
}

/// The key `grid`: columns and rows.
fn grid(reader: &Reader<'_>) -> Option<Grid> {
    let Some(field) = reader.optional("grid") else { return Some(DEFAULT_GRID) };
    let items = field.list()?;
    let [columns, rows] = &items[..] else {
        field.problem(
            format!("{} numbers were found", items.len()),
            "columns and rows are expected, such as [16, 12]",
        );
        return None;
    };
    let [columns, rows] = [(columns, "columns"), (rows, "rows")].map(|(item, unit)| item.integer(4..=32, unit));
    Some(Grid { columns: usize::try_from(columns?).ok()?, rows: usize::try_from(rows?).ok()? })
}

impl Settings {
    /// Under which settings the counts mean the same: those of when something is reported do not matter.
    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new().add(&[self.grid.columns as u8, self.grid.rows as u8]);
        print = print.add(&self.after.as_nanos().to_le_bytes());
        for class in &self.classes {
            print = print.add(class.name().as_bytes()).add(b",");
        }
        let point = |print: Fingerprint, x: u64, y: u64| print.add(&x.to_le_bytes()).add(&y.to_le_bytes());
        for corner in self.zone.iter().flat_map(|zone| &zone.corners) {
            print = point(print, corner.x.to_bits().into(), corner.y.to_bits().into());
        }
        // Three points of the street tell one ground from another.
        for (x, y) in [(0.2, 0.95), (0.8, 0.95), (0.5, 0.6)] {
            let metres = self.ground.and_then(|ground| ground.on_ground(PointInImage { x, y }));
            print = print.add(&[metres.is_some().into()]);
            if let Some(metres) = metres {
                print = point(print, metres.x.to_bits(), metres.y.to_bits());
            }
        }
        print.add(&[self.ground.is_some().into()]).value()
    }

    /// What of a detection is evidence; `None` where the picture's edge cuts the object off, or where it is
    /// not on the street.
    fn step(&self, observation: &Observation<'_>, track: &Track) -> Option<Step> {
        let shown = &track.box_in_image;
        if !track.detected || !self.classes.contains(&track.class) || is_cut_anywhere(shown) {
            return None;
        }
        let on_ground = match &self.ground {
            Some(ground) => ground.on_ground(shown.foot()).map(|point| Some(([point.x, point.y], SLOWEST_MPS)))?,
            None => None,
        };
        Some(Step {
            at: observation.at,
            foot: shown.foot(),
            height: shown.height().into(),
            aspect: observation.picture.aspect().into(),
            on_ground,
        })
    }
}

impl DetectUnusualMotion {
    fn new(settings: Settings) -> Self {
        let rules = Rules {
            kind: IncidentKind::SceneAnomaly,
            // The scores are means over `after` already.
            after: Duration::ZERO,
            gap: Duration::ZERO,
            patience: PATIENCE,
        };
        Self {
            learned: Learned::new(settings.grid),
            verdicts: [Verdict::NONE; Group::COUNT],
            walks: PerTrack::new(),
            episodes: Episodes::new(rules),
            unusual: Vec::new(),
            settings,
        }
    }

    fn has_watched(&self, time: Duration) -> bool {
        u128::from(self.learned.age.observed_nanos) >= time.as_nanos()
    }

    /// Learns the tracks that are not in `tracks` any more.
    fn learn_ended(&mut self, tracks: &[Track]) {
        // What tracks reach while most of the scene is still unknown says nothing about later.
        let knows_scene = self.has_watched(self.settings.learn_for / 2);
        let mut any = false;
        for (_, walk) in self.walks.ended(tracks) {
            let Some((group, samples)) = walk.lesson() else { continue };
            any = true;
            self.learned.statistics.learn(group, samples);
            let highest = walk.highest();
            if highest[0].is_some() {
                self.learned.reached.count(group);
                if knows_scene {
                    self.learned.reached.learn(group, highest);
                }
            }
        }
        if any {
            self.draw_lines();
        }
    }

    fn draw_lines(&mut self) {
        if !self.has_watched(self.settings.learn_for) {
            return;
        }
        let (reached, rarity) = (&self.learned.reached, self.settings.rarity);
        let tracks: f32 = reached.tracks.iter().sum();
        for (group, verdict) in Group::ALL.into_iter().zip(&mut self.verdicts) {
            let line = reached.line(group, rarity);
            *verdict = Verdict {
                line,
                group: reached.unusual_group(group, rarity).filter(|_| line.scores[0].is_infinite()),
                confidence_of_group: (100.0 * tracks / (tracks + LEAST_TRACKS)) as u8,
            };
        }
    }
}

impl Operator for DetectUnusualMotion {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        self.episodes.advance(at, findings);
        if !observation.trusted {
            self.learn_ended(&[]);
            self.walks.clear();
            self.episodes.settle(at, findings);
            return;
        }
        self.learn_ended(observation.tracks);
        let Learned { age, statistics, reached } = &mut self.learned;
        age.pass(observation.step, self.settings.half_life, statistics, reached);
        let Self { settings, learned, verdicts, walks, episodes, unusual } = self;
        walks.follow(observation.tracks, |track, walk| {
            let Some(step) = settings.step(observation, track) else { return };
            let judged = settings.zone.as_ref().is_none_or(|zone| zone.contains(step.foot));
            walk.step(track.class, step, judged, settings.after, &learned.statistics);
            if !judged {
                return;
            }
            let known = episodes.is_open(track.id);
            let verdict = &verdicts[walk.group() as usize];
            let Some((reason, score, confidence)) = verdict.judge(walk, if known { EASE } else { 1.0 }) else {
                return;
            };
            if !known && let Some(before) = same_object(unusual, walk, at) {
                episodes.hand_over(before, track.id);
                unusual.retain(|(id, _)| *id != before);
            }
            let is_speed = matches!(reason, Reason::TooFast | Reason::TooSlow);
            let kmh = walk.speed_kmh().filter(|_| is_speed && !track.class.is_personal());
            let word = Word {
                site: settings.site,
                class: Some(track.class),
                track: Some(track.id),
                severity: (100.0 * score / MOST_SURPRISE).min(100.0) as u8,
                confidence,
                value: kmh.map_or(0, |kmh| kmh.round() as i32),
                unit: if kmh.is_some() { IncidentUnit::KmPerHour } else { IncidentUnit::None },
                reason: Some(reason),
            };
            episodes.holds(track.id, at, word, findings);
            match unusual.iter_mut().find(|(id, _)| *id == track.id) {
                Some((_, seen)) => *seen = *walk,
                None => unusual.push((track.id, *walk)),
            }
        });
        episodes.settle(at, findings);
        unusual.retain(|(id, _)| episodes.is_open(*id));
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.learn_ended(&[]);
        self.walks.clear();
        self.unusual.clear();
        self.episodes.finish(findings);
    }

    fn remember(&self, out: &mut Vec<u8>) {
        self.learned.write(self.settings.fingerprint(), out);
    }

    fn recall(&mut self, bytes: &[u8]) -> Result<(), RecallError> {
        self.learned = Learned::read(bytes, self.settings.fingerprint(), self.settings.grid)?;
        self.draw_lines();
        Ok(())
    }
}

/// The unusual track that `walk` goes on, if it was lost and this is where it would be.
fn same_object(unusual: &[(TrackId, Walk)], walk: &Walk, at: MediaTime) -> Option<TrackId> {
    let here = walk.expected_at(at)?;
    let fits = |(_, lost): &&(TrackId, Walk)| {
        let Some(last) = lost.last else { return false };
        let gap = at.since(last.at);
        let Some([x, y]) = lost.expected_at(at) else { return false };
        let reach = REACH * (1.0 + gap.as_secs_f64()) * lost.height.max(walk.height);
        lost.group() == walk.group() && gap > APART && (x - here[0]).hypot(y - here[1]) <= reach
    };
    unusual.iter().find(fits).map(|(id, _)| *id)
}
