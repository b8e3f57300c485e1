//! The few pieces of statistics that the attacks are judged by.
//!
//! Incomplete gamma and beta functions after Press, Teukolsky, Vetterling and Flannery, "Numerical Recipes" (2007),
//! 6.2 and 6.4; the interval of a share after Clopper and Pearson, "The use of confidence or fiducial limits
//! illustrated in the case of the binomial" (Biometrika 1934).

/// The most steps of a series or continued fraction; each converges long before.
const STEPS: usize = 10_000;
/// Where a series ends.
const PRECISION: f64 = 1e-15;
/// Stands for zero where something is divided by it.
const TINY: f64 = 1e-300;

/// The logarithm of the gamma function, for x > 0 (Lanczos' approximation, 15 digits).
pub fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // The reflection formula.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = COEFFICIENTS.iter().enumerate().skip(1).map(|(i, c)| c / (x + i as f64)).sum::<f64>();
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + (COEFFICIENTS[0] + sum).ln()
}

/// The regularised incomplete beta function I_x(a, b).
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

/// Lentz's evaluation of the continued fraction of I_x(a, b).
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let guarded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..STEPS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guarded(1.0 + even * d);
        c = guarded(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guarded(1.0 + odd * d);
        c = guarded(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < PRECISION {
            break;
        }
    }
    fraction
}

/// Where I_x(a, b) reaches `probability`, by bisection.
fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if beta_cdf(middle, a, b) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// A share that is below the true one with a probability of at least 1 − `alpha`: `hits` of `tries` were seen.
pub fn share_at_least(hits: u64, tries: u64, alpha: f64) -> f64 {
    if hits == 0 { 0.0 } else { beta_quantile(alpha, hits as f64, (tries - hits) as f64 + 1.0) }
}

/// A share that is above the true one with a probability of at least 1 − `alpha`: `hits` of `tries` were seen.
pub fn share_at_most(hits: u64, tries: u64, alpha: f64) -> f64 {
    if hits >= tries { 1.0 } else { beta_quantile(1.0 - alpha, hits as f64 + 1.0, (tries - hits) as f64) }
}

/// The probability of a chi-square of at least `x` with so many degrees of freedom.
pub fn chi_square_tail(x: f64, degrees: f64) -> f64 {
    gamma_tail(degrees / 2.0, x / 2.0)
}

/// The upper regularised incomplete gamma function Q(a, x).
fn gamma_tail(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..STEPS {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * PRECISION {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..STEPS {
        let an = -(i as f64) * (i as f64 - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < PRECISION {
            break;
        }
    }
    front * fraction
}

/// The probability that the discrete Laplace distribution with scale `b` gives `x`: (1 − q) / (1 + q) · q^|x| with
/// q = exp(−1 / b) (Inusah and Kozubowski, "A discrete analogue of the Laplace distribution", 2006).
pub fn discrete_laplace(x: i64, b: f64) -> f64 {
    let q = (-1.0 / b).exp();
    (1.0 - q) / (1.0 + q) * (-(x.unsigned_abs() as f64) / b).exp()
}

/// The standard deviation of the discrete Laplace distribution with scale `b`.
pub fn discrete_laplace_deviation(b: f64) -> f64 {
    let q = (-1.0 / b).exp();
    (2.0 * q).sqrt() / (1.0 - q)
}

/// A number of arrivals where `mean` are expected: by Knuth's product for few, as a rounded normal for many.
pub fn poisson(random: &mut fastrand::Rng, mean: f64) -> u64 {
    if mean > 500.0 {
        let (u, v) = (1.0 - random.f64(), random.f64());
        let normal = (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos();
        return (mean + normal * mean.sqrt()).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), random.f64(), 0);
    while product > limit {
        product *= random.f64();
        count += 1;
    }
    count
}

/// Mean and root of the mean square.
pub fn mean_and_rms(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    (values.iter().sum::<f64>() / n, (values.iter().map(|v| v * v).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{found} is not {expected}");
    }

    #[test]
    fn functions_have_their_known_values() {
        close(ln_gamma(5.0), 24f64.ln());
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        // Closed forms: I_x(1, b) = 1 − (1 − x)^b; Q(1, x) = exp(−x).
        close(beta_cdf(0.3, 1.0, 4.0), 1.0 - 0.7f64.powi(4));
        close(beta_cdf(0.5, 20.0, 20.0), 0.5);
        close(chi_square_tail(7.0, 2.0), (-3.5f64).exp());
        // From the tables of the distribution: the upper 5 % of 10 degrees begin at 18.307.
        assert!((chi_square_tail(18.307_038, 10.0) - 0.05).abs() < 1e-6);
    }

    #[test]
    fn shares_lie_where_clopper_and_pearson_put_them() {
        // 8 of 40 at two-sided 95 %: 0.0905 to 0.3565 (their tables).
        assert!((share_at_least(8, 40, 0.025) - 0.0905).abs() < 1e-4);
        assert!((share_at_most(8, 40, 0.025) - 0.3565).abs() < 1e-4);
        close(share_at_most(0, 10, 0.05), 1.0 - 0.05f64.powf(0.1));
        close(share_at_least(10, 10, 0.05), 0.05f64.powf(0.1));
        assert_eq!((share_at_least(0, 10, 0.05), share_at_most(10, 10, 0.05)), (0.0, 1.0));
    }

    #[test]
    fn the_discrete_laplace_distribution_sums_to_one() {
        let b = 50.0 / 11.0;
        close((-500..=500).map(|x| discrete_laplace(x, b)).sum(), 1.0);
        let variance: f64 = (-500..=500).map(|x| (x * x) as f64 * discrete_laplace(x, b)).sum();
        close(discrete_laplace_deviation(b), variance.sqrt());
    }

    #[test]
    fn arrivals_have_their_mean_and_spread() {
        let mut random = fastrand::Rng::with_seed(5);
        for mean in [0.0, 0.3, 40.0, 4_000.0] {
            let counts: Vec<f64> = (0..4000).map(|_| poisson(&mut random, mean) as f64 - mean).collect();
            let (bias, spread) = mean_and_rms(&counts);
            assert!(bias.abs() <= 5.0 * (mean / 4000.0).sqrt(), "{mean}: {bias}");
            assert!((spread - mean.sqrt()).abs() <= 0.1 * mean.sqrt(), "{mean}: {spread}");
        }
    }
}
