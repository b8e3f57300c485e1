//! One track: where it goes, what is to be learned from it, and how improbable it has been lately.
//!
//! # What is learned
//! The path is cut at equal lengths (half a cell), between frames too, so that 5 and 25 frames a second
//! sample it alike; a point follows the object on a leash of that length, so that a box that shakes does not
//! walk. A cell hears of one track once for each direction, and once that something stands: whoever waits for
//! an hour counts like whoever waits for two seconds. Samples wait until the track has ended, so that no
//! track is judged by itself.
//!
//! # Who counts at all
//! Only what has moved from where it was first seen, by half the height of its box. What a detector invents
//! (posters, shadows, bins) stands, and so does what was parked before the tracker found it: neither says how
//! things move here.
//!
//! # How it is judged
//! For each reason, the mean surprise of the last moments, which count less the longer ago they are. Means are
//! over time, not over frames.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::geometry::PointInImage;
use kerbside_core::time::MediaTime;

use super::statistics::{Motion, Sample, Statistics, Surprise};
use super::{Grid, Group, REASONS};
use crate::course::Course;

/// Half a cell, in units of cells.
const LEASH: f64 = 0.5;
/// Samples of one track; a longer path is learned as far as this.
const MOST_SAMPLES: usize = 64;
/// Half the difference between two heights of the box is forgotten after this time.
const HEIGHT_HALF_LIFE: Duration = Duration::from_millis(400);
/// After a longer pause between two detections nobody knows the way between.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// How far it must have got from where it was first seen, box heights.
const MOVED_HEIGHTS: f64 = 0.5;
/// So far from a cell one may belong to it, box heights.
const SLACK_HEIGHTS: f64 = 0.25;
/// So far from where it was expected, and as much more for each second, it is another object: box heights.
const JUMP_HEIGHTS: f64 = 0.75;
const JUMP_HEIGHTS_PER_SEC: f64 = 0.5;
/// Slower than this nobody moves, for boxes shake. Box heights per second.
pub(crate) const SLOWEST_HEIGHTS: f64 = 0.1;

/// One detection of a track, as it is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) at: MediaTime,
    pub(crate) foot: PointInImage,
    /// Picture heights.
    pub(crate) height: f64,
    /// Width over height of the picture.
    pub(crate) aspect: f64,
    /// The foot on the street and the slowest speed there in metres per second, where speeds are in metres.
    pub(crate) on_ground: Option<([f64; 2], f64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
    seen: Duration,
    highest: Option<f64>,
}

impl Mean {
    fn add(&mut self, surprise: f64, lasted: Duration, memory: Duration) {
        let fade = (-lasted.as_secs_f64() / memory.as_secs_f64()).exp();
        self.sum = fade * self.sum + (1.0 - fade) * surprise;
        self.weight = fade * self.weight + (1.0 - fade);
        self.seen += lasted;
        if self.seen >= memory {
            self.highest = Some(self.highest.unwrap_or(0.0).max(self.score()));
        }
    }

    fn score(&self) -> f64 {
        self.sum / self.weight.max(f64::MIN_POSITIVE)
    }
}

/// What is remembered of one track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    group: Option<Group>,
    /// In picture heights.
    course: Course,
    /// In metres.
    course_on_ground: Course,
    pub(crate) height: f64,
    pub(crate) last: Option<Step>,
    /// In picture heights.
    first: Option<[f64; 2]>,
    moved: bool,
    leash: Option<[f64; 2]>,
    samples: [Sample; MOST_SAMPLES],
    sampled: u8,
    means: [Mean; REASONS.len()],
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            group: None,
            course: Course::default(),
            course_on_ground: Course::default(),
            height: 0.0,
            last: None,
            first: None,
            moved: false,
            leash: None,
            samples: [Sample::default(); MOST_SAMPLES],
            sampled: 0,
            means: [Mean::default(); REASONS.len()],
        }
    }
}

