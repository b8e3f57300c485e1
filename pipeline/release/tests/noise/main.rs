//! The sampler against the exact distribution, against OpenDP, and against samplers that are wrong (A9).
//!
//! Draws come from fixed keys, so a test gives the same answer every time; one takes them from the system.

#![allow(clippy::unwrap_used)]

mod stats;

use std::fs;
use std::path::Path;

use kerbside_release::{Noise, Scale};
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_laplace;
use opendp::measures::MaxDivergence;
use opendp::metrics::L1Distance;

use crate::stats::{balanced, chi_square_survival, fit, same};

const DRAWS: usize = 200_000;
/// A right sampler is refused once in a million tests.
const LEAST_P: f64 = 1e-6;

/// Counts of two rows a track, of one, of worst-case chunks; a histogram's; one below a unit; a presence in
/// nanoseconds, of which no two draws are the same; and in millionths of these.
const SCALES: [(u64, u64); 7] =
    [(50, 11), (1, 1), (200, 11), (4_800, 66), (1, 4), (6_000_000_000_000, 11), (3_000_000_000_000_000, 1)];

#[test]
fn a_9_the_sampler_has_the_exact_distribution() {
    for (row, (numerator, denominator)) in SCALES.into_iter().enumerate() {
        let scale = Scale::new(numerator, denominator).unwrap();
        let draws = draw(&mut Noise::from_key([row as u8; 32]), scale);
        let p = fit(&draws, scale.as_f64());
        assert!(p > LEAST_P, "{scale:?}: p = {p:e}");
    }
}

#[test]
fn a_9_the_system_s_randomness_gives_the_exact_distribution() {
    let scale = Scale::new(50, 11).unwrap();
    let p = fit(&draw(&mut Noise::from_os().unwrap(), scale), scale.as_f64());
    assert!(p > LEAST_P, "p = {p:e}");
}

#[test]
fn a_9_the_sampler_is_symmetric() {
    for (numerator, denominator) in SCALES {
        let scale = Scale::new(numerator, denominator).unwrap();
        let draws = draw(&mut Noise::from_key([20; 32]), scale);
        let above = draws.iter().filter(|&&draw| draw > 0).count() as u64;
        let below = draws.iter().filter(|&&draw| draw < 0).count() as u64;
        let p = balanced(above, below);
        assert!(p > LEAST_P, "{scale:?}: {above} above zero, {below} below: p = {p:e}");
    }
}

#[test]
fn a_9_the_test_refuses_samplers_that_are_wrong() {
    let (b, scale) = (50.0 / 11.0, Scale::new(50, 11).unwrap());
    let uniform = || {
        let mut bytes = blake3::Hasher::new_keyed(&[30; 32]).finalize_xof();
        move || {
            let mut eight = [0; 8];
            bytes.fill(&mut eight);
            (u64::from_le_bytes(eight) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON / 4.0
        }
    };

    // A continuous Laplace number, cut towards zero: zero comes up too often.
    let mut next = uniform();
    let cut: Vec<i128> = (0..DRAWS)
        .map(|_| {
            let sign = if next() < 0.5 { -1.0 } else { 1.0 };
            (sign * -next().ln() * b) as i128
        })
        .collect();
    // The same, rounded to the nearest: five per cent too few at zero.
    let mut next = uniform();
    let rounded: Vec<i128> = (0..DRAWS * 5)
        .map(|_| {
            let sign = if next() < 0.5 { -1.0 } else { 1.0 };
            (sign * -next().ln() * b).round() as i128
        })
        .collect();
    // A geometric magnitude with a sign, where zero is not refused for one of its signs.
    let mut next = uniform();
    let zero_twice: Vec<i128> = (0..DRAWS)
        .map(|_| {
            let negative = next() < 0.5;
            let magnitude = (-next().ln() * b).floor() as i128;
            if negative { -magnitude } else { magnitude }
        })
        .collect();
    // The right sampler with a scale that is four per cent too small.
    let narrow = draw(&mut Noise::from_key([31; 32]), Scale::new(48, 11).unwrap());
    // The right sampler that gives up beyond 30.
    let clamped: Vec<i128> =
        draw(&mut Noise::from_key([32; 32]), scale).into_iter().map(|draw| draw.clamp(-30, 30)).collect();

    for (what, draws) in
        [("cut", cut), ("rounded", rounded), ("zero twice", zero_twice), ("narrow", narrow), ("clamped", clamped)]
    {
        let p = fit(&draws, b);
        assert!(p < LEAST_P, "{what}: p = {p:e}, and the test would let it pass");
    }

    let mut tilted = draw(&mut Noise::from_key([33; 32]), scale);
    tilted.iter_mut().step_by(50).for_each(|draw| *draw = draw.abs());
    let above = tilted.iter().filter(|&&draw| draw > 0).count() as u64;
    let below = tilted.iter().filter(|&&draw| draw < 0).count() as u64;
    assert!(
        balanced(above, below) < LEAST_P,
        "one draw of fifty is made positive, so one of a hundred has its sign turned"
    );
}

#[test]
fn a_9_the_sampler_and_opendp_draw_from_one_distribution() {
    for (row, (numerator, denominator)) in [(50, 11), (1, 1), (200, 11), (1, 4)].into_iter().enumerate() {
        let scale = Scale::new(numerator, denominator).unwrap();
        let ours = draw(&mut Noise::from_key([40 + row as u8; 32]), scale);
        let theirs = drawn_by_opendp(scale.as_f64());
        let p = same(&ours, &theirs, scale.as_f64());
        assert!(p > LEAST_P, "{scale:?}: p = {p:e}");
        let exact = fit(&theirs, scale.as_f64());
        assert!(exact > LEAST_P, "{scale:?}: OpenDP against the formula: p = {exact:e}");
    }
    let ours = draw(&mut Noise::from_key([50; 32]), Scale::new(48, 11).unwrap());
    let p = same(&ours, &drawn_by_opendp(50.0 / 11.0), 50.0 / 11.0);
    assert!(p < LEAST_P, "a scale that is four per cent off passes: p = {p:e}");
}

#[test]
fn a_9_opendp_gives_the_same_epsilon_for_a_scale() {
    // Two rows a passage with ε 0.44, one histogram bucket with ε 0.11, one of the 96 changes of strict-worstcase with 0.66.
    for (sensitivity, epsilon, scale) in
        [(2_u32, 0.44, Scale::new(50, 11)), (1, 0.11, Scale::new(100, 11)), (96, 0.66, Scale::new(9_600, 66))]
    {
        let space = (AtomDomain::<i32>::default(), opendp::metrics::AbsoluteDistance::<u32>::default());
        let mechanism =
            make_laplace::<_, _, MaxDivergence>(space.0, space.1, scale.unwrap().as_f64(), None).unwrap();
        let found = mechanism.map(&sensitivity).unwrap();
        assert!((found - epsilon).abs() < 1e-12, "{sensitivity}: {found} and {epsilon}");
    }
}

#[test]
fn a_9_no_floating_point_is_on_the_sampler_s_path() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/noise");
    for file in ["laplace.rs", "source.rs"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains("#![deny(clippy::float_arithmetic)]"), "{file}");
        assert_eq!(float_in(&text), None, "{file}");
    }
    assert!(float_in("let x = 1.5;").is_some());
    assert!(float_in("let x = y as f64;").is_some());
    assert!(float_in("x.exp()").is_some());
}

