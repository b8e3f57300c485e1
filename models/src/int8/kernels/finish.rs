//! From values to what is stored: activations, rounding and clamping, as bodies that the compiler vectorises.
//!
//! Every function is `inline(always)`, so that it is compiled for the processor of whoever calls it. Maxima and
//! minima are written as comparisons: they have one meaning for zeros of both signs, which is also that of the x86
//! instructions, where `f32::max` may return either.

use super::exp::exp;
use crate::int8::steps::Activation;

/// Adding this to a float of a magnitude below 2^22 leaves its nearest whole number, ties to even, in the low bits.
const WHOLE: f32 = 12_582_912.0;

/// `a` if it is greater, else `b`.
#[inline(always)]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `a` if it is less, else `b`.
#[inline(always)]
pub(super) fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// One value after its activation.
#[inline(always)]
fn activated(activation: Activation, value: f32) -> f32 {
    match activation {
        Activation::None => value,
        Activation::LeakyRelu { slope } => greater(value, value * slope),
        Activation::Clamp { low, high } => lesser(greater(value, low), high),
        Activation::HardSwish => value * (lesser(greater(value + 3.0, 0.0), 6.0) * (1.0 / 6.0)),
        Activation::Sigmoid => sigmoid(value),
        Activation::Silu => value * sigmoid(value),
    }
}

#[inline(always)]
fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + exp(-value))
}

/// How the values of a step become what is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finisher {
    activation: Activation,
    rescale: f32,
    low: f32,
    high: f32,
    zero: u8,
}

impl Finisher {
    pub(super) fn new(activation: Activation, rescale: f32, zero: u8) -> Self {
        let low = 0.0 - f32::from(zero);
        Self { activation, rescale, low, high: 255.0 - f32::from(zero), zero }
    }

    #[inline(always)]
    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    /// Applies the activation to each value.
    #[inline(always)]
    pub(super) fn activate<const L: usize>(&self, values: &mut [f32; L]) {
        // A match outside of the loop: each kind's loop is vectorised by itself.
        match self.activation {
            Activation::None => {}
            Activation::LeakyRelu { slope } => each(values, |v| activated(Activation::LeakyRelu { slope }, v)),
            Activation::Clamp { low, high } => each(values, |v| activated(Activation::Clamp { low, high }, v)),
            Activation::HardSwish => each(values, |v| activated(Activation::HardSwish, v)),
            Activation::Sigmoid => each(values, |v| activated(Activation::Sigmoid, v)),
            Activation::Silu => each(values, |v| activated(Activation::Silu, v)),
        }
    }

    /// The bytes of values, after activation.
    #[inline(always)]
    pub(super) fn bytes<const L: usize>(&self, mut values: [f32; L]) -> [u8; L] {
        self.activate(&mut values);
        let mut bytes = [0; L];
        for (byte, value) in bytes.iter_mut().zip(values) {
            *byte = rounded(value, self.rescale, self.low, self.high, self.zero);
        }
        bytes
    }
}

/// The byte of a value.
#[inline(always)]
fn rounded(value: f32, rescale: f32, low: f32, high: f32, zero: u8) -> u8 {
    let inside = lesser(greater(value * rescale, low), high);
    // The low byte of the sum's bits is the whole number's.
    ((inside + WHOLE).to_bits() as u8).wrapping_add(zero)
}

#[inline(always)]
fn each<const L: usize>(values: &mut [f32; L], change: impl Fn(f32) -> f32) {
    for value in values {
        *value = change(*value);
    }
}
