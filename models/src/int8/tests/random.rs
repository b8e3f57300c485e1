//! Random chains of layers: joined, forked and read again, so that tensors lie inside of others and memory is used
//! more than once.

use kerbside_core::frame::PictureSize;

use crate::engine::EngineChoice;
use crate::int8::tests::onnx::{Attribute, Data, Onnx, Weights};
use crate::int8::tests::{Runs, apart, bits, engines, network, path, run};

const GRAPHS: u32 = 60;
/// One rounding that falls to the other side moves all that is made of the byte, by about its step. Wrong bytes are
/// further away.
const NEAR: f32 = 0.05;
/// No tensor is larger, so that reference kernels take no time.
const MOST_PIXELS: usize = 400;

/// A generator that is the same everywhere.
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A dequantised tensor, and how far its values may be from another engine's.
#[derive(Clone)]
struct Made {
    name: String,
    channels: usize,
    height: usize,
    width: usize,
    scale: f32,
    zero: u8,
    off: f32,
}

struct Graph {
    random: Random,
    onnx: Onnx,
    made: Vec<Made>,
}

impl Graph {
    /// A graph, its outputs and how far their values may be off.
    fn draw(seed: u32, size: PictureSize) -> (Vec<u8>, Vec<(String, f32)>) {
        let mut onnx = Onnx::default();
        let name = onnx.rounded("image", 1.0 / 64.0, 128);
        let (height, width) = (size.height as usize, size.width as usize);
        let image = Made { name, channels: 3, height, width, scale: 1.0 / 64.0, zero: 128, off: 0.0 };
        let mut graph = Self { random: Random(seed), onnx, made: vec![image.clone()] };
        graph.convolution(&image);
        for _ in 0..4 + graph.random.below(8) {
            graph.layer();
        }
        let read = 1 + graph.random.below(3);
        let mut outputs: Vec<(String, f32)> =
            graph.made[1..].iter().rev().take(read).map(|made| (made.name.clone(), made.off)).collect();
        if graph.random.below(2) == 0 {
            let last = graph.made.last().unwrap().clone();
            let (head, off) = graph.multiplied(&last, 1 + seed as usize % 19, [1, 1], 1, 1);
            outputs = vec![(head, off)];
        }
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        (graph.onnx.file(size, &names), outputs)
    }

    /// The result of a layer, rounded. Three scales in all, so that concats often find equal ones.
    fn add(&mut self, value: &str, shape: [usize; 3], off: f32) {
        let (scale, zero) = self.random.of(&[(0.0313, 128), (0.0313, 128), (0.0271, 101), (0.0359, 140)]);
        self.add_as(value, shape, off, scale, zero);
    }

    fn add_as(&mut self, value: &str, [channels, height, width]: [usize; 3], off: f32, scale: f32, zero: u8) {
        let name = self.onnx.rounded(value, scale, zero);
        let off = off + scale * 1.0001;
        self.made.push(Made { name, channels, height, width, scale, zero, off });
    }

    /// Half of the time one of the last two tensors, else any.
    fn pick(&mut self) -> Made {
        let from = if self.random.below(2) == 0 { self.made.len().saturating_sub(2) } else { 0 };
        let at = from + self.random.below(self.made.len() - from);
        self.made[at].clone()
    }

    fn layer(&mut self) {
        let made = self.pick();
        let shape = [made.channels, made.height, made.width];
        match self.random.below(8) {
            0 => self.depthwise(&made),
            1 if made.height >= 3 && made.width >= 3 => self.max_pool(&made),
            2 if 4 * made.height * made.width <= MOST_PIXELS => self.resize(&made),
            3 => {
                let other = self.random.below(self.made.len());
                let other = self.made[other].clone();
                if [other.channels, other.height, other.width] == shape {
                    let sum = self.onnx.node("Add", &[&made.name, &other.name], &[]);
                    self.add(&sum, shape, made.off + other.off);
                } else {
                    self.convolution(&made);
                }
            }
            4 | 5 => self.concat(&made),
            6 => {
                let value = self.onnx.node("LeakyRelu", &[&made.name], &[("alpha", Attribute::Float(0.3))]);
                self.add(&value, shape, made.off);
            }
            _ => self.convolution(&made),
        }
    }

    fn convolution(&mut self, made: &Made) {
        let (size, stride) = (self.random.of(&[[1, 1], [3, 3], [3, 5]]), self.random.of(&[1, 1, 1, 2]));
        let channels = 1 + self.random.below(20);
        let (mut value, off) = self.multiplied(made, channels, size, stride, 1);
        if self.random.below(2) == 0 {
            value = self.onnx.node("Relu", &[&value], &[]);
        }
        let [height, width] = [made.height, made.width].map(|side| (side - 1) / stride + 1);
        self.add(&value, [channels, height, width], off);
    }

    fn depthwise(&mut self, made: &Made) {
        let (value, off) = self.multiplied(made, made.channels, [3, 3], 1, made.channels);
        self.add(&value, [made.channels, made.height, made.width], off);
    }

