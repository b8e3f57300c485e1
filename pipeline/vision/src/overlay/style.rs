//! Colours and sizes of an overlay.

use kerbside_core::detection::Class;
use kerbside_core::frame::{ColourMatrix, ColourRange, PictureSize};

/// A colour as screens have it, 0..255 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) const BLACK: Rgb = Rgb(0, 0, 0);
pub(super) const WHITE: Rgb = Rgb(255, 255, 255);
pub(super) const GREY: Rgb = Rgb(170, 170, 170);
/// Lines and zones at rest.
pub(super) const SITE: Rgb = Rgb(0, 225, 235);
/// Lines and zones with a finding.
pub(super) const FIRING: Rgb = Rgb(255, 60, 220);
/// Incidents, and a picture that is not trusted.
pub(super) const ALARM: Rgb = Rgb(225, 30, 30);

/// One colour a class, far from those of sites and alarms.
pub(super) const fn of_class(class: Class) -> Rgb {
    match class {
        Class::Person => Rgb(255, 180, 0),
        Class::Bicycle => Rgb(140, 230, 60),
        Class::Motorcycle => Rgb(0, 170, 110),
        Class::Car => Rgb(70, 140, 255),
        Class::Bus => Rgb(165, 110, 255),
        Class::Truck => Rgb(225, 120, 70),
        Class::Other => GREY,
    }
}

/// The colour of text that is legible on this ground.
pub(super) fn text_on(ground: Rgb) -> Rgb {
    let [luma, ..] = in_planes(ground, ColourMatrix::Bt601, ColourRange::Full);
    if luma > 110 { BLACK } else { WHITE }
}

/// The colour's values in the planes of a picture: luma, Cb, Cr.
///
/// By the definition of the matrices: ITU-R BT.601-7, 2.5.1 and BT.709-6, 3.
pub(super) fn in_planes(colour: Rgb, matrix: ColourMatrix, range: ColourRange) -> [u8; 3] {
    let Rgb(red, green, blue) = colour;
    let [red, green, blue] = [red, green, blue].map(|value| f32::from(value) / 255.0);
    let (of_red, of_blue) = match matrix {
        ColourMatrix::Bt601 => (0.299, 0.114),
        ColourMatrix::Bt709 => (0.2126, 0.0722),
    };
    let luma = of_red * red + (1.0 - of_red - of_blue) * green + of_blue * blue;
    let (cb, cr) = ((blue - luma) / (2.0 * (1.0 - of_blue)), (red - luma) / (2.0 * (1.0 - of_red)));
    let values = match range {
        ColourRange::Limited => [16.0 + 219.0 * luma, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr],
        ColourRange::Full => [255.0 * luma, 128.0 + 255.0 * cb, 128.0 + 255.0 * cr],
    };
    values.map(|value| value.round() as u8)
}

/// Sizes that follow the picture's height, so that a drawing looks alike at every resolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    /// Of OpenCV's stroke font.
    pub(super) font_scale: f64,
    /// Of the font's strokes, pixels.
    pub(super) font_stroke: i32,
    /// Of what matters, pixels.
    pub(super) thick: i32,
    /// Of the rest, pixels.
    pub(super) thin: i32,
    /// A dash and the gap behind it, pixels.
    pub(super) dash: f32,
    /// Space around text, pixels.
    pub(super) margin: i32,
}

impl Sizes {
    pub(super) fn of(picture: PictureSize) -> Self {
        // 1 for standard definition. The font is not legible below 0.36.
        let scale = (picture.height as f32 / 576.0).clamp(0.5, 4.0);
        let pixels = |at_one: f32| ((at_one * scale).round() as i32).max(1);
        Self {
            font_scale: f64::from(0.4 * scale).max(0.36),
            font_stroke: pixels(0.8),
            thick: pixels(2.0),
            thin: pixels(0.9),
            dash: (5.0 * scale).max(3.0),
            margin: pixels(3.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_standards() {
        // (colour, matrix, range, planes): the corners of the colour cube, as test charts have them.
        for (colour, matrix, range, planes) in [
            (WHITE, ColourMatrix::Bt601, ColourRange::Limited, [235, 128, 128]),
            (BLACK, ColourMatrix::Bt709, ColourRange::Limited, [16, 128, 128]),
            (Rgb(255, 0, 0), ColourMatrix::Bt601, ColourRange::Limited, [81, 90, 240]),
            (Rgb(0, 0, 255), ColourMatrix::Bt709, ColourRange::Limited, [32, 240, 118]),
            (WHITE, ColourMatrix::Bt709, ColourRange::Full, [255, 128, 128]),
        ] {
            assert_eq!(in_planes(colour, matrix, range), planes, "{colour:?} {matrix:?} {range:?}");
        }
    }
}
