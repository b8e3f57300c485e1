//! What was not in the picture before and now stays where it is.
//!
//! Two backgrounds of different rates (F. Porikli, Y. Ivanov and T. Haga, "Robust abandoned object detection
//! using dual foregrounds", EURASIP J. Adv. Signal Process., 2008): the settled picture follows within seconds, the
//! slow one within [`SLOW`]. A pixel where both differ while the picture is at rest grows older; pixels that have
//! been so for [`LEAST_AGE`] and touch each other are one thing.
//!
//! The slow background does not learn what stands before it until [`ABSORBED`] after; then the thing is part of the
//! scene. What was there before and is now gone looks the same to both backgrounds: it is known by its outline,
//! which is in the slow background and not in the picture, and is learned at once. So is what fills a good part of
//! the picture: a change of light, or a camera that was moved.
//! It does not know what it sees: who stands there is for an operator with tracks to say.

use std::time::Duration;

use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::Standing;
use kerbside_core::time::MediaTime;

use super::{Fine, ONE, part, share_after};

/// How far the two backgrounds must differ, in luma.
const CONTRAST: i16 = 16 * ONE;
/// How far the picture of the moment may be from the settled one for a pixel at rest, in luma.
const AT_REST: i16 = 10 * ONE;
/// Time constant of the slow background.
const SLOW: Duration = Duration::from_secs(600);
/// The same for a change of the whole picture.
const LARGE: Duration = Duration::from_secs(3);
/// How long the slow background is made before anything is held against it.
const LEARNING: Duration = Duration::from_secs(60);
/// The least time between two looks, and between two lessons of the slow background.
const LOOK_EVERY: Duration = Duration::from_millis(190);
const LEARN_EVERY: Duration = Duration::from_secs(5);
/// The share of the picture above which a change is one of light or of the camera.
const LARGE_SHARE: f32 = 0.35;
/// The longest side of a thing, as a share of the picture's.
const LONGEST_SIDE: f32 = 0.5;
/// The fewest pixels of a thing.
const FEWEST: usize = 4;

/// Ages are in tenths of a second.
type Tenths = u16;
/// From this age on the slow background leaves a pixel alone.
const HELD_AGE: Tenths = 50;
/// From this age on a pixel is part of a thing.
const LEAST_AGE: Tenths = 100;
/// An age above this is cut to it when the background shows again; from there it falls five times as fast as it rose.
const OLDEST_WHEN_GONE: Tenths = 200;
/// At this age a thing belongs to the scene: half an hour.
const ABSORBED: Tenths = 18_000;

#[derive(Debug, Default)]
pub(super) struct StandingThings {
    slow: Vec<Fine>,
    ages: Vec<Tenths>,
    /// Pixels that the search for things has been at.
    reached: Vec<bool>,
    /// The pixels of the thing that is being searched.
    members: Vec<usize>,
    /// When the background began, was last looked at and last learned.
    begun: MediaTime,
    looked: MediaTime,
    learned: MediaTime,
    found: [Option<Standing>; 8],
}

impl StandingThings {
    /// What stands there now. Looks a few times a second and gives the last answer between.
    pub(super) fn watch(
        &mut self,
        settled: &[Fine],
        now: &[u8],
        size: PictureSize,
        at: MediaTime,
    ) -> [Option<Standing>; 8] {
        if self.slow.is_empty() {
            self.slow = settled.to_vec();
            self.ages = vec![0; settled.len()];
            self.reached = vec![false; settled.len()];
            self.members = Vec::with_capacity(settled.len());
            (self.begun, self.looked, self.learned) = (at, at, at);
        }
        let passed = at.since(self.looked);
        if passed < LOOK_EVERY {
            return self.found;
        }
        let differing = self.grow_older(settled, now, at);
        self.looked = at;
        let new = at.since(self.begun) < LEARNING;
        if differing as f32 > LARGE_SHARE * settled.len() as f32 && !new {
            self.learn_all(settled, share_after(passed, LARGE));
        } else if at.since(self.learned) >= LEARN_EVERY {
            let passed = at.since(self.learned);
            self.learned = at;
            if new {
                let known = at.since(self.begun).as_secs_f64();
                self.learn_all(settled, (65_536.0 * passed.as_secs_f64() / known).min(32_767.0) as i16);
            } else {
                self.learn(settled, share_after(passed, SLOW));
            }
        }
        self.find(settled, size, at);
        self.found
    }