impl Walk {
    /// Takes in a detection. `judged` is whether the place is one that is judged; `memory` is how long a moment
    /// counts.
    pub(crate) fn step(&mut self, class: Class, step: Step, judged: bool, memory: Duration, known: &Statistics) {
        let group = Group::of(class);
        if self.group.is_some_and(|before| before != group) {
            // What was surprising of one class need not be of the other.
            self.means = Default::default();
        }
        self.group = Some(group);
        let lasted = self.last.map_or(Duration::ZERO, |last| step.at.since(last.at));
        if lasted > LONGEST_GAP {
            (self.course, self.course_on_ground) = Default::default();
            self.leash = None;
        }
        let point = [f64::from(step.foot.x) * step.aspect, f64::from(step.foot.y)];
        if self.jumps_to(point, step.at) {
            // The tracker took another object for this one. What was learned from both stays.
            *self = Self { group: self.group, samples: self.samples, sampled: self.sampled, ..Self::default() };
        }
        let keep = if self.last.is_some() {
            (-lasted.as_secs_f64() / HEIGHT_HALF_LIFE.as_secs_f64()).exp2()
        } else {
            0.0
        };
        self.height = keep * self.height + (1.0 - keep) * step.height;
        self.last = Some(step);
        let [x, y] = *self.first.get_or_insert(point);
        self.moved |= (point[0] - x).hypot(point[1] - y) >= MOVED_HEIGHTS * self.height;
        self.course.add(step.at, point);
        if let Some((point, _)) = step.on_ground {
            self.course_on_ground.add(step.at, point);
        }
        let place = known.grid.place(step.foot);
        // It is led from where it was first seen, though its speed is known later.
        self.leash.get_or_insert(place);
        let Some(motion) = self.motion(step) else { return };
        self.sample(known.grid, place, motion);
        if judged && self.moved {
            let height = SLACK_HEIGHTS * self.height;
            let slack = [height / step.aspect * known.grid.columns as f64, height * known.grid.rows as f64];
            let surprise = known.surprise(group, place, slack, motion);
            self.judge(surprise, lasted.min(LONGEST_GAP), memory);
        }
    }

    /// Whether the object cannot have got to a point by then: it is not the same.
    fn jumps_to(&self, point: [f64; 2], at: MediaTime) -> bool {
        let (Some(last), Some([x, y]), true) = (self.last, self.expected_at(at), self.course.velocity().is_some())
        else {
            return false;
        };
        let reach = (JUMP_HEIGHTS + JUMP_HEIGHTS_PER_SEC * at.since(last.at).as_secs_f64()) * self.height;
        (point[0] - x).hypot(point[1] - y) > reach
    }

    /// How it moves, once that is known.
    fn motion(&self, step: Step) -> Option<Motion> {
        let [x, y] = self.course.velocity()?;
        let heights = x.hypot(y) / self.height.max(1e-3);
        let speed = match step.on_ground {
            Some((_, slowest)) => self.course_on_ground.speed()? / slowest,
            None => heights / SLOWEST_HEIGHTS,
        };
        if heights < SLOWEST_HEIGHTS {
            return Some(Motion::Stands);
        }
        Some(Motion::Moves { turn: y.atan2(x) / std::f64::consts::TAU, speed })
    }

    fn sample(&mut self, grid: Grid, place: [f64; 2], motion: Motion) {
        let mut leash = self.leash.unwrap_or(place);
        if self.sampled == 0 || motion == Motion::Stands {
            self.keep(motion.sample(grid.cell(leash)));
        }
        loop {
            let (x, y) = (place[0] - leash[0], place[1] - leash[1]);
            let distance = x.hypot(y);
            if distance < LEASH {
                break;
            }
            leash = [leash[0] + x * LEASH / distance, leash[1] + y * LEASH / distance];
            self.keep(motion.sample(grid.cell(leash)));
        }
        self.leash = Some(leash);
    }

    /// Keeps a sample of a cell and direction that the track has not been in before.
    fn keep(&mut self, sample: Sample) {
        // The nearest of the eight directions: straight along the picture is the middle of one.
        let way = |sample: &Sample| (sample.speed > 0).then_some(sample.direction.wrapping_add(16) / 32);
        let alike = |other: &Sample| other.cell == sample.cell && way(other) == way(&sample);
        if usize::from(self.sampled) < MOST_SAMPLES && !self.samples().iter().any(alike) {
            self.samples[usize::from(self.sampled)] = sample;
            self.sampled += 1;
        }
    }

    fn judge(&mut self, surprise: Surprise, lasted: Duration, memory: Duration) {
        let Surprise { place, direction, too_fast, too_slow } = surprise;
        for (mean, surprise) in self.means.iter_mut().zip([Some(place), direction, Some(too_fast), Some(too_slow)])
        {
            if let Some(surprise) = surprise {
                mean.add(surprise, lasted, memory);
            }
        }
    }

    /// What is to be learned, with the group that it is learned for.
    pub(crate) fn lesson(&self) -> Option<(Group, &[Sample])> {
        let samples = self.samples();
        self.group.filter(|_| self.moved && !samples.is_empty()).map(|group| (group, samples))
    }

    fn samples(&self) -> &[Sample] {
        &self.samples[..usize::from(self.sampled)]
    }

    pub(crate) fn group(&self) -> Group {
        self.group.unwrap_or_default()
    }

    /// The mean surprise for each reason; `None` until it has been judged for as long as a moment counts.
    pub(crate) fn scores(&self) -> [Option<f64>; REASONS.len()] {
        self.means.map(|mean| mean.highest.map(|_| mean.score()))
    }