#[test]
fn a_12_the_same_key_gives_the_same_noise_in_every_version() {
    let mut noise = Noise::from_key(*b"the same noise for the same clip");
    let mut drawn = |numerator, denominator| -> Vec<i128> {
        let scale = Scale::new(numerator, denominator).unwrap();
        (0..8).map(|_| noise.laplace(scale).unwrap()).collect()
    };
    // From a transcription in Python of the two algorithms, over the reference BLAKE3.
    assert_eq!(drawn(50, 11), [9, 1, 0, 6, 0, 4, 1, -7]);
    assert_eq!(
        drawn(6_000_000_000_000, 11),
        [
            -195217494416,
            331231796312,
            150102624210,
            -274060782619,
            713315860727,
            -629051709278,
            392129830598,
            429106804849
        ]
    );
}

#[test]
fn the_chi_square_distribution_has_its_tabled_critical_values() {
    // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
    for (freedom, statistic, p) in
        [(1.0, 3.841, 0.05), (10.0, 23.209, 0.01), (50.0, 86.661, 0.001), (100.0, 124.342, 0.05)]
    {
        let found = chi_square_survival(statistic, freedom);
        assert!((found / p - 1.0).abs() < 2e-3, "{freedom} degrees of freedom: {found}");
    }
    assert!(chi_square_survival(80.0, 100.0) > 0.9);
}

fn draw(noise: &mut Noise, scale: Scale) -> Vec<i128> {
    (0..DRAWS).map(|_| noise.laplace(scale).unwrap()).collect()
}

fn drawn_by_opendp(scale: f64) -> Vec<i128> {
    let space = (VectorDomain::new(AtomDomain::<i32>::default()), L1Distance::<u32>::default());
    let mechanism = make_laplace::<_, _, MaxDivergence>(space.0, space.1, scale, None).unwrap();
    mechanism.invoke(&vec![0; DRAWS]).unwrap().into_iter().map(i128::from).collect()
}

/// What in this source looks like floating point: a type, a literal, a function.
fn float_in(source: &str) -> Option<&str> {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).find(|line| {
        let decimal =
            line.as_bytes().windows(3).any(|at| at[0].is_ascii_digit() && at[1] == b'.' && at[2].is_ascii_digit());
        let names = ["f16", "f32", "f64", "f128", ".exp(", ".ln(", ".sqrt(", ".powi(", ".powf("];
        decimal || names.iter().any(|name| line.contains(name))
    })
}
