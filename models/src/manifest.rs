//! What a model's `manifest.yaml` says: which file, how it wants its pixels, what its outputs mean.
//!
//! Every mistake is reported as `file:line:col: key: what is wrong; what is allowed`, all in one run.

use std::path::{Component, Path};

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::{Problem, Problems};
use kerbside_core::tree::{Field, Reader};
use kerbside_core::yaml;
use kerbside_vision::input::{ColourOrder, PixelScale};

use crate::labels;

/// The longest side of an input that a manifest may ask for, in pixels.
const MAX_SIDE: u64 = 4096;
/// The largest model file, in bytes.
const MAX_BYTES: u64 = 1 << 30;
/// Grey, as detectors are trained with.
const DEFAULT_PADDING: f64 = 114.0;

/// A model's manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The model's name, which is its folder's.
    pub name: String,
    /// Counts up with every change of the file.
    pub version: u32,
    /// The ONNX file, beside the manifest.
    pub file: String,
    /// The file's SHA-256 as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// Under which licence the weights are, an SPDX expression.
    pub license: String,
    /// What goes in.
    pub input: InputManifest,
    /// What comes out.
    pub head: HeadManifest,
    /// Of overlapping boxes of one class, those with more than this intersection over union are one object.
    pub nms_iou: f32,
    /// The name of every class that the model tells apart, in the order of its outputs.
    pub labels: Vec<String>,
}

/// What goes into a model: 32-bit floats, one picture, three channels (NCHW).
#[derive(Clone, Debug, PartialEq)]
pub struct InputManifest {
    /// The input's name in the file.
    pub name: String,
    /// Order, mean, deviation and padding of the pixels.
    pub pixels: PixelScale,
    /// Both sides of the input are multiples of this, in pixels.
    pub multiple_of: u32,
    /// How long the picture's longer side is in the input unless the caller wants another, in pixels.
    pub default_long_side: u32,
}

/// What a model's outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadManifest {
    /// NanoDet: for each stride the scores after the sigmoid, and for each side of the box a distribution
    /// over its distance from the cell's centre.
    NanoDet {
        /// Input pixels from cell to cell, one a level.
        strides: Vec<u32>,
        /// The highest distance, in strides: each distribution has one bin more.
        reg_max: u32,
        /// The outputs that hold the scores, one a level: 1 × cells × classes.
        score_outputs: Vec<String>,
        /// The outputs that hold the distributions, one a level: 1 × cells × 4·(reg_max + 1).
        box_outputs: Vec<String>,
    },
    /// YOLOX: one output of 1 × cells × (5 + classes), all levels one after another: centre, size, objectness and
    /// class scores, both after the sigmoid.
    Yolox {
        /// Input pixels from cell to cell, one a level.
        strides: Vec<u32>,
        /// The output.
        output: String,
    },
}

impl HeadManifest {
    /// The head's name in a manifest.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NanoDet { .. } => "nanodet",
            Self::Yolox { .. } => "yolox",
        }
    }

    /// Input pixels from cell to cell, one a level.
    pub fn strides(&self) -> &[u32] {
        match self {
            Self::NanoDet { strides, .. } | Self::Yolox { strides, .. } => strides,
        }
    }
}

impl Manifest {
    /// Reads a manifest; `file` is named in the problems.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Vec<Problem>> {
        let problems = Problems::in_file(file);
        let manifest = yaml::parse(text, &problems)
            .and_then(|value| Reader::root(&value, &problems).map(|reader| read(&reader)))
            .flatten();
        match manifest {
            Some(manifest) if problems.count() == 0 => Ok(manifest),
            _ => Err(problems.into_sorted()),
        }
    }

    /// The model's name and version, for the tables: short, from a closed set.
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The classes that Kerbside counts and the model tells apart, sorted.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<Class> = self.labels.iter().filter_map(|label| labels::class_of(label)).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

// The readers ask for every key before they give up on any, so that one run shows all problems.

fn read(reader: &Reader<'_>) -> Option<Manifest> {
    let name = reader.required("name").and_then(|field| field.name().map(str::to_owned));
    let version = reader.required("version").and_then(|field| small(&field, 1..=u64::from(u16::MAX), "versions"));
    let file = reader.required("file").and_then(|field| plain_file_name(&field));
    let sha256 = reader.required("sha256").and_then(|field| checksum(&field));
    let size_bytes = reader.required("size_bytes").and_then(|field| field.integer(1..=MAX_BYTES, "bytes"));
    let license = reader.required("license").and_then(|field| field.text().map(str::to_owned));
    let input = reader.required("input").and_then(|field| field.map()).map(|map| read_input(&map));
    let head = reader.required("head").and_then(|field| field.map()).map(|map| (read_head(&map), map));
    let labels = reader.required("labels").and_then(|field| {
        let labels = texts(&field, 1..=1000, "labels")?;
        if labels::counted(&labels).is_empty() {
            let classes = Class::ALL.map(Class::name).join(", ");
            field.problem(
                "none of the labels is a class that Kerbside counts",
                format!("at least one of {classes}"),
            );
        }
        Some(labels)
    });
    reader.finish();
    let (input, (head, head_map)) = (input.flatten()?, head?);
    let (head, nms_iou) = head?;
    if let Some(stride) = head.strides().iter().find(|stride| input.multiple_of % **stride != 0) {
        let multiple_of = input.multiple_of;
        head_map.problem(
            format!("stride {stride} does not divide the input's multiple_of, which is {multiple_of}"),
            "multiple_of is a multiple of every stride",
        );
    }
    Some(Manifest {
        name: name?,
        version: version?,
        file: file?,
        sha256: sha256?,
        size_bytes: size_bytes?,
        license: license?,
        input,
        head,
        nms_iou,
        labels: labels?,
    })
}

