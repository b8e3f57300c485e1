//! What an operator remembers of each track, for exactly as long as the track lives.

use kerbside_core::observation::{Track, TrackId};

/// One `T` per living track. Memory is bounded by the number of tracks in one frame; once grown it is
/// reused from frame to frame.
#[derive(Debug)]
pub(crate) struct PerTrack<T> {
    /// In the order of ids.
    states: Vec<(TrackId, T)>,
    before: Vec<(TrackId, T)>,
}

impl<T: Copy + Default> PerTrack<T> {
    pub(crate) fn new() -> Self {
        Self { states: Vec::new(), before: Vec::new() }
    }

    /// Visits `tracks`, which are in the order of their ids, each with what is remembered of it: the
    /// default for a track that is new. Tracks that are not in the list are forgotten.
    pub(crate) fn follow<'a>(&mut self, tracks: &'a [Track], mut visit: impl FnMut(&'a Track, &mut T)) {
        std::mem::swap(&mut self.states, &mut self.before);
        self.states.clear();
        for track in tracks {
            let known = self.before.binary_search_by_key(&track.id, |(id, _)| *id);
            let mut state = known.map_or_else(|_| T::default(), |place| self.before[place].1);
            visit(track, &mut state);
            self.states.push((track.id, state));
        }
    }

    /// Tells of every track that was followed and is not in `tracks`, in the order of ids, with what is
    /// remembered of it. For an operator that must act when a track ends: call it before
    /// [`PerTrack::follow`], which then forgets them.
    pub(crate) fn gone(&self, tracks: &[Track], mut ended: impl FnMut(TrackId, T)) {
        for (id, state) in &self.states {
            if tracks.binary_search_by_key(id, |track| track.id).is_err() {
                ended(*id, *state);
            }
        }
    }

    /// Ends every track, in the order of ids.
    pub(crate) fn end_all(&mut self, mut ended: impl FnMut(TrackId, T)) {
        for (id, state) in self.states.drain(..) {
            ended(id, state);
        }
    }

    /// Forgets every track.
    pub(crate) fn clear(&mut self) {
        self.states.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::detection::Class;
    use kerbside_core::geometry::BoxInImage;
    use kerbside_core::time::MediaTime;

    fn tracks(ids: &[u64]) -> Vec<Track> {
        let track = |id: &u64| Track {
            id: TrackId(*id),
            class: Class::Car,
            score: 0.9,
            box_in_image: BoxInImage::default(),
            detected: true,
            since: MediaTime::ZERO,
        };
        ids.iter().map(track).collect()
    }

    #[test]
    fn an_end_is_told_once_with_what_was_remembered() {
        let mut seen: PerTrack<u32> = PerTrack::new();
        let mut ends = |ids: &[u64]| {
            let mut ends = Vec::new();
            seen.gone(&tracks(ids), |id, count| ends.push((id.0, count)));
            seen.follow(&tracks(ids), |_, count| *count += 1);
            ends
        };
        assert_eq!(ends(&[1, 2, 4]), []);
        assert_eq!(ends(&[2]), [(1, 1), (4, 1)]);
        assert_eq!(ends(&[2, 4]), []);
        assert_eq!(ends(&[5]), [(2, 3), (4, 1)]);
        let mut rest = Vec::new();
        seen.end_all(|id, count| rest.push((id.0, count)));
        assert_eq!(rest, [(5, 1)]);
        seen.end_all(|id, _| panic!("{id:?} ended twice"));
    }

    #[test]
    fn a_track_is_remembered_until_it_is_gone() {
        let mut seen: PerTrack<u32> = PerTrack::new();
        let mut follow = |ids: &[u64]| {
            let mut counts = Vec::new();
            seen.follow(&tracks(ids), |_, count| {
                *count += 1;
                counts.push(*count);
            });
            counts
        };
        assert_eq!(follow(&[1, 4]), [1, 1]);
        assert_eq!(follow(&[1, 2, 4]), [2, 1, 2]);
        assert_eq!(follow(&[4]), [3]);
        assert_eq!(follow(&[1, 4]), [1, 4]);
        assert_eq!(follow(&[]), [0u32; 0]);
        assert_eq!(follow(&[4]), [1]);
    }
}
