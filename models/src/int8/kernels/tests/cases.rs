//! Steps of any shape with any numbers, made of a few parameters and a seed.

use std::sync::Arc;

use proptest::prelude::*;

use crate::int8::kernels::{Arena, Kernels, Program, Team};
use crate::int8::steps::{
    Activation, Convolution, Depthwise, Dequantise, Finish, MaxPool, Operand, Output, Place, Resampling, Step,
    Sum, Surround, Table, Taps, Window,
};

/// Numbers without a pattern (SplitMix64).
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A byte, the ends of the range more often than others.
    pub(super) fn byte(&mut self) -> u8 {
        match self.below(8) {
            0 => 0,
            1 => 255,
            _ => self.next() as u8,
        }
    }

    fn weight(&mut self) -> i8 {
        match self.below(8) {
            0 => -128,
            1 => 127,
            _ => self.next() as i8,
        }
    }

    pub(super) fn float(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.below(1 << 20) as f32 / (1 << 20) as f32)
    }

    fn activation(&mut self) -> Activation {
        match self.below(8) {
            0 | 1 => Activation::None,
            2 => Activation::LeakyRelu { slope: 0.0 },
            3 => Activation::LeakyRelu { slope: self.float(0.0, 1.0) },
            4 => Activation::Clamp { low: self.float(-9.0, 0.0), high: self.float(0.0, 9.0) },
            5 => Activation::HardSwish,
            6 => Activation::Sigmoid,
            _ => Activation::Silu,
        }
    }
}

/// Where tensors are put one after the other, with gaps of odd sizes.
#[derive(Default)]
struct Shelf {
    used: usize,
}

impl Shelf {
    /// A place with `slack` times four bytes more a pixel than its channels need, and some more a row.
    fn place(&mut self, [height, width, channels]: [usize; 3], halo: usize, slack: usize) -> Place {
        let pixel = (channels + slack * 4).next_multiple_of(4);
        let row = (width + 2 * halo) * pixel + slack * 4 * pixel;
        let start = self.used + 20;
        self.used = start + (height + 2 * halo) * row;
        Place { offset: start + halo * row + halo * pixel, row, pixel, height, width, channels, halo }
    }

    fn floats(&mut self, count: usize) -> usize {
        let start = (self.used + 20).next_multiple_of(4);
        self.used = start + count * 4;
        start
    }

    /// Bytes behind the last place, for the channels that are read to fill up a quad.
    fn length(&self) -> usize {
        self.used + 8
    }
}

/// What a case is made of.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) size: [usize; 2],
    pub(super) channels: [usize; 2],
    pub(super) window: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) halo: usize,
    pub(super) slack: usize,
    pub(super) ceiling: bool,
    pub(super) floats: bool,
    pub(super) interleaved: bool,
    pub(super) seed: u64,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    (
        (pair(1..21), pair(1..71), pair(1..6), pair(1..4), pair(1..3), pair(0..9)),
        (0..3_usize, 0..3_usize, any::<bool>(), any::<bool>(), any::<bool>(), any::<u64>()),
    )
        .prop_map(|((size, channels, window, stride, dilation, padding), rest)| {
            let (halo, slack, ceiling, floats, interleaved, seed) = rest;
            let wide = |axis: usize| (window[axis] - 1) * dilation[axis] + 1;
            let padding = [padding[0] % wide(0), padding[1] % wide(1)];
            Case {
                size,
                channels,
                window,
                stride,
                dilation,
                padding,
                halo,
                slack,
                ceiling,
                floats,
                interleaved,
                seed,
            }
        })
}

/// Steps over one arena, and what the arena holds at first.
pub(super) struct Scene {
    pub(super) step: Step,
    pub(super) bytes: Vec<u8>,
}

impl Scene {
    fn new(step: Step, shelf: &Shelf, random: &mut Random) -> Self {
        Self { step, bytes: (0..shelf.length()).map(|_| random.byte()).collect() }
    }

