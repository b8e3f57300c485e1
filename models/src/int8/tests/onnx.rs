//! Writes ONNX files, as far as the tests need it: protocol buffers by hand, so that a test can make any graph and any
//! nonsense.

use kerbside_core::frame::PictureSize;

/// A graph with one input, `image`.
#[derive(Default)]
pub(super) struct Onnx {
    nodes: Vec<u8>,
    constants: Vec<u8>,
    count: usize,
}

/// A constant's values.
pub(super) enum Data<'a> {
    Floats(&'a [f32]),
    U8(&'a [u8]),
    I8(&'a [i8]),
    I64(&'a [i64]),
}

/// An attribute's value.
#[derive(Clone, Copy)]
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
}

/// Weights of signed bytes and what they mean.
#[derive(Clone)]
pub(super) struct Weights {
    pub(super) shape: Vec<i64>,
    pub(super) values: Vec<i8>,
    pub(super) scales: Vec<f32>,
}

impl Onnx {
    fn fresh(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_{}", self.count)
    }

    pub(super) fn constant(&mut self, shape: &[i64], data: Data<'_>) -> String {
        let name = self.fresh("constant");
        let (kind, bytes): (u64, Vec<u8>) = match data {
            Data::Floats(values) => (1, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Data::U8(values) => (2, values.to_vec()),
            Data::I8(values) => (3, values.iter().map(|value| *value as u8).collect()),
            Data::I64(values) => (7, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        let mut tensor = Vec::new();
        shape.iter().for_each(|side| number(&mut tensor, 1, *side as u64));
        number(&mut tensor, 2, kind);
        block(&mut tensor, 8, name.as_bytes());
        block(&mut tensor, 9, &bytes);
        block(&mut self.constants, 5, &tensor);
        name
    }

    /// A node of one output, whose name it has.
    pub(super) fn node(&mut self, kind: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        let name = self.fresh(kind);
        let mut node = Vec::new();
        inputs.iter().for_each(|input| block(&mut node, 1, input.as_bytes()));
        block(&mut node, 2, name.as_bytes());
        block(&mut node, 3, name.as_bytes());
        block(&mut node, 4, kind.as_bytes());
        for (key, value) in attributes {
            let mut attribute = Vec::new();
            block(&mut attribute, 1, key.as_bytes());
            let kind = match value {
                Attribute::Float(value) => {
                    attribute.push(2 << 3 | 5);
                    attribute.extend(value.to_le_bytes());
                    1
                }
                Attribute::Int(value) => {
                    number(&mut attribute, 3, *value as u64);
                    2
                }
                Attribute::Text(value) => {
                    block(&mut attribute, 4, value.as_bytes());
                    3
                }
                Attribute::Ints(values) => {
                    values.iter().for_each(|value| number(&mut attribute, 8, *value as u64));
                    7
                }
            };
            number(&mut attribute, 20, kind);
            block(&mut node, 5, &attribute);
        }
        block(&mut self.nodes, 1, &node);
        name
    }

    /// A value rounded to unsigned bytes and back.
    pub(super) fn rounded(&mut self, value: &str, scale: f32, zero: u8) -> String {
        let scale = self.constant(&[], Data::Floats(&[scale]));
        let zero = self.constant(&[], Data::U8(&[zero]));
        let bytes = self.node("QuantizeLinear", &[value, &scale, &zero], &[]);
        self.node("DequantizeLinear", &[&bytes, &scale, &zero], &[])
    }

    /// Dequantised weights.
    pub(super) fn weights(&mut self, weights: &Weights) -> String {
        let Weights { shape, values, scales } = weights;
        let (channels, zeros) = ([scales.len() as i64], vec![0; scales.len()]);
        let per_channel: &[i64] = if scales.len() == 1 { &[] } else { &channels };
        let values = self.constant(shape, Data::I8(values));
        let scales = self.constant(per_channel, Data::Floats(scales));
        let zeros = self.constant(per_channel, Data::I8(&zeros));
        self.node("DequantizeLinear", &[&values, &scales, &zeros], &[("axis", Attribute::Int(0))])
    }

    /// The file.
    pub(super) fn file(self, size: PictureSize, outputs: &[&str]) -> Vec<u8> {
        let mut graph = self.nodes;
        block(&mut graph, 2, b"graph");
        graph.extend(self.constants);
        let sides = [1, 3, u64::from(size.height), u64::from(size.width)];
        block(&mut graph, 11, &value("image", Some(&sides)));
        outputs.iter().for_each(|output| block(&mut graph, 12, &value(output, None)));
        let mut opset = Vec::new();
        block(&mut opset, 1, b"");
        number(&mut opset, 2, 17);
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        block(&mut model, 7, &graph);
        block(&mut model, 8, &opset);
        model
    }
}

/// A value's name and, where they are known, its sides.
fn value(name: &str, sides: Option<&[u64]>) -> Vec<u8> {
    let mut tensor = Vec::new();
    number(&mut tensor, 1, 1);
    if let Some(sides) = sides {
        let mut shape = Vec::new();
        for side in sides {
            let mut dimension = Vec::new();
            number(&mut dimension, 1, *side);
            block(&mut shape, 1, &dimension);
        }
        block(&mut tensor, 2, &shape);
    }
    let (mut kind, mut value) = (Vec::new(), Vec::new());
    block(&mut kind, 1, &tensor);
    block(&mut value, 1, name.as_bytes());
    block(&mut value, 2, &kind);
    value
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn block(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
