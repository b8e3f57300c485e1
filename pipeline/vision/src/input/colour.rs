//! Y'CbCr to R'G'B' as six numbers.

use kerbside_core::frame::{ColourMatrix, ColourRange};

/// `R = luma * (Y - black) + red_cr * Cr`, `B = luma * (Y - black) + blue_cb * Cb`,
/// `G = luma * (Y - black) + green_cb * Cb + green_cr * Cr`, with Cb and Cr centred on zero; all 0..255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coefficients {
    pub(super) black: f32,
    pub(super) luma: f32,
    pub(super) red_cr: f32,
    pub(super) green_cb: f32,
    pub(super) green_cr: f32,
    pub(super) blue_cb: f32,
}

/// The chroma value of grey.
pub(super) const NEUTRAL: f32 = 128.0;

impl Coefficients {
    pub(super) fn new(matrix: ColourMatrix, range: ColourRange) -> Self {
        // ITU-R BT.601-7 2.5.1 and BT.709-6 3.2: the shares of red and blue in luma.
        let (red, blue) = match matrix {
            ColourMatrix::Bt601 => (0.299, 0.114),
            ColourMatrix::Bt709 => (0.2126, 0.0722),
        };
        let green = 1.0 - red - blue;
        let (black, luma, chroma) = match range {
            ColourRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            ColourRange::Full => (0.0, 1.0, 1.0),
        };
        let (cr, cb): (f64, f64) = (2.0 * (1.0 - red) * chroma, 2.0 * (1.0 - blue) * chroma);
        Self {
            black,
            luma: luma as f32,
            red_cr: cr as f32,
            green_cb: (-cb * blue / green) as f32,
            green_cr: (-cr * red / green) as f32,
            blue_cb: cb as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrices_are_those_of_the_standards() {
        let sd = Coefficients::new(ColourMatrix::Bt601, ColourRange::Limited);
        for (found, expected) in [
            (sd.luma, 1.164_383),
            (sd.red_cr, 1.596_027),
            (sd.green_cb, -0.391_762),
            (sd.green_cr, -0.812_968),
            (sd.blue_cb, 2.017_232),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let hd = Coefficients::new(ColourMatrix::Bt709, ColourRange::Full);
        for (found, expected) in [
            (hd.luma, 1.0),
            (hd.red_cr, 1.5748),
            (hd.green_cb, -0.187_324),
            (hd.green_cr, -0.468_124),
            (hd.blue_cb, 1.8556),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
