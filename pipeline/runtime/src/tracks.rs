//! Tracks of a replayed clip as rows of the MOTChallenge format, a local aid for judging the tracker.
//!
//! A track is confirmed some frames after its first detection. Since a replay ends before its rows are
//! written, those first frames are held back and join the file once the track is confirmed; a track that
//! never is confirmed leaves no row.

use std::collections::BTreeMap;

use kerbside_core::frame::Frame;
use kerbside_core::observation::Track;
use kerbside_operators::tracker::Tracker;

/// One detection of one track.
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
    /// The detection's score, 0..1.
    pub score: f32,
}

/// Collects rows while a clip is replayed.
#[derive(Debug, Default)]
pub(crate) struct TrackRows {
    rows: Vec<TrackRow>,
    held_back: BTreeMap<u64, Vec<TrackRow>>,
}

impl TrackRows {
    /// Takes in the tracks of one frame.
    pub(crate) fn take_in(&mut self, frame: &Frame, tracker: &Tracker) {
        for track in tracker.confirmed().iter().filter(|track| track.detected) {
            self.rows.extend(self.held_back.remove(&track.id.0).unwrap_or_default());
            self.rows.push(row(frame, track));
        }
        for track in tracker.candidates().iter().filter(|track| track.detected) {
            self.held_back.entry(track.id.0).or_default().push(row(frame, track));
        }
    }

    /// The rows, by frame and track.
    pub(crate) fn into_sorted(mut self) -> Vec<TrackRow> {
        self.rows.sort_by_key(|row| (row.frame, row.id));
        self.rows
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