    /// Returns how many pixels differ from the slow background.
    fn grow_older(&mut self, settled: &[Fine], now: &[u8], at: MediaTime) -> u32 {
        let tenths = |at: MediaTime| at.as_nanos() / 100_000_000;
        let passed = (tenths(at) - tenths(self.looked)).min(u64::from(LEAST_AGE)) as Tenths;
        let mut differing = 0;
        for (((age, slow), settled), now) in self.ages.iter_mut().zip(&self.slow).zip(settled).zip(now) {
            let differs = (*settled - *slow).abs() > CONTRAST;
            let rests = (i16::from(*now) * ONE - *settled).abs() < AT_REST;
            let older = if rests { age.saturating_add(passed) } else { *age };
            let younger = (*age).min(OLDEST_WHEN_GONE).saturating_sub(5 * passed);
            *age = if differs { older } else { younger };
            differing += u32::from(differs);
        }
        differing
    }

    fn learn(&mut self, settled: &[Fine], share: i16) {
        for ((slow, settled), age) in self.slow.iter_mut().zip(settled).zip(&mut self.ages) {
            if *age >= ABSORBED {
                (*slow, *age) = (*settled, 0);
            } else if *age < HELD_AGE {
                *slow += part(*settled - *slow, share);
            }
        }
    }

    fn learn_all(&mut self, settled: &[Fine], share: i16) {
        for (slow, settled) in self.slow.iter_mut().zip(settled) {
            *slow += part(*settled - *slow, share);
        }
        self.ages.fill(0);
    }

    fn find(&mut self, settled: &[Fine], size: PictureSize, at: MediaTime) {
        self.found = [None; 8];
        if self.ages.iter().all(|age| *age < LEAST_AGE) {
            return;
        }
        self.reached.fill(false);
        for start in 0..self.ages.len() {
            if self.ages[start] < LEAST_AGE || self.reached[start] {
                continue;
            }
            let thing = self.gather(start, settled, size);
            let (columns, rows) = (thing.right - thing.left + 1, thing.bottom - thing.top + 1);
            let large = columns as f32 > LONGEST_SIDE * size.width as f32
                || rows as f32 > LONGEST_SIDE * size.height as f32;
            if large || thing.outline_before > thing.outline_now {
                for &member in &self.members {
                    (self.slow[member], self.ages[member]) = (settled[member], 0);
                }
            } else if self.members.len() >= FEWEST {
                self.keep(&thing.standing(self.members.len(), size, at));
            }
        }
    }

    /// The pixels that are part of one thing with `start`, into [`StandingThings::members`].
    fn gather(&mut self, start: usize, settled: &[Fine], size: PictureSize) -> Thing {
        let (width, height) = (size.width as usize, size.height as usize);
        let mut thing = Thing { left: width, top: height, ..Thing::default() };
        self.members.clear();
        self.members.push(start);
        self.reached[start] = true;
        let mut next = 0;
        while let Some(&member) = self.members.get(next) {
            next += 1;
            let (x, y) = (member % width, member / width);
            (thing.left, thing.right) = (thing.left.min(x), thing.right.max(x));
            (thing.top, thing.bottom) = (thing.top.min(y), thing.bottom.max(y));
            thing.age = thing.age.max(self.ages[member]);
            for other_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for other_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    let other = other_y * width + other_x;
                    if self.ages[other] < LEAST_AGE {
                        let step = |picture: &[Fine]| {
                            (i64::from(picture[member]) - i64::from(picture[other])).unsigned_abs()
                        };
                        thing.outline_now += step(settled);
                        thing.outline_before += step(&self.slow);
                    } else if !self.reached[other] {
                        self.reached[other] = true;
                        self.members.push(other);
                    }
                }
            }
        }
        thing
    }

    /// Keeps the largest, the largest first; the first found of two that are as large.
    fn keep(&mut self, standing: &Standing) {
        let place = self.found.iter().position(|known| known.is_none_or(|known| known.area < standing.area));
        if let Some(place) = place {
            self.found[place..].rotate_right(1);
            self.found[place] = Some(*standing);
        }
    }
}

/// A thing in pixels of the small picture; sides are inclusive.
#[derive(Clone, Copy, Debug, Default)]
struct Thing {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    age: Tenths,
    /// The steps across its outline, summed, in the picture and in the slow background.
    outline_now: u64,
    outline_before: u64,
}

impl Thing {
    fn standing(&self, pixels: usize, size: PictureSize, at: MediaTime) -> Standing {
        let (width, height) = (size.width as f32, size.height as f32);
        Standing {
            box_in_image: BoxInImage {
                left: self.left as f32 / width,
                top: self.top as f32 / height,
                right: (self.right + 1) as f32 / width,
                bottom: (self.bottom + 1) as f32 / height,
            },
            since: at - Duration::from_millis(100 * u64::from(self.age)),
            area: pixels as f32 / (width * height),
        }
    }
}
