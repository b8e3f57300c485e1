//! Pearson's chi-square tests, for whole numbers that are spread like the discrete Laplace distribution.

use std::collections::BTreeMap;

/// Cells that expect fewer draws are joined to one, as the test's approximation needs.
const LEAST_EXPECTED: f64 = 10.0;
/// Cells on each side; what lies beyond is joined.
const CELLS: i128 = 400;

/// How often each cell was hit. Cells are `width` wide, zero is the first of the upper side, and the lower side
/// mirrors it without zero.
pub(crate) fn cells(draws: &[i128], width: i128) -> BTreeMap<i128, u64> {
    let mut counts = BTreeMap::new();
    for &draw in draws {
        *counts.entry(draw.div_euclid(width).clamp(-CELLS, CELLS)).or_default() += 1;
    }
    counts
}

/// The probability that draws from P(x) ∝ exp(−|x| / b) fit that distribution as badly as these do, or worse.
pub(crate) fn fit(draws: &[i128], b: f64) -> f64 {
    let width = ((b / 8.0) as i128).max(1);
    let counts = cells(draws, width);
    let total = draws.len() as f64;
    let (mut statistic, mut cells, mut rest) = (0.0, 0_u32, (0.0, 0.0));
    for cell in -CELLS..=CELLS {
        let (found, expected) =
            (counts.get(&cell).copied().unwrap_or(0) as f64, total * probability(cell, width as f64, b));
        if expected < LEAST_EXPECTED || cell.abs() == CELLS {
            rest = (rest.0 + found, rest.1 + expected);
        } else {
            statistic += (found - expected).powi(2) / expected;
            cells += 1;
        }
    }
    if rest.1 >= LEAST_EXPECTED {
        statistic += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1;
    } else if rest.0 > 20.0 * LEAST_EXPECTED {
        // Far more in the tails than the few that belong there.
        return 0.0;
    }
    chi_square_survival(statistic, f64::from(cells - 1))
}

/// The probability that two samples of one distribution differ as much as these do, or more.
pub(crate) fn same(left: &[i128], right: &[i128], b: f64) -> f64 {
    let width = ((b / 8.0) as i128).max(1);
    let (left_counts, right_counts) = (cells(left, width), cells(right, width));
    let left_part = left.len() as f64 / (left.len() + right.len()) as f64;
    let (mut statistic, mut cells, mut rest) = (0.0, 0_u32, (0.0, 0.0));
    let mut add = |l: f64, r: f64| {
        let (l_expected, r_expected) = ((l + r) * left_part, (l + r) * (1.0 - left_part));
        statistic += (l - l_expected).powi(2) / l_expected + (r - r_expected).powi(2) / r_expected;
        cells += 1;
    };
    for cell in -CELLS..=CELLS {
        let count = |counts: &BTreeMap<i128, u64>| counts.get(&cell).copied().unwrap_or(0) as f64;
        let (l, r) = (count(&left_counts), count(&right_counts));
        if l + r < 2.0 * LEAST_EXPECTED {
            rest = (rest.0 + l, rest.1 + r);
        } else {
            add(l, r);
        }
    }
    if rest.0 + rest.1 >= 2.0 * LEAST_EXPECTED {
        add(rest.0, rest.1);
    }
    chi_square_survival(statistic, f64::from(cells - 1))
}

/// The probability that two counts of equally likely events differ as much as these do, or more.
pub(crate) fn balanced(left: u64, right: u64) -> f64 {
    chi_square_survival((left as f64 - right as f64).powi(2) / (left + right) as f64, 1.0)
}

/// P(cell · width ≤ X < (cell + 1) · width): with q = exp(−1/b), P(a ≤ |X|, one sign) = q^a / (1 + q).
fn probability(cell: i128, width: f64, b: f64) -> f64 {
    let first = if cell >= 0 { cell as f64 * width } else { (-cell - 1) as f64 * width + 1.0 };
    (-first / b).exp() * -(-width / b).exp_m1() / (1.0 + (-1.0 / b).exp())
}

/// The upper tail of the chi-square distribution: the regularised incomplete gamma function Q(k/2, x/2), by series
/// below its mean and by continued fraction above (Press et al., Numerical Recipes, 6.2).
pub(crate) fn chi_square_survival(statistic: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, statistic / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-15 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut product = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        product *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * product
}

/// ln Γ of a whole or half number above zero, by its recurrence.
fn ln_gamma(a: f64) -> f64 {
    let mut below = if a.fract() == 0.0 { 1.0 } else { 0.5 };
    let mut sum = if a.fract() == 0.0 { 0.0 } else { std::f64::consts::PI.sqrt().ln() };
    while below < a {
        sum += f64::ln(below);
        below += 1.0;
    }
    sum
}