fn read_input(reader: &Reader<'_>) -> Option<InputManifest> {
    let name = reader.required("name").and_then(|field| field.text().map(str::to_owned));
    // Said in words although there is one choice: who reads the manifest need not know the code.
    only(reader, "layout", "nchw");
    only(reader, "resize", "bilinear");
    only(reader, "padding", "bottom_right");
    let order = reader
        .required("colour_order")
        .and_then(|field| field.one_of(&[("bgr", ColourOrder::Bgr), ("rgb", ColourOrder::Rgb)]));
    let mean = channels(reader, "mean", 0.0, -1000.0..=1000.0);
    let deviation = channels(reader, "std", 1.0, 1e-3..=1000.0);
    let padding = match reader.optional("pad_value") {
        Some(field) => field.number(0.0..=255.0, ""),
        None => Some(DEFAULT_PADDING),
    };
    let multiple_of = reader.required("multiple_of").and_then(|field| small(&field, 1..=256, "pixels"));
    let default_long_side =
        reader.required("default_long_side").and_then(|field| small(&field, 32..=MAX_SIDE, "pixels"));
    reader.finish();
    Some(InputManifest {
        name: name?,
        pixels: PixelScale { order: order?, mean: mean?, deviation: deviation?, padding: padding? as f32 },
        multiple_of: multiple_of?,
        default_long_side: default_long_side?,
    })
}

fn read_head(reader: &Reader<'_>) -> Option<(HeadManifest, f32)> {
    let is_nanodet =
        reader.required("kind").and_then(|field| field.one_of(&[("nanodet", true), ("yolox", false)]));
    let strides = reader.required("strides").and_then(|field| {
        let strides: Option<Vec<u32>> = field.list()?.iter().map(|item| small(item, 1..=256, "pixels")).collect();
        strides.filter(|strides| within(&field, strides.len(), 1..=8, "strides"))
    });
    let nms_iou = reader.required("nms_iou").and_then(|field| field.number(0.0..=1.0, ""));
    let head = match is_nanodet? {
        true => {
            let reg_max = reader.required("reg_max").and_then(|field| small(&field, 1..=64, "strides"));
            let levels = strides.as_ref().map_or(1..=8, |strides| strides.len()..=strides.len());
            let outputs = |key| {
                reader.required(key).and_then(|field| texts(&field, levels.clone(), "outputs, one a stride"))
            };
            let (score_outputs, box_outputs) = (outputs("score_outputs"), outputs("box_outputs"));
            reader.finish();
            HeadManifest::NanoDet {
                strides: strides?,
                reg_max: reg_max?,
                score_outputs: score_outputs?,
                box_outputs: box_outputs?,
            }
        }
        false => {
            let output = reader.required("output").and_then(|field| field.text().map(str::to_owned));
            reader.finish();
            HeadManifest::Yolox { strides: strides?, output: output? }
        }
    };
    Some((head, nms_iou? as f32))
}

fn only(reader: &Reader<'_>, key: &'static str, choice: &'static str) {
    if let Some(field) = reader.optional(key) {
        // A problem is reported by the reader itself.
        let _known = field.one_of(&[(choice, ())]);
    }
}

fn small(field: &Field<'_>, range: std::ops::RangeInclusive<u64>, unit: &str) -> Option<u32> {
    field.integer(range, unit).and_then(|number| u32::try_from(number).ok())
}

fn within(field: &Field<'_>, found: usize, allowed: std::ops::RangeInclusive<usize>, of: &str) -> bool {
    let fits = allowed.contains(&found);
    if !fits {
        let (least, most) = (allowed.start(), allowed.end());
        let allowed = if least == most { format!("{least} {of}") } else { format!("{least} to {most} {of}") };
        field.problem(format!("there are {found}"), format!("{allowed} are expected"));
    }
    fits
}

fn texts(field: &Field<'_>, allowed: std::ops::RangeInclusive<usize>, of: &str) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = field.list()?.iter().map(|item| item.text().map(str::to_owned)).collect();
    texts.filter(|texts| within(field, texts.len(), allowed, of))
}

