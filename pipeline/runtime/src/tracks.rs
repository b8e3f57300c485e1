//! Tracks of a replayed clip as rows of the MOTChallenge format, a local aid for judging the tracker.
//!
//! A track is confirmed some frames after its first detection. Since a replay ends before its rows are
//! written, those first frames are held back and join the file once the track is confirmed; a track that
//! never is confirmed leaves no row.
//!
//! Where a track was lost and found again, the frames between get rows too, on the straight way from the
//! last box before to the first one after: annotators mark people while something hides them, and trackers are
//! usually judged with such rows (ByteTrack, Zhang et al., ECCV 2022, does the same). How long a gap may
//! be is the tracker's decision: it gives a track up after `lost_patience`. A place that was only
//! predicted gets no row, so a track ends with its last detection.

use std::collections::BTreeMap;

use kerbside_core::frame::Frame;
use kerbside_core::observation::Track;
use kerbside_operators::tracker::Tracker;

/// One track in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackRow {
    /// The frame's number in the clip, from 1.
    pub frame: u64,
    /// The track's number.
    pub id: u64,
    /// Left edge, pixels of the source.
    pub left: f32,
    /// Top edge, pixels of the source.
    pub top: f32,
    /// Width, pixels of the source.
    pub width: f32,
    /// Height, pixels of the source.
    pub height: f32,
    /// The detection's score, 0..1; between two detections a value between theirs.
    pub score: f32,
}

/// Collects rows while a clip is replayed.
#[derive(Debug, Default)]
pub(crate) struct TrackRows {
    tracks: BTreeMap<u64, Growing>,
}

/// The rows of one track so far.
#[derive(Debug, Default)]
struct Growing {
    confirmed: bool,
    rows: Vec<TrackRow>,
    /// The frames without a detection since the last row.
    hidden: Vec<u64>,
}

impl TrackRows {
    /// Takes in the tracks of one frame.
    pub(crate) fn take_in(&mut self, frame: &Frame, tracker: &Tracker) {
        for track in tracker.confirmed() {
            self.grow(frame, track).confirmed = true;
        }
        for track in tracker.candidates() {
            self.grow(frame, track);
        }
    }

    fn grow(&mut self, frame: &Frame, track: &Track) -> &mut Growing {
        let growing = self.tracks.entry(track.id.0).or_default();
        if track.detected {
            growing.push(row(frame, track));
        } else {
            growing.hidden.push(frame.sequence + 1);
        }
        growing
    }

    /// The rows, by frame and track.
    pub(crate) fn into_sorted(self) -> Vec<TrackRow> {
        let confirmed = self.tracks.into_values().filter(|growing| growing.confirmed);
        let mut rows: Vec<TrackRow> = confirmed.flat_map(|growing| growing.rows).collect();
        rows.sort_by_key(|row| (row.frame, row.id));
        rows
    }
}

impl Growing {
    /// Adds a detection, and what lies between it and the one before.
    fn push(&mut self, now: TrackRow) {
        if let Some(&last) = self.rows.last() {
            self.rows.extend(self.hidden.iter().map(|&frame| between(&last, &now, frame)));
        }
        self.hidden.clear();
        self.rows.push(now);
    }
}

/// The row of `frame` on the straight way from one row to a later one of the same track.
fn between(last: &TrackRow, now: &TrackRow, frame: u64) -> TrackRow {
    let share = (frame - last.frame) as f32 / (now.frame - last.frame) as f32;
    let mix = |a: f32, b: f32| a + share * (b - a);
    TrackRow {
        frame,
        id: now.id,
        left: mix(last.left, now.left),
        top: mix(last.top, now.top),
        width: mix(last.width, now.width),
        height: mix(last.height, now.height),
        score: mix(last.score, now.score),
    }
}

fn row(frame: &Frame, track: &Track) -> TrackRow {
    let (width, height) = (frame.size.width as f32, frame.size.height as f32);
    TrackRow {
        frame: frame.sequence + 1,
        id: track.id.0,
        left: track.box_in_image.left * width,
        top: track.box_in_image.top * height,
        width: track.box_in_image.width() * width,
        height: track.box_in_image.height() * height,
        score: track.score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(frame: u64, left: f32) -> TrackRow {
        TrackRow { frame, id: 7, left, top: 10.0, width: 20.0, height: 50.0, score: 0.5 }
    }

    #[test]
    fn a_gap_is_filled_on_the_straight_way_and_an_end_is_not() {
        let mut growing = Growing::default();
        growing.push(at(3, 100.0));
        growing.hidden = vec![4, 5, 6];
        growing.push(at(7, 140.0));
        growing.hidden = vec![8, 9];
        let lefts: Vec<(u64, f32)> = growing.rows.iter().map(|row| (row.frame, row.left)).collect();
        assert_eq!(lefts, [(3, 100.0), (4, 110.0), (5, 120.0), (6, 130.0), (7, 140.0)]);
    }
}
