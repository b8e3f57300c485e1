//! What an operator remembers of each object, for somewhat longer than its track lives.
//!
//! A tracker loses an object behind a bus and finds it again as another track. Where a stay or a drive must
//! not begin anew then, an operator keeps its state here: a track that is new takes over from the nearest
//! object that has just been lost and could be the same. Nothing but place, time and class is compared.
//!
//! # Limits
//! In a dense crowd someone who appears may take over from a neighbour who has just been lost.
//! Findings name the track of the moment. What was counted once is remembered with the object, so that a new track does
//! not count it again; what the release stage allows to one track begins anew with it (see `behaviour/splits.rs`).
//! Memory is bounded by the tracks of the time that objects are kept; once grown it is reused.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::time::MediaTime;

use crate::classes::may_confuse;

/// How far from where an object was last seen or predicted its next track may begin, in heights of its box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// At once.
    pub(crate) at_once: f32,
    /// And for each second since its last detection.
    pub(crate) per_second: f32,
}

/// Names one object of one operator: 0, 1, 2 and so on, in the order of their first detections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
struct Object<T> {
    id: ObjectId,
    track: TrackId,
    class: Class,
    /// Where it is or is predicted to be.
    place: BoxInImage,
    /// When it was last detected.
    seen: MediaTime,
    /// Whether this frame detects it, and whether this frame's tracks hold it at all.
    detected: bool,
    listed: bool,
    state: T,
}

/// One `T` per object.
#[derive(Debug)]
pub(crate) struct PerObject<T> {
    reach: Reach,
    /// In the order of ids.
    objects: Vec<Object<T>>,
    next: u64,
}