    /// A convolution that keeps the size, but for the stride.
    fn multiplied(
        &mut self,
        made: &Made,
        channels: usize,
        size: [usize; 2],
        stride: usize,
        group: usize,
    ) -> (String, f32) {
        let depth = made.channels / group * size[0] * size[1];
        let scales: Vec<f32> = (0..channels)
            .map(|_| (0.5 + self.random.below(100) as f32 / 100.0) / (80.0 * (depth as f32).sqrt()))
            .collect();
        let values: Vec<i8> = (0..channels * depth).map(|_| self.random.below(256) as u8 as i8).collect();
        let sums = values.chunks(depth).zip(&scales);
        let largest =
            sums.map(|(row, scale)| row.iter().map(|value| f32::from(*value).abs() * scale).sum::<f32>());
        let off = largest.fold(0.0, f32::max) * made.off + 1e-4;
        let [rows, columns] = size.map(|side| side as i64);
        let shape = vec![channels as i64, (made.channels / group) as i64, rows, columns];
        let weights = self.onnx.weights(&Weights { shape, values, scales });
        let pads = [rows / 2, columns / 2, rows / 2, columns / 2];
        let strides = [stride as i64; 2];
        let attributes = [
            ("pads", Attribute::Ints(&pads)),
            ("strides", Attribute::Ints(&strides)),
            ("group", Attribute::Int(group as i64)),
        ];
        (self.onnx.node("Conv", &[&made.name, &weights], &attributes), off)
    }

    fn max_pool(&mut self, made: &Made) {
        let stride = 1 + self.random.below(2);
        let strides = [stride as i64; 2];
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[3, 3])),
            ("pads", Attribute::Ints(&[1, 1, 1, 1])),
            ("strides", Attribute::Ints(&strides)),
        ];
        let value = self.onnx.node("MaxPool", &[&made.name], &attributes);
        let [height, width] = [made.height, made.width].map(|side| (side - 1) / stride + 1);
        self.add_as(&value, [made.channels, height, width], made.off, made.scale, made.zero);
    }

    fn resize(&mut self, made: &Made) {
        let scales = self.onnx.constant(&[4], Data::Floats(&[1.0, 1.0, 2.0, 2.0]));
        let mode = self.random.of(&["nearest", "linear"]);
        let attributes = [
            ("mode", Attribute::Text(mode)),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let value = self.onnx.node("Resize", &[&made.name, "", &scales], &attributes);
        // A scale of its own: means of two bytes lie on ties of theirs.
        let scale = made.scale * 1.037;
        self.add_as(&value, [made.channels, 2 * made.height, 2 * made.width], made.off, scale, made.zero);
    }

    /// Up to four tensors of the size, some of them perhaps the same.
    fn concat(&mut self, made: &Made) {
        let alike: Vec<Made> = self
            .made
            .iter()
            .filter(|other| (other.height, other.width) == (made.height, made.width) && other.channels < 40)
            .cloned()
            .collect();
        let parts: Vec<Made> = match alike.len() {
            0 => return,
            count => (0..2 + self.random.below(3)).map(|_| alike[self.random.below(count)].clone()).collect(),
        };
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let value = self.onnx.node("Concat", &names, &[("axis", Attribute::Int(1))]);
        let channels = parts.iter().map(|part| part.channels).sum();
        let off = parts.iter().map(|part| part.off).fold(0.0, f32::max);
        let shape = [channels, made.height, made.width];
        if self.random.below(4) == 0 {
            return self.add(&value, shape, off);
        }
        // The scale of the first, so that it can lie in the joined one from the start.
        self.add_as(&value, shape, off, parts[0].scale, parts[0].zero);
    }
}

#[test]
fn random_graphs_give_the_same_bytes_with_all_kernels_and_nearly_those_of_tract() {
    let size = PictureSize { width: 11, height: 9 };
    let (mut concats, mut of_tract) = (0, 0);
    for seed in 0..GRAPHS {
        let (onnx, outputs) = Graph::draw(seed, size);
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        let expected = run(&network(&onnx, &names, EngineChoice::Tract).plan(size).unwrap(), size);
        let mut first: Option<Vec<Vec<f32>>> = None;
        for engine in engines() {
            let plan = network(&onnx, &names, engine).plan(size).unwrap();
            let (runs, layers) = path(&plan, &plan.session(1).unwrap());
            of_tract += usize::from(runs == Runs::Tract);
            concats += layers.iter().filter(|kind| *kind == "concat").count();
            let found = run(&plan, size);
            for ((found, expected), (name, off)) in found.iter().zip(&expected).zip(&outputs) {
                let (farthest, moved) = apart(found, expected, NEAR);
                assert!(
                    farthest <= *off && moved <= 0.02,
                    "seed {seed}: {name}: {farthest} of {off}, {moved} moved"
                );
            }
            match &first {
                Some(first) => assert_eq!(bits(first), bits(&found), "seed {seed}: {}", engine.name()),
                None => first = Some(found),
            }
        }
    }
    // A graph whose outputs need no convolution is tract's.
    assert!(concats > 100 && of_tract < GRAPHS as usize / 10 * engines().len(), "{concats}, {of_tract}");
}
