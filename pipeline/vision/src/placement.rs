//! Where a picture lies in a network's input, and the way back from there to the picture.
//!
//! A picture is scaled with its aspect ratio kept and placed at the input's top left; what remains at the
//! right and at the bottom is padding. [`Placement::own_shape`] gives the network an input of the picture's own
//! shape, so that no more than the last few rows or columns are padding: for a network that takes any
//! shape this is the cheapest and the best input. [`Placement::within`] is the letterbox of a network
//! whose input is fixed.

use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;

/// Where a picture lies in a network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The picture, in its own pixels.
    pub picture: PictureSize,
    /// The picture scaled, in the input's pixels, from the input's top left corner.
    pub scaled: PictureSize,
    /// The whole input; not smaller than `scaled`.
    pub input: PictureSize,
}

impl Placement {
    /// Scales the picture's longer side to `long_side` and rounds both sides of the input up to multiples
    /// of `multiple_of`.
    pub fn own_shape(picture: PictureSize, long_side: u32, multiple_of: u32) -> Self {
        let longer = picture.width.max(picture.height).max(1);
        let scaled = PictureSize {
            width: scale(picture.width, long_side, longer),
            height: scale(picture.height, long_side, longer),
        };
        let multiple_of = multiple_of.max(1);
        let input = PictureSize {
            width: scaled.width.next_multiple_of(multiple_of),
            height: scaled.height.next_multiple_of(multiple_of),
        };
        Self { picture, scaled, input }
    }

    /// Scales the picture to the largest size that fits into `input`.
    pub fn within(picture: PictureSize, input: PictureSize) -> Self {
        let (width, height) = (u64::from(picture.width.max(1)), u64::from(picture.height.max(1)));
        let is_wider = width * u64::from(input.height) >= height * u64::from(input.width);
        let scaled = if is_wider {
            PictureSize {
                width: input.width,
                height: scale(picture.height, input.width, picture.width.max(1)).min(input.height),
            }
        } else {
            PictureSize {
                width: scale(picture.width, input.height, picture.height.max(1)).min(input.width),
                height: input.height,
            }
        };
        Self { picture, scaled, input }
    }

    /// A box in the input's pixels as a box in the picture, cut at the picture's edges.
    /// `None` when nothing of it lies in the picture.
    pub fn to_image(&self, left: f32, top: f32, right: f32, bottom: f32) -> Option<BoxInImage> {
        let (width, height) = (self.scaled.width as f32, self.scaled.height as f32);
        let box_in_image = BoxInImage {
            left: (left / width).clamp(0.0, 1.0),
            top: (top / height).clamp(0.0, 1.0),
            right: (right / width).clamp(0.0, 1.0),
            bottom: (bottom / height).clamp(0.0, 1.0),
        };
        (box_in_image.area() > 0.0).then_some(box_in_image)
    }
}

/// `side * to / from`, rounded to the nearest whole pixel, at least one.
fn scale(side: u32, to: u32, from: u32) -> u32 {
    let (side, to, from) = (u64::from(side), u64::from(to), u64::from(from));
    u32::try_from((2 * side * to + from) / (2 * from)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u32, height: u32) -> PictureSize {
        PictureSize { width, height }
    }

    #[test]
    fn a_picture_keeps_its_own_shape_up_to_the_next_multiple() {
        let cases = [
            (size(768, 576), size(416, 312), size(416, 320)),
            (size(1920, 1080), size(416, 234), size(416, 256)),
            (size(1080, 1920), size(234, 416), size(256, 416)),
            (size(320, 240), size(416, 312), size(416, 320)),
            (size(4096, 1), size(416, 1), size(416, 32)),
        ];
        for (picture, scaled, input) in cases {
            assert_eq!(Placement::own_shape(picture, 416, 32), Placement { picture, scaled, input });
        }
    }

    #[test]
    fn a_fixed_input_holds_the_largest_picture_that_fits() {
        let square = size(416, 416);
        assert_eq!(Placement::within(size(1920, 1080), square).scaled, size(416, 234));
        assert_eq!(Placement::within(size(1080, 1920), square).scaled, size(234, 416));
        assert_eq!(Placement::within(size(500, 500), square).scaled, square);
    }

    #[test]
    fn a_box_in_the_padding_is_no_box_in_the_picture() {
        let placement = Placement::own_shape(size(768, 576), 416, 32);
        assert_eq!(placement.to_image(10.0, 313.0, 40.0, 319.0), None);
        let cut = placement.to_image(208.0, 156.0, 430.0, 330.0).unwrap();
        assert_eq!(cut, BoxInImage { left: 0.5, top: 0.5, right: 1.0, bottom: 1.0 });
    }

    proptest! {
        #[test]
        fn a_box_survives_the_way_into_the_input_and_back(
            width in 1u32..5000, height in 1u32..5000, long_side in 1u32..1000, fixed in any::<bool>(),
            x in 0.0f32..0.9, y in 0.0f32..0.9,
        ) {
            let picture = size(width, height);
            let placement = if fixed {
                Placement::within(picture, size(long_side, 416))
            } else {
                Placement::own_shape(picture, long_side, 32)
            };
            prop_assert!(placement.scaled.width <= placement.input.width);
            prop_assert!(placement.scaled.height <= placement.input.height);
            let (sx, sy) = (placement.scaled.width as f32, placement.scaled.height as f32);
            let back = placement.to_image(x * sx, y * sy, (x + 0.1) * sx, (y + 0.1) * sy).unwrap();
            prop_assert!((back.left - x).abs() < 1e-5 && (back.bottom - y - 0.1).abs() < 1e-5);
        }
    }
}