impl<T: Copy + Default> PerObject<T> {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, objects: Vec::new(), next: 0 }
    }

    /// Visits the observation's detected tracks, each with its object and what is remembered of it.
    /// Objects without a track are kept for as long as `keep` says of their state, since their last detection.
    pub(crate) fn follow<'a>(
        &mut self,
        observation: &Observation<'a>,
        keep: impl Fn(&T) -> Duration,
        mut visit: impl FnMut(&'a Track, ObjectId, &mut T),
    ) {
        let Observation { at, tracks, .. } = *observation;
        for object in &mut self.objects {
            let track = tracks.binary_search_by_key(&object.track, |track| track.id).map(|place| &tracks[place]);
            object.listed = track.is_ok();
            object.detected = track.is_ok_and(|track| track.detected);
            if let Ok(track) = track {
                (object.place, object.class) = (track.box_in_image, track.class);
            }
        }
        self.objects.retain(|object| object.listed || at.since(object.seen) <= keep(&object.state));
        for track in tracks.iter().filter(|track| track.detected) {
            let place = self.objects.iter().position(|object| object.track == track.id);
            let place = place.or_else(|| self.lost_near(track, at, observation.picture.aspect()));
            let place = place.unwrap_or_else(|| {
                let id = ObjectId(self.next);
                self.next += 1;
                self.objects.push(Object {
                    id,
                    track: track.id,
                    class: track.class,
                    place: track.box_in_image,
                    seen: at,
                    detected: true,
                    listed: true,
                    state: T::default(),
                });
                self.objects.len() - 1
            });
            let object = &mut self.objects[place];
            visit(track, object.id, &mut object.state);
            (object.track, object.class, object.place) = (track.id, track.class, track.box_in_image);
            (object.seen, object.detected, object.listed) = (at, true, true);
        }
    }

    /// What is remembered of every object, also of those that were lost.
    pub(crate) fn states(&self) -> impl Iterator<Item = &T> {
        self.objects.iter().map(|object| &object.state)
    }

    /// Forgets every object.
    pub(crate) fn clear(&mut self) {
        self.objects.clear();
    }

    /// The nearest object within reach that this frame does not detect otherwise.
    fn lost_near(&self, track: &Track, at: MediaTime, aspect: f32) -> Option<usize> {
        let distance = |object: &Object<T>| {
            let (a, b) = (object.place.foot(), track.box_in_image.foot());
            let height = (object.place.height() + track.box_in_image.height()) / 2.0;
            ((a.x - b.x) * aspect).hypot(a.y - b.y) / height.max(f32::MIN_POSITIVE)
        };
        self.objects
            .iter()
            .enumerate()
            .filter(|(_, object)| !object.detected && may_confuse(object.class, track.class))
            .map(|(place, object)| (place, object, distance(object)))
            .filter(|(_, object, distance)| {
                let secs = at.since(object.seen).as_secs_f32();
                *distance <= self.reach.at_once + self.reach.per_second * secs
            })
            .min_by(|(_, _, a), (_, _, b)| a.total_cmp(b))
            .map(|(place, ..)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::frame::PictureSize;
    use kerbside_core::observation::SceneStatistics;
    use kerbside_core::time::{LocalTime, WallTime};

    const REACH: Reach = Reach { at_once: 0.5, per_second: 0.2 };

    fn track(id: u64, class: Class, x: f32, detected: bool) -> Track {
        let box_in_image = BoxInImage { left: x, top: 0.4, right: x + 0.1, bottom: 0.6 };
        Track {
            id: TrackId(id),
            class,
            score: 0.9,
            box_in_image,
            detected,
            since: MediaTime::ZERO,
            first_box: box_in_image,
        }
    }

    /// Feeds frames, each with its second, and says whose number of detections each visit saw.
    fn follow(frames: &[(u64, &[Track])]) -> Vec<Vec<(u64, u32)>> {
        let mut objects: PerObject<u32> = PerObject::new(REACH);
        let mut visits = Vec::new();
        for &(secs, tracks) in frames {
            let mut frame = Vec::new();
            let observation = Observation {
                at: MediaTime::from_millis(1000 * secs),
                step: Duration::from_secs(1),
                picture: PictureSize { width: 1000, height: 1000 },
                tracks,
                wall: WallTime::UNIX_EPOCH,
                local: LocalTime::default(),
                scene: &SceneStatistics::default(),
                trusted: true,
            };
            objects.follow(
                &observation,
                |_| Duration::from_secs(3),
                |_, object, count| {
                    *count += 1;
                    frame.push((object.0, *count));
                },
            );
            visits.push(frame);
        }
        visits
    }

    #[test]
    fn a_new_track_takes_over_where_another_was_lost() {
        use Class::{Car, Person, Truck};
        type Case<'a> = (&'a str, &'a [(u64, &'a [Track])], &'a [&'a [(u64, u32)]]);
        let here = track(1, Car, 0.50, true);
        let cases: [Case<'_>; 7] = [
            ("the same track", &[(0, &[here]), (1, &[here])], &[&[(0, 1)], &[(0, 2)]]),
            ("another one, near", &[(0, &[here]), (1, &[track(2, Truck, 0.55, true)])], &[&[(0, 1)], &[(0, 2)]]),
            ("another one, far", &[(0, &[here]), (1, &[track(2, Car, 0.75, true)])], &[&[(0, 1)], &[(1, 1)]]),
            ("another kind", &[(0, &[here]), (1, &[track(2, Person, 0.5, true)])], &[&[(0, 1)], &[(1, 1)]]),
            ("too late", &[(0, &[here]), (4, &[track(2, Car, 0.5, true)])], &[&[(0, 1)], &[(1, 1)]]),
            (
                "while the first is only predicted",
                &[(0, &[here]), (1, &[track(1, Car, 0.6, false), track(2, Car, 0.62, true)])],
                &[&[(0, 1)], &[(0, 2)]],
            ),
            (
                "while the first is still seen",
                &[(0, &[here]), (1, &[here, track(2, Car, 0.52, true)])],
                &[&[(0, 1)], &[(0, 2), (1, 1)]],
            ),
        ];
        for (name, frames, expected) in cases {
            assert_eq!(follow(frames), expected, "{name}");
        }
    }

    #[test]
    fn the_nearest_of_several_is_taken_over_and_one_only_once() {
        let both = [track(1, Class::Car, 0.4, true), track(2, Class::Car, 0.5, true)];
        let new = [track(3, Class::Car, 0.48, true), track(4, Class::Car, 0.49, true)];
        assert_eq!(follow(&[(0, &both), (1, &new)])[1], [(1, 2), (0, 2)]);
    }
}
