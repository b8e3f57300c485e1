//! The reference against the formulas in 64-bit numbers, written a second time and for whole arenas.

use proptest::prelude::*;

use super::cases::{Scene, case};
use crate::int8::kernels::pack::Layout;
use crate::int8::kernels::{Kernels, Team};
use crate::int8::steps::{Activation, Finish, Output, Place, Step, Window};

/// What a byte or float of the arena should be after a run.
enum Expected {
    Byte(u8),
    /// Nearest to this, and as far from it as rounding may move it.
    Near(f64),
}

struct Oracle<'a> {
    before: &'a [u8],
    bytes: Vec<Expected>,
    floats: Vec<(usize, f64)>,
}

impl<'a> Oracle<'a> {
    fn new(before: &'a [u8]) -> Self {
        Self { before, bytes: before.iter().map(|byte| Expected::Byte(*byte)).collect(), floats: Vec::new() }
    }

    fn at(place: &Place, y: i64, x: i64, channel: usize) -> usize {
        let at = place.offset as i64 + y * place.row as i64 + x * place.pixel as i64;
        at as usize + channel
    }

    fn byte(&self, place: &Place, y: i64, x: i64, channel: usize) -> u8 {
        self.before[Self::at(place, y, x, channel)]
    }

    /// Every pixel of a place and around it: those around are `zero`, the others what `value` says.
    fn fill(&mut self, place: &Place, zero: u8, value: impl Fn(&Self, i64, i64, usize) -> Expected) {
        let (height, width, halo) = (place.height as i64, place.width as i64, place.halo as i64);
        for y in -halo..height + halo {
            for x in -halo..width + halo {
                for channel in 0..place.channels {
                    let inside = y >= 0 && y < height && x >= 0 && x < width;
                    let expected = if inside { value(self, y, x, channel) } else { Expected::Byte(zero) };
                    self.bytes[Self::at(place, y, x, channel)] = expected;
                }
            }
        }
    }

