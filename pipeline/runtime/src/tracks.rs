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
//!
//! At last each track's boxes are smoothed over time, since the boxes of a detector shake and annotated ones
//! do not (Gaussian-smoothed interpolation of StrongSORT, Du et al., IEEE TMM 2023, here with a plain
//! Gaussian weight). This looks ahead, which a file may and the operators of a live camera cannot: what they
//! count does not depend on it.

use std::collections::BTreeMap;

use kerbside_core::frame::Frame;
use kerbside_core::observation::Track;
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::Tracker;

/// The standard deviation, in seconds, of the Gaussian with which boxes are smoothed.
const SMOOTHING_SECS: f64 = 0.2;
/// Rows that are this many standard deviations away do not count.
const SMOOTHING_REACH: f64 = 3.0;

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
    rows: Vec<(MediaTime, TrackRow)>,
    /// The frames without a detection since the last row.
    hidden: Vec<(MediaTime, u64)>,
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
            growing.push(frame.media_time, row(frame, track));
        } else {
            growing.hidden.push((frame.media_time, frame.sequence + 1));
        }
        growing
    }

    /// The rows, by frame and track.
    pub(crate) fn into_sorted(self) -> Vec<TrackRow> {
        let confirmed = self.tracks.into_values().filter(|growing| growing.confirmed);
        let mut rows: Vec<TrackRow> = confirmed.flat_map(|growing| growing.smoothed()).collect();
        rows.sort_by_key(|row| (row.frame, row.id));
        rows
    }
}

impl Growing {
    /// Adds a detection, and what lies between it and the one before.
    fn push(&mut self, at: MediaTime, now: TrackRow) {
        if let Some(&(_, last)) = self.rows.last() {
            self.rows.extend(self.hidden.iter().map(|&(at, frame)| (at, between(&last, &now, frame))));
        }
        self.hidden.clear();
        self.rows.push((at, now));
    }

    /// The rows with smoothed boxes. Each is averaged with as many rows before it as after it, so that a
    /// steady motion stays where it is, to the first and the last row.
    fn smoothed(&self) -> Vec<TrackRow> {
        let rows = &self.rows;
        let smooth = |(index, &(at, row)): (usize, &(MediaTime, TrackRow))| {
            let (mut sum, mut weights) = ([row.left, row.top, row.width, row.height].map(f64::from), 1.0);
            for step in 1..=index.min(rows.len() - 1 - index) {
                let (before, after) = (&rows[index - step], &rows[index + step]);
                let secs = after.0.since(at).max(at.since(before.0)).as_secs_f64();
                if secs > SMOOTHING_REACH * SMOOTHING_SECS {
                    break;
                }
                let weight = (-0.5 * (secs / SMOOTHING_SECS).powi(2)).exp();
                for TrackRow { left, top, width, height, .. } in [before.1, after.1] {
                    for (sum, side) in sum.iter_mut().zip([left, top, width, height]) {
                        *sum += weight * f64::from(side);
                    }
                    weights += weight;
                }
            }
            let [left, top, width, height] = sum.map(|sum| (sum / weights) as f32);
            TrackRow { left, top, width, height, ..row }
        };
        rows.iter().enumerate().map(smooth).collect()
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

    /// A track at 10 frames a second, one row for each number.
    fn grown(lefts: &[Option<f32>]) -> Growing {
        let mut growing = Growing::default();
        for (frame, left) in (1u64..).zip(lefts) {
            let time = MediaTime::from_millis(100 * frame);
            match left {
                Some(left) => growing.push(time, at(frame, *left)),
                None => growing.hidden.push((time, frame)),
            }
        }
        growing
    }

    fn lefts(rows: &[TrackRow]) -> Vec<(u64, f32)> {
        rows.iter().map(|row| (row.frame, (row.left * 100.0).round() / 100.0)).collect()
    }

    #[test]
    fn a_gap_is_filled_on_the_straight_way_an_end_is_not_and_steady_motion_stays_where_it_is() {
        let growing = grown(&[Some(90.0), Some(100.0), None, None, None, Some(140.0), None, None]);
        let expected = [(1, 90.0), (2, 100.0), (3, 110.0), (4, 120.0), (5, 130.0), (6, 140.0)];
        assert_eq!(lefts(&growing.smoothed()), expected);
    }

    #[test]
    fn a_box_that_shakes_is_smoothed() {
        let shaking: Vec<Option<f32>> = (0..20).map(|n| Some(if n % 2 == 0 { 100.0 } else { 110.0 })).collect();
        for row in &grown(&shaking).smoothed()[5..15] {
            assert!((row.left - 105.0).abs() < 1.0, "{row:?}");
        }
    }
}