    /// What the arena holds after a run.
    pub(super) fn run(&self, kernels: Kernels, team: &mut Team) -> Vec<u8> {
        let program = Program::new(kernels, vec![self.step.clone()], self.bytes.len()).unwrap();
        let mut arena = Arena::new(self.bytes.len());
        arena.bytes_mut().copy_from_slice(&self.bytes);
        program.run(&mut arena, team, &mut |_| ());
        arena.bytes().to_vec()
    }
}

impl Case {
    fn wide(&self, axis: usize) -> usize {
        (self.window[axis] - 1) * self.dilation[axis] + 1
    }

    /// An output's size: of all that fit, the smallest or the largest.
    fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let room = self.size[axis] + self.padding[axis];
            let (wide, stride) = (self.wide(axis), self.stride[axis]);
            if self.ceiling {
                (room - 1) / stride + 1
            } else {
                // At least one, which then reaches beyond the input.
                room.saturating_sub(wide) / stride + 1
            }
        })
    }

    fn window(&self) -> Window {
        Window { size: self.window, stride: self.stride, dilation: self.dilation, padding: self.padding }
    }

    /// As far as any window reaches beyond the input, and `halo` more.
    fn reach(&self, output: [usize; 2]) -> usize {
        let axis = |axis: usize| {
            let last = (output[axis] - 1) * self.stride[axis] + self.wide(axis);
            self.padding[axis].max(last.saturating_sub(self.padding[axis] + self.size[axis]))
        };
        axis(0).max(axis(1)) + self.halo
    }

    /// Places of an input and an output, apart or interleaved, and the output.
    fn places(
        &self,
        shelf: &mut Shelf,
        random: &mut Random,
        channels: [usize; 2],
        filled: usize,
    ) -> (Place, Output) {
        let [height, width] = self.size;
        let [out_height, out_width] = self.output();
        let halo = self.reach([out_height, out_width]);
        let zero = random.byte();
        let rescale = if random.below(2) == 0 { 1.0 } else { random.float(0.1, 30.0) };
        if self.floats {
            let input = shelf.place([height, width, channels[0]], halo, self.slack);
            let offset = shelf.floats(out_height * out_width * channels[1]);
            let output = Output::Floats { offset, height: out_height, width: out_width, channels: channels[1] };
            return (input, output);
        }
        if self.interleaved {
            let joined = [height.max(out_height), width.max(out_width), filled + channels[1]];
            let buffer = shelf.place(joined, halo, self.slack);
            let first = random.below(2) == 0;
            let (at_input, at_output) = if first { (0, filled) } else { (channels[1], 0) };
            let input = Place { offset: buffer.offset + at_input, height, width, channels: channels[0], ..buffer };
            let place = Place {
                offset: buffer.offset + at_output,
                height: out_height,
                width: out_width,
                channels: channels[1],
                halo: random.below(halo + 1),
                ..buffer
            };
            return (input, Output::Bytes { place, rescale, zero });
        }
        let input = shelf.place([height, width, channels[0]], halo, self.slack);
        let place = shelf.place([out_height, out_width, channels[1]], self.halo, self.slack % 2);
        (input, Output::Bytes { place, rescale, zero })
    }

    fn finish(random: &mut Random, output: Output, products: usize, channels: usize) -> Finish {
        // So that values come out on both sides of the clamps.
        let spread = (products as f32).sqrt() * 128.0 * 74.0;
        Finish {
            bias: (0..channels).map(|_| random.next() as i32 >> 12).collect(),
            scale: (0..channels).map(|_| random.float(-0.2, 1.0) * 200.0 / spread).collect(),
            activation: random.activation(),
            output,
        }
    }

    pub(super) fn convolution(&self, kernels: Kernels) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let [inputs, outputs] = self.channels;
        let (input, output) = self.places(&mut shelf, &mut random, self.channels, inputs.next_multiple_of(4));
        let products = self.window[0] * self.window[1] * inputs;
        let weights: Vec<i8> = (0..products * outputs).map(|_| random.weight()).collect();
        let step = Step::Convolution(Convolution {
            input,
            window: self.window(),
            weights: Arc::new(kernels.pack(&weights, outputs, inputs, self.window)),
            finish: Self::finish(&mut random, output, products, outputs),
        });
        Scene::new(step, &shelf, &mut random)
    }

    pub(super) fn depthwise(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let channels = self.channels[0];
        let (input, output) = self.places(&mut shelf, &mut random, [channels; 2], channels);
        let products = self.window[0] * self.window[1];
        let step = Step::Depthwise(Depthwise {
            input,
            window: self.window(),
            weights: (0..products * channels).map(|_| random.weight()).collect(),
            finish: Self::finish(&mut random, output, products, channels),
        });
        Scene::new(step, &shelf, &mut random)
    }

    pub(super) fn max_pool(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        // Undilated, every window has a pixel on the input.
        let plain = Self {
            dilation: [1; 2],
            padding: [0, 1].map(|axis| self.padding[axis] % self.window[axis]),
            floats: false,
            ..self.clone()
        };
        let channels = plain.channels[0];
        let (input, output) = plain.places(&mut shelf, &mut random, [channels; 2], channels);
        let Output::Bytes { place: output, zero, .. } = output else { unreachable!("no floats were asked for") };
        Scene::new(Step::MaxPool(MaxPool { input, window: plain.window(), output, zero }), &shelf, &mut random)
    }

    pub(super) fn sum(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let ([height, width], channels) = (self.size, self.channels[0]);
        let output = shelf.place([height, width, channels], self.halo, self.slack);
        let operands = (0..1 + random.below(2))
            .map(|_| {
                let resampled = random.below(3) > 0;
                let size = if resampled { [1 + random.below(9), 1 + random.below(9)] } else { self.size };
                let slack = random.below(2);
                let nearest = random.below(2) == 0;
                let mut axis = |output: usize, input: usize| {
                    let mut tap = || {
                        let left = if nearest { 1.0 } else { random.float(0.0, 1.0) };
                        Taps { at: [random.below(input), random.below(input)], weights: [left, 1.0 - left] }
                    };
                    (0..output).map(|_| tap()).collect()
                };
                let taps = Resampling { rows: axis(height, size[0]), columns: axis(width, size[1]) };
                Operand {
                    input: shelf.place([size[0], size[1], channels], self.halo, slack),
                    ratio: random.float(0.01, 2.0),
                    zero: f32::from(random.byte()),
                    resampling: resampled.then(|| Arc::new(taps)),
                }
            })
            .collect();
        let activation = random.activation();
        let step = Step::Sum(Sum { operands, activation, output, zero: random.byte() });
        Scene::new(step, &shelf, &mut random)
    }

    pub(super) fn table(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let size = [self.size[0], self.size[1], self.channels[0]];
        let input = shelf.place(size, self.halo, self.slack);
        let output = if self.interleaved { input } else { shelf.place(size, self.halo, self.slack % 2) };
        let table = Arc::new(std::array::from_fn(|_| random.byte()));
        Scene::new(Step::Table(Table { input, table, output, zero: random.byte() }), &shelf, &mut random)
    }

    pub(super) fn dequantise(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let size = [self.size[0], self.size[1], self.channels[0]];
        let input = shelf.place(size, self.halo, self.slack);
        let offset = shelf.floats(size.iter().product());
        let table = Arc::new(std::array::from_fn(|_| random.float(-3.0, 3.0)));
        Scene::new(Step::Dequantise(Dequantise { input, table, offset }), &shelf, &mut random)
    }

    pub(super) fn surround(&self) -> Scene {
        let (mut shelf, mut random) = (Shelf::default(), Random(self.seed));
        let tensor = shelf.place([self.size[0], self.size[1], self.channels[0]], self.halo, self.slack);
        Scene::new(Step::Surround(Surround { tensor, zero: random.byte() }), &shelf, &mut random)
    }

    /// One scene of every kind, in the form for these kernels.
    pub(super) fn scenes(&self, kernels: Kernels) -> [Scene; 7] {
        [
            self.convolution(kernels),
            self.depthwise(),
            self.max_pool(),
            self.sum(),
            self.table(),
            self.dequantise(),
            self.surround(),
        ]
    }
}