    fn finish(&mut self, finish: &Finish, sum: impl Fn(&Self, i64, i64, usize) -> i64) {
        let value = |oracle: &Self, y, x, channel: usize| {
            let sum = i64::from(finish.bias[channel]) + sum(oracle, y, x, channel);
            activated(finish.activation, sum as f64 * f64::from(finish.scale[channel]))
        };
        match finish.output {
            Output::Bytes { place, rescale, zero } => self.fill(&place, zero, |oracle, y, x, channel| {
                quantised(value(oracle, y, x, channel) * f64::from(rescale), zero)
            }),
            Output::Floats { offset, height, width, channels } => {
                for index in 0..height * width * channels {
                    let (pixel, channel) = (index / channels, index % channels);
                    let value = value(self, (pixel / width) as i64, (pixel % width) as i64, channel);
                    self.floats.push((offset + index * 4, value));
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Surround(step) => {
                self.fill(&step.tensor, step.zero, |oracle, y, x, channel| {
                    Expected::Byte(oracle.byte(&step.tensor, y, x, channel))
                });
            }
            Step::Convolution(step) => {
                let Layout::Plain(weights) = step.weights.layout() else { panic!("not the reference's weights") };
                self.finish(&step.finish, |oracle, y, x, out| {
                    let channels = step.input.channels;
                    under(&step.window, y, x)
                        .map(|(place, y, x)| {
                            let products = (0..channels).map(|channel| {
                                let of_channel =
                                    (out * channels + channel) * step.window.size[0] * step.window.size[1];
                                i64::from(oracle.byte(&step.input, y, x, channel))
                                    * i64::from(weights[of_channel + place])
                            });
                            products.sum::<i64>()
                        })
                        .sum()
                });
            }
            Step::Depthwise(step) => self.finish(&step.finish, |oracle, y, x, channel| {
                under(&step.window, y, x)
                    .map(|(place, y, x)| {
                        let weight = step.weights[place * step.input.channels + channel];
                        i64::from(oracle.byte(&step.input, y, x, channel)) * i64::from(weight)
                    })
                    .sum()
            }),
            Step::MaxPool(step) => self.fill(&step.output, step.zero, |oracle, y, x, channel| {
                let on = |at: i64, length: usize| at >= 0 && at < length as i64;
                let bytes = under(&step.window, y, x)
                    .filter(|(_, y, x)| on(*y, step.input.height) && on(*x, step.input.width))
                    .map(|(_, y, x)| oracle.byte(&step.input, y, x, channel));
                Expected::Byte(bytes.max().unwrap())
            }),
            Step::Sum(step) => self.fill(&step.output, step.zero, |oracle, y, x, channel| {
                let mut total = 0.0;
                for operand in &step.operands {
                    let byte =
                        |y: usize, x: usize| f64::from(oracle.byte(&operand.input, y as i64, x as i64, channel));
                    let (y, x) = (y as usize, x as usize);
                    let sample = match &operand.resampling {
                        None => byte(y, x),
                        Some(taps) => {
                            let mut sample = 0.0;
                            for row in 0..2 {
                                for column in 0..2 {
                                    let (rows, columns) = (taps.rows[y], taps.columns[x]);
                                    sample += byte(rows.at[row], columns.at[column])
                                        * f64::from(rows.weights[row])
                                        * f64::from(columns.weights[column]);
                                }
                            }
                            sample
                        }
                    };
                    total += (sample - f64::from(operand.zero)) * f64::from(operand.ratio);
                }
                quantised(activated(step.activation, total), step.zero)
            }),
            Step::Table(step) => self.fill(&step.output, step.zero, |oracle, y, x, channel| {
                Expected::Byte(step.table[usize::from(oracle.byte(&step.input, y, x, channel))])
            }),
            Step::Dequantise(step) => {
                let Place { height, width, channels, .. } = step.input;
                for index in 0..height * width * channels {
                    let (pixel, channel) = (index / channels, index % channels);
                    let byte = self.byte(&step.input, (pixel / width) as i64, (pixel % width) as i64, channel);
                    self.floats.push((step.offset + index * 4, f64::from(step.table[usize::from(byte)])));
                }
            }
        }
    }

    fn verify(mut self, after: &[u8]) -> Result<(), TestCaseError> {
        for (at, expected) in std::mem::take(&mut self.floats) {
            let float = f32::from_ne_bytes(after[at..at + 4].try_into().unwrap());
            let error = (f64::from(float) - expected).abs();
            prop_assert!(error <= 3e-6 * expected.abs().max(1.0), "float at {at} is {float}, not {expected}");
            for (expected, byte) in self.bytes[at..at + 4].iter_mut().zip(float.to_ne_bytes()) {
                *expected = Expected::Byte(byte);
            }
        }
        for (at, (expected, found)) in self.bytes.iter().zip(after).enumerate() {
            match expected {
                Expected::Byte(byte) => prop_assert_eq!(byte, found, "byte {}", at),
                Expected::Near(value) => {
                    let error = (f64::from(*found) - value).abs();
                    prop_assert!(error <= 0.5 + 1e-3, "byte {at} is {found}, not {value}");
                }
            }
        }
        Ok(())
    }
}

/// Every place of an output pixel's window: its number and the pixel under it.
fn under(window: &Window, y: i64, x: i64) -> impl Iterator<Item = (usize, i64, i64)> {
    let Window { size, stride, dilation, padding } = *window;
    let along = move |axis: usize, at: i64, place: usize| {
        at * stride[axis] as i64 + (place * dilation[axis]) as i64 - padding[axis] as i64
    };
    (0..size[0] * size[1]).map(move |place| (place, along(0, y, place / size[1]), along(1, x, place % size[1])))
}

fn quantised(value: f64, zero: u8) -> Expected {
    Expected::Near((value + f64::from(zero)).clamp(0.0, 255.0))
}

fn activated(activation: Activation, value: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-value).exp());
    match activation {
        Activation::None => value,
        Activation::LeakyRelu { slope } => value.max(value * f64::from(slope)),
        Activation::Clamp { low, high } => value.clamp(low.into(), high.into()),
        Activation::HardSwish => value * (value + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Sigmoid => sigmoid,
        Activation::Silu => value * sigmoid,
    }
}

fn verify(scene: &Scene, team: &mut Team) -> Result<(), TestCaseError> {
    let mut oracle = Oracle::new(&scene.bytes);
    oracle.step(&scene.step);
    oracle.verify(&scene.run(Kernels::REFERENCE, team))
}

#[test]
fn the_reference_computes_the_formulas() {
    let team = std::cell::RefCell::new(Team::new(1).unwrap());
    proptest!(|(case in case())| {
        for scene in case.scenes(Kernels::REFERENCE) {
            verify(&scene, &mut team.borrow_mut())?;
        }
    });
}
