//! What one frame told us, as operators see it.

use crate::detection::Class;
use crate::frame::PictureSize;
use crate::geometry::BoxInImage;
use crate::time::{LocalTime, MediaTime, WallTime};

/// Names one track for as long as it lives. It stays in RAM: no released table has a column for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);

/// One object followed over time, as it is in this frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// The track's name; ids are never used twice in one process.
    pub id: TrackId,
    /// The class that the track's detections speak for most.
    pub class: Class,
    /// The score of this frame's detection; of the last one where [`Track::detected`] is false.
    pub score: f32,
    /// This frame's detection; the predicted place where [`Track::detected`] is false.
    pub box_in_image: BoxInImage,
    /// Whether this frame has a detection of it.
    pub detected: bool,
    /// When its first detection was.
    pub since: MediaTime,
    /// Its first detection. It is older than the first observation that shows the track, since a track is
    /// confirmed some time after it begins.
    pub first_box: BoxInImage,
}

/// Statistics of the whole picture's luma (8 bit, 0 black to 255 white).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneStatistics {
    /// Mean luma, 0..255.
    pub luma_mean: f32,
    /// Standard deviation of luma, 0..127.5: the picture's contrast.
    pub luma_deviation: f32,
    /// Variance of the Laplacian of luma, from 0 (no edges): the picture's sharpness.
    pub sharpness: f32,
}

/// All that one frame told us.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When the frame was taken, on the camera's clock. Never decreases from one observation to the next.
    pub at: MediaTime,
    /// How long this frame stands for: the time since the frame before it, zero for the first frame
    /// and after an interruption.
    pub step: std::time::Duration,
    /// The picture's size in pixels, for its aspect ratio: coordinates are normalised.
    pub picture: PictureSize,
    /// The confirmed tracks, in the order of their ids. Empty for an operator that is a guard.
    pub tracks: &'a [Track],
    /// The same moment in UTC.
    pub wall: WallTime,
    /// The same moment as the clocks of the camera's town show it.
    pub local: LocalTime,
    /// What the picture as a whole looks like.
    pub scene: &'a SceneStatistics,
    /// Whether the picture can be trusted; where it is false no object should be counted from it.
    pub trusted: bool,
}
