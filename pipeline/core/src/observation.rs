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

/// How many cells a [`SceneGrid`] has from left to right.
pub const SCENE_COLUMNS: usize = 32;
/// How many cells a [`SceneGrid`] has from top to bottom.
pub const SCENE_ROWS: usize = 18;

/// One number for each cell of the picture: rows from the top, columns from the left, all of one size.
pub type SceneGrid = [[f32; SCENE_COLUMNS]; SCENE_ROWS];

/// What the picture as a whole looks like, from its luma (8 bit, 0 black to 255 white).
///
/// It holds no picture: the finest thing in it is the mean of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneStatistics {
    /// Mean luma, 0..255.
    pub luma_mean: f32,
    /// Standard deviation of luma, 0..127.5: the picture's contrast.
    pub luma_deviation: f32,
    /// Variance of the Laplacian of luma, from 0 (no edges): the picture's sharpness.
    pub sharpness: f32,
    /// The share of pixels at or below [`SceneStatistics::DARK`], 0..1.
    pub dark: f32,
    /// The share of pixels at or above [`SceneStatistics::BRIGHT`], 0..1.
    pub bright: f32,
    /// The share of pixels that are not what they were in the frame before, 0..1; 1 for the first frame.
    /// A sensor's noise alone keeps it above zero.
    pub change: f32,
    /// Whether the same picture, to the last bit, was among the frames just before: a decoder that repeats itself.
    pub repeated: bool,
    /// Each cell's mean luma, 0..255, of the settled picture: the mean over the last seconds, in which noise,
    /// snow and what passes by fade.
    pub luma: SceneGrid,
    /// Each cell's mean step of luma from a pixel to the one on its right, of the settled picture.
    pub edges_across: SceneGrid,
    /// Each cell's mean step of luma from a pixel to the one below, of the settled picture.
    pub edges_down: SceneGrid,
    /// What is new in the picture and stays where it is, the largest first.
    pub standing: [Option<Standing>; 8],
}

impl SceneStatistics {
    /// Luma up to which a pixel shows nothing. Black is 16 where the range of values is limited.
    pub const DARK: u8 = 32;
    /// Luma from which on a pixel shows nothing. White is 235 where the range of values is limited.
    pub const BRIGHT: u8 = 225;
}

/// Something that was not in the picture before and does not move: an object, a parked car, a patch of light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Where.
    pub box_in_image: BoxInImage,
    /// Since when, as far as the pixels tell: a few seconds off where something passed in front of it.
    pub since: MediaTime,
    /// The share of the picture's pixels that belong to it, 0..1.
    pub area: f32,
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
