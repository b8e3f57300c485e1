//! Which frames and which places can be relied upon.

use std::time::Duration;

use kerbside_core::geometry::{BoxInImage, PointInImage};
use kerbside_core::observation::Observation;
use kerbside_core::time::MediaTime;

/// The longest time between two frames that counts as seen.
pub(crate) const MAX_STEP: Duration = Duration::from_secs(2);
/// For how long a person who is not detected is still counted.
pub(crate) const HOLD: Duration = Duration::from_secs(1);
/// The largest coordinate that is inside a zone which reaches to the picture's edge: by the even-odd rule
/// a point on the polygon's far edge is outside.
const INNERMOST_EDGE: f32 = 1.0 - 1e-4;
/// A box that comes this near to the picture's edge, in parts of the picture, may be cut off there.
const CUT_MARGIN: f32 = 0.005;

/// Whether nobody knows what happened between the frame before and this one, or what this one shows. True
/// of the first frame as well.
pub(crate) fn is_gap(observation: &Observation<'_>) -> bool {
    !observation.trusted || observation.step.is_zero() || observation.step > MAX_STEP
}

/// Whether what was last detected then is still taken to be there: for `hold` a detector may miss it.
pub(crate) fn is_fresh(at: MediaTime, last_detected: Option<MediaTime>, hold: Duration) -> bool {
    last_detected.is_some_and(|last| at.since(last) <= hold)
}

/// Where the object touches the ground; boxes at the border may reach beyond the picture, then it is the
/// nearest point in the picture.
pub(crate) fn foot_in_picture(box_in_image: &BoxInImage) -> PointInImage {
    let foot = box_in_image.foot();
    PointInImage { x: foot.x.clamp(0.0, INNERMOST_EDGE), y: foot.y.clamp(0.0, INNERMOST_EDGE) }
}

/// Whether the picture's edge may hide a part of the object that its foot point depends on: at the left,
/// the right or below.
pub(crate) fn is_cut(box_in_image: &BoxInImage) -> bool {
    let BoxInImage { left, right, bottom, .. } = *box_in_image;
    left < CUT_MARGIN || right > 1.0 - CUT_MARGIN || bottom > 1.0 - CUT_MARGIN
}

/// The same where the object's height matters as well: also at the top.
pub(crate) fn is_cut_anywhere(box_in_image: &BoxInImage) -> bool {
    is_cut(box_in_image) || box_in_image.top < CUT_MARGIN
}