    /// The highest of [`Walk::scores`] so far.
    pub(crate) fn highest(&self) -> [Option<f64>; REASONS.len()] {
        self.means.map(|mean| mean.highest)
    }

    /// Its speed on the street in km/h, where that is known.
    pub(crate) fn speed_kmh(&self) -> Option<f64> {
        self.last.and_then(|last| last.on_ground).and_then(|_| self.course_on_ground.speed()).map(|mps| 3.6 * mps)
    }

    /// Where it would be at `at` if it went on, in picture heights; `None` before it was detected.
    pub(crate) fn expected_at(&self, at: MediaTime) -> Option<[f64; 2]> {
        let last = self.last?;
        let [x, y] = self.course.velocity().unwrap_or_default();
        let secs = at.since(last.at).as_secs_f64();
        Some([f64::from(last.foot.x) * last.aspect + secs * x, f64::from(last.foot.y) + secs * y])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { columns: 16, rows: 12 };
    const MEMORY: Duration = Duration::from_secs(1);

    fn walk(fps: f64, secs: f64, foot: impl Fn(f64) -> (f64, f64)) -> Walk {
        let (mut walk, known) = (Walk::default(), Statistics::new(GRID));
        for frame in 0..=(secs * fps) as u64 {
            let secs = frame as f64 / fps;
            let (x, y) = foot(secs);
            let foot = PointInImage { x: x as f32, y: y as f32 };
            let at = MediaTime::from_nanos((secs * 1e9) as u64);
            let step = Step { at, foot, height: 0.1, aspect: 1.5, on_ground: None };
            walk.step(Class::Car, step, true, MEMORY, &known);
        }
        walk
    }

    #[test]
    fn the_same_path_gives_the_same_samples_at_any_frame_rate() {
        let path = |secs: f64| (0.05 + 0.11 * secs, 0.3 + 0.021 * secs);
        let cells = |fps| {
            walk(fps, 8.0, path)
                .samples()
                .iter()
                .map(|s| (s.cell, s.direction.wrapping_add(16) / 32))
                .collect::<Vec<_>>()
        };
        let slow: Vec<_> = cells(5.0);
        assert!(slow.len() > 14, "{slow:?}");
        // The first sample is where the speed is first known, which is a frame earlier or later.
        for fps in [10.0, 25.0] {
            let others = cells(fps);
            let shared = others.iter().filter(|cell| slow.contains(cell)).count();
            assert!(shared + 1 >= slow.len() && others.len() <= slow.len() + 1, "{slow:?} {others:?}");
        }
    }

    #[test]
    fn who_stands_counts_once_however_long_and_however_the_box_shakes() {
        let shaking = |secs: f64| (0.5 + 0.002 * (50.0 * secs).sin(), 0.5 + 0.002 * (37.0 * secs).cos());
        let walk = walk(10.0, 600.0, shaking);
        assert_eq!(walk.samples().iter().filter(|sample| sample.speed == 0).count(), 1, "{:?}", walk.samples());
        assert!(walk.samples().len() <= 9, "at most once for each direction");
        assert_eq!(walk.lesson(), None, "it never moved");
    }

    #[test]
    fn a_track_that_jumps_is_another_object() {
        let turning_back = |secs: f64| if secs < 3.0 { (0.1 + 0.1 * secs, 0.4) } else { (0.6 - 0.1 * secs, 0.55) };
        let walk = walk(5.0, 3.2, turning_back);
        assert_eq!(walk.scores(), [None; 4], "it is judged anew");
        assert_eq!(walk.lesson().map(|(group, _)| group), None, "it has not moved far yet");
    }

    #[test]
    fn a_path_without_end_is_learned_in_bounded_memory() {
        let circling = |secs: f64| (0.5 + 0.4 * secs.sin(), 0.5 + 0.4 * (1.7 * secs).sin());
        assert_eq!(walk(10.0, 600.0, circling).samples().len(), MOST_SAMPLES);
    }

    #[test]
    fn the_mean_is_over_time_and_waits_until_it_is_one() {
        for fps in [5u32, 10, 25] {
            let (mut mean, frame) = (Mean::default(), Duration::from_secs(1) / fps);
            for _ in 1..fps {
                mean.add(6.0, frame, MEMORY);
            }
            assert_eq!(mean.highest, None);
            mean.add(6.0, frame, MEMORY);
            assert!((mean.highest.unwrap() - 6.0).abs() < 1e-9);
            for _ in 0..fps {
                mean.add(0.0, frame, MEMORY);
            }
            // 2 s of which the older one counts 1/e: 6 · (1 - 1/e) / e / (1 - 1/e²).
            assert!((mean.score() - 1.6136).abs() < 1e-3, "{}", mean.score());
        }
    }
}
