//! The exponential of 32-bit floats, made of single operations that give the same bits on every processor.
//!
//! The standard library's goes to the platform's, whose last bits differ from one to the next and which no
//! compiler turns into vector code. This is the polynomial of the Cephes library: relative error below 3e-7.

/// Arguments are cut to this range.
pub(super) const LEAST: f32 = -87.0;
pub(super) const MOST: f32 = 88.0;
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has few enough bits that a whole multiple of it is exact.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding this leaves a whole number, rounded to nearest, in the low bits of a float.
pub(super) const WHOLE: f32 = 12_582_912.0;
/// For the rest of a power, highest first.
pub(super) const POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5];

/// `e` to the power of `value`; below -87 and above 88 what it is there.
#[inline(always)]
pub(super) fn exp(value: f32) -> f32 {
    let value = if value > LEAST { value } else { LEAST };
    let value = if value < MOST { value } else { MOST };
    let shifted = value * LOG2_E + WHOLE;
    let whole = shifted - WHOLE;
    let rest = value - whole * LN2_HIGH;
    let rest = rest - whole * LN2_LOW;
    let [a, b, c, d, e, f] = POLYNOMIAL;
    let sum = ((((a * rest + b) * rest + c) * rest + d) * rest + e) * rest + f;
    let fraction = sum * (rest * rest) + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(WHOLE.to_bits()).wrapping_add(127);
    fraction * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_double_precision() {
        let mut worst = 0.0_f64;
        for step in -870_000..=880_000 {
            let value = step as f32 * 1e-4;
            let exact = f64::from(value).exp();
            worst = worst.max(((f64::from(exp(value)) - exact) / exact).abs());
        }
        assert!(worst < 3e-7, "relative error {worst:e}");
    }

    #[test]
    fn stays_finite_far_outside() {
        assert_eq!(exp(f32::MAX), exp(88.0));
        assert_eq!(exp(f32::MIN), exp(-87.0));
        assert_eq!(exp(0.0), 1.0);
    }
}
