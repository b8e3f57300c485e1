//! Discrete Laplace noise with integers alone: Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for
//! Differential Privacy", algorithms 1 and 2.

#![deny(clippy::float_arithmetic)]

use super::{Noise, NoiseError, Scale};

impl Noise {
    /// One draw from P(x) ∝ exp(−|x| / `scale`), in whole units.
    ///
    /// # Errors
    /// The random source failed; then there is no noise, and nothing may be released.
    pub fn laplace(&mut self, scale: Scale) -> Result<i128, NoiseError> {
        // Algorithm 2, whose t and s these are.
        let (t, s) = (u128::from(scale.numerator), u128::from(scale.denominator));
        loop {
            let rest = self.below(t)?;
            if !self.happens_exp(rest, t)? {
                continue;
            }
            let mut whole: u64 = 0;
            while self.happens_exp(1, 1)? {
                whole += 1;
            }
            // At most (2^64 − 1)^2 + 2^64 − 2, which fits.
            let magnitude = (rest + t * u128::from(whole)) / s;
            let negative = self.below(2)? == 1;
            // Zero has one sign, or it would come up twice as often as it should.
            if negative && magnitude == 0 {
                continue;
            }
            let magnitude =
                i128::try_from(magnitude).expect("nobody sees 2^63 events in a row of probability 1/e each");
            return Ok(if negative { -magnitude } else { magnitude });
        }
    }

    /// True with probability exp(−`part` / `of`), for `part` ≤ `of` < 2^64: algorithm 1.
    fn happens_exp(&mut self, part: u128, of: u128) -> Result<bool, NoiseError> {
        let mut k: u64 = 1;
        // With probability part / (of · k); the product of two numbers below 2^64 fits.
        while self.below(of * u128::from(k))? < part {
            k += 1;
        }
        Ok(k % 2 == 1)
    }

    /// A whole number below `bound`, all equally likely; `bound` is above zero.
    fn below(&mut self, bound: u128) -> Result<u128, NoiseError> {
        let bits = u128::BITS - (bound - 1).leading_zeros();
        let mask = u128::MAX.checked_shr(u128::BITS - bits).unwrap_or(0);
        loop {
            let mut bytes = [0; 16];
            self.take(&mut bytes[..bits.div_ceil(8) as usize])?;
            // What lies above is thrown back, not folded over: folding would favour the small numbers.
            let number = u128::from_le_bytes(bytes) & mask;
            if number < bound {
                return Ok(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_below_a_bound_is_any_of_them_equally_often() {
        let mut noise = Noise::from_key([1; 32]);
        for bound in [1, 2, 3, 5, 8, 200, 257] {
            let mut seen = vec![0_u32; bound as usize];
            let draws = 2_000 * bound as u32;
            for _ in 0..draws {
                seen[noise.below(bound).unwrap() as usize] += 1;
            }
            // Six standard deviations of a count whose mean is 2000.
            assert!(seen.iter().all(|&count| count.abs_diff(2_000) < 270), "{bound}: {seen:?}");
        }
    }

    #[test]
    fn the_largest_bounds_have_a_last_number_and_no_more() {
        let mut noise = Noise::from_key([2; 32]);
        let bound = u128::MAX / 4 * 3;
        let draws: Vec<u128> = (0..1_000).map(|_| noise.below(bound).unwrap()).collect();
        assert!(draws.iter().all(|&draw| draw < bound));
        let upper = draws.iter().filter(|&&draw| draw >= bound / 2).count();
        assert!((400..600).contains(&upper), "{upper} of 1000 in the upper half");
    }

    #[test]
    fn every_scale_of_64_bits_can_be_drawn_from() {
        let mut noise = Noise::from_key([3; 32]);
        for (numerator, denominator) in
            [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, u64::MAX - 1)]
        {
            let scale = Scale::new(numerator, denominator).unwrap();
            for _ in 0..1_000 {
                let draw = noise.laplace(scale).unwrap();
                assert!(
                    draw.unsigned_abs() / 64 <= u128::from(numerator / denominator) + 1,
                    "{draw} of {scale:?}"
                );
            }
        }
    }
}