fn channels(
    reader: &Reader<'_>,
    key: &'static str,
    default: f32,
    range: std::ops::RangeInclusive<f64>,
) -> Option<[f32; 3]> {
    let Some(field) = reader.optional(key) else {
        return Some([default; 3]);
    };
    let items = field.list()?;
    let values: Option<Vec<f32>> =
        items.iter().map(|item| item.number(range.clone(), "").map(|value| value as f32)).collect();
    let values = values.filter(|values| within(&field, values.len(), 3..=3, "numbers, one a channel"))?;
    values.try_into().ok()
}

fn plain_file_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let mut parts = Path::new(text).components();
    let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == text);
    if !is_plain {
        field.problem(format!("'{text}' is not a plain file name"), "the file lies beside the manifest");
        return None;
    }
    Some(text.to_owned())
}

fn checksum(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        field.problem(format!("'{text}' is not a SHA-256"), "64 lower-case hexadecimal digits are expected");
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
name: tiny
version: 3
file: tiny.onnx
sha256: 4c257692eee08a5b5e9cce0db8192e076cb3cd32635d53453504ad0bd25a6d18
size_bytes: 10
license: Apache-2.0
input: {name: image, colour_order: rgb, multiple_of: 32, default_long_side: 64}
head: {kind: yolox, strides: [8, 16], output: out, nms_iou: 0.5}
labels: [tram, person, cat]
";

    fn problems(text: &str) -> Vec<String> {
        let problems = Manifest::parse(text, Path::new("m.yaml")).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_left_out_has_the_usual_value() {
        let manifest = Manifest::parse(GOOD, Path::new("m.yaml")).unwrap();
        assert_eq!(manifest.id(), "tiny@3");
        assert_eq!(manifest.classes(), [Class::Person, Class::Other]);
        let expected = PixelScale { order: ColourOrder::Rgb, mean: [0.0; 3], deviation: [1.0; 3], padding: 114.0 };
        assert_eq!(manifest.input.pixels, expected);
        assert_eq!(manifest.head, HeadManifest::Yolox { strides: vec![8, 16], output: "out".to_owned() });
    }

    #[test]
    fn every_mistake_is_shown_with_its_place() {
        let cases = [
            (
                "file: tiny.onnx",
                "file: ../tiny.onnx",
                "m.yaml:3:7: file: '../tiny.onnx' is not a plain file name; the file lies beside the manifest",
            ),
            (
                "4c2576",
                "4C2576",
                "m.yaml:4:9: sha256: '4C257692eee08a5b5e9cce0db8192e076cb3cd32635d53453504ad0bd25a6d18' is not a SHA-256; 64 lower-case hexadecimal digits are expected",
            ),
            ("colour_order: rgb", "colour_order: grb", "m.yaml:7:36: input.colour_order: 'grb' is unknown;"),
            (
                "multiple_of: 32",
                "multiple_of: 24",
                "m.yaml:8:7: head: stride 16 does not divide the input's multiple_of, which is 24; multiple_of is a multiple of every stride",
            ),
            ("name: image", "name: image, layout: nhwc", "m.yaml:7:30: input.layout: 'nhwc' is unknown;"),
            (
                "name: image",
                "name: image, std: [1, 0, 1]",
                "m.yaml:7:31: input.std[1]: 0 is out of range; a number from 0.001 to 1000 is expected",
            ),
            (
                "name: image",
                "name: image, mean: [1, 0]",
                "m.yaml:7:28: input.mean: there are 2; 3 numbers, one a channel are expected",
            ),
            (
                "strides: [8, 16]",
                "strides: []",
                "m.yaml:8:30: head.strides: there are 0; 1 to 8 strides are expected",
            ),
            (
                "[tram, person, cat]",
                "[cat]",
                "m.yaml:9:9: labels: none of the labels is a class that Kerbside counts; at least one of person, bicycle, motorcycle, car, bus, truck, other",
            ),
            ("size_bytes: 10", "size: 10", "m.yaml:1:1: the key 'size_bytes' is missing; it is required"),
        ];
        for (good, bad, expected) in cases {
            let found = problems(&GOOD.replace(good, bad));
            assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{found:#?}\n{expected}");
        }
    }

    #[test]
    fn one_run_shows_the_mistakes_of_all_parts() {
        let text =
            GOOD.replace("version: 3", "version: 0").replace("nms_iou: 0.5", "nms_iou: 2").replace("rgb", "x");
        assert_eq!(problems(&text).len(), 3);
    }

    #[test]
    fn a_nanodet_head_names_two_outputs_a_stride() {
        let head = "head: {kind: nanodet, strides: [8, 16], reg_max: 7, nms_iou: 0.6, score_outputs: [a, b], box_outputs: [c]}";
        let text = GOOD.replace("head: {kind: yolox, strides: [8, 16], output: out, nms_iou: 0.5}", head);
        assert_eq!(
            problems(&text),
            ["m.yaml:8:103: head.box_outputs: there are 1; 2 outputs, one a stride are expected"]
        );
        assert!(Manifest::parse(&text.replace("[c]", "[c, d]"), Path::new("m.yaml")).is_ok());
    }
}
