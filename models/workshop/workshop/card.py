"""Writes MODEL_CARD.md from what the run measured."""

import hashlib
from dataclasses import dataclass

import onnx
import onnxruntime

from . import layout, quantise, scales, source
from .evaluate import ALLOWED_COUNT_DIFFERENCE, ALLOWED_LOSS, Agreement, Match


@dataclass
class Figures:
    """One input shape: what the float and the int8 model did."""

    shape: str
    agreed: Agreement
    float_match: Match
    int8_match: Match
    float_count: int
    int8_count: int


def table(rows):
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def match(m):
    return f"{m.recall:.3f} / {m.precision:.3f}"


def accuracy(all_figures):
    rows = [["", *(f.shape for f in all_figures)]]
    wanted = [
        ("int8 against float: recall", lambda f: f"{f.agreed.match.recall:.4f}"),
        ("int8 against float: precision", lambda f: f"{f.agreed.match.precision:.4f}"),
        ("int8 against float: F1", lambda f: f"{f.agreed.match.f1:.4f}"),
        ("mean intersection over union", lambda f: f"{f.agreed.mean_iou:.4f}"),
        ("mean score difference, int8 − float", lambda f: f"{f.agreed.mean_score_difference:+.4f}"),
        ("mean absolute score difference", lambda f: f"{f.agreed.mean_absolute_score_difference:.4f}"),
        ("persons in all frames, float", lambda f: str(f.float_count)),
        ("persons in all frames, int8", lambda f: f"{f.int8_count} ({f.int8_count / f.float_count - 1:+.2%})"),
        ("annotation: recall / precision, float", lambda f: match(f.float_match)),
        ("annotation: recall / precision, int8", lambda f: match(f.int8_match)),
    ]
    rows += [[name, *(of(f) for f in all_figures)] for name, of in wanted]
    return table(rows)


def card(file_name, model_bytes, float_bytes, calibration_count, fullest_sum, held_out_count, annotation, all_figures):
    annotated = sum(len(boxes) for boxes in annotation.values())
    sources = table([
        ["file", "package", "SHA-256"],
        *([name, source.WEIGHTS_PACKAGE, digest] for name, digest in source.WEIGHTS_FILES.items()),
        *([name, source.PICTURES_PACKAGE + " (calibration only)", digest] for name, digest in source.PICTURES.items()),
        ["vtest.avi", "Debian's opencv-doc (calibration and measurement)", source.CLIP_SHA256],
        [file_name, "the result", hashlib.sha256(model_bytes).hexdigest()],
    ])
    return f"""# {layout.NAME}, int8

Written by `models/workshop/rebuild`; change the workshop, not this file.

NanoDet-g finds objects of COCO's 80 classes in one picture. It is a plain convolutional network
(3×3 and 1×1 convolutions, LeakyReLU) of 3.79 million parameters; a 416×416 input costs 2.1 billion
multiplications. This file holds it as int8: {len(model_bytes):,} bytes instead of {len(float_bytes):,}.

## Source and licence

The weights were trained by the NanoDet project (RangiLyu) on COCO and are licensed under
Apache-2.0. They were taken from the package {source.WEIGHTS_PACKAGE} (MIT, Vladimir Mandic), which
holds them as half-precision floats in a TensorFlow.js graph. The workshop changed them: converted to
ONNX, opset 13, and quantised. `LICENSE` has both licences.

{sources}

## Input

`{layout.INPUT_NAME}`, 1×3×H×W, float32; H and W are any multiples of {layout.MULTIPLE_OF}.

1. 8-bit B G R.
2. Scaled so that the longer side is {layout.LONG_SIDE}, aspect ratio kept, sides rounded to the nearest
   pixel; bilinear with two taps a side and pixel centres at half coordinates, no low-pass filter.
3. Placed at the top left; right and bottom filled with grey ({layout.PAD_VALUE}) to the next multiple
   of {layout.MULTIPLE_OF}. A 4:3 picture becomes 416×320, a 16:9 picture 416×256.
4. (x − mean) / std per channel, mean {list(layout.MEAN)}, std {list(layout.STD)}.

## Outputs

For each stride s of 8, 16 and 32, with N = (H/s)·(W/s) cells in row order:

| name | shape | meaning |
| --- | --- | --- |
| `scores_s` | 1×N×80 | score of each class, 0 to 1 |
| `boxes_s` | 1×N×44 | left, top, right, bottom × 11 bins: softmax over the bins, expected bin × s is the distance from the cell's centre ((column + 0.5)·s, (row + 0.5)·s) |

After that: non-maximum suppression per class at an intersection over union of {layout.NMS_IOU}. The
classes, in order, are the labels in `manifest.yaml`.

## How it is quantised

- Weights int8, symmetric, one scale per output channel, of {quantise.WEIGHT_SCALE_BITS} significant bits at most. Activations
  uint8 with a zero point, one scale per tensor, from the whole range seen while calibrating. The scale is
  a power of two; only the input's is {scales.INPUT_SCALE}.
- Each channel was multiplied by a factor before it was rounded, and the weights that read it divided by
  the same. It fits the range to the scale and halves, in octaves, the differences between the channels.
- A convolution and its LeakyReLU are one step, with no rounding between them; so are a resize and the
  addition after it.
- The last six convolutions have int8 inputs and weights and a float result.
- Tensors joined by a concat, and both ends of the max-pool, share one scale.

With these scales 32-bit floats hold every sum exactly, whatever its order: the largest partial sum in
the calibration pictures is {fullest_sum:.2f} of what they can hold. So every engine that computes each step as the
ONNX standard says, in floats or in integers, finds the same bytes. LeakyReLU is one multiplication of the
convolution's float result, and rounding is to nearest, ties to even.

Calibrated on {calibration_count} pictures: every 8th frame of vtest.avi, zoomed and darkened parts of some of
these frames, and four free pictures of other scenes, as they are, mirrored and darkened.

## Accuracy

Class person, score 0.5, match at an intersection over union of 0.5. "Int8 against float" takes the float
model's detections as the truth, on the {held_out_count} frames of vtest.avi that did not calibrate. "Annotation" is
{annotated} persons in {len(annotation)} of these frames, drawn by hand from boxes that the float model proposed: it is
small (one person is {1 / annotated:.3f} of recall) and leans towards the detector's idea of a box.

{accuracy(all_figures)}

The workshop writes no file when int8 loses more than {ALLOWED_LOSS} of recall or precision on either measure,
or when the number of persons differs by more than {ALLOWED_COUNT_DIFFERENCE:.1%}, at the first shape.
Measured in ONNX Runtime {onnxruntime.__version__} with ONNX {onnx.__version__}.

## Limits

- Cameras that look steeply down: cars seen from above are mostly missed. COCO shows few such views.
- Small persons: below about 40 pixels of height in a 768×576 picture the score is about 0.5 or less.
- Persons who hide each other: a pair is found as one, or gets a third box around both.
- Night, rain, fog and infrared were not measured.
- The quantisation was measured on one scene, for one class. On two other scenes the scores of int8 and
  float differed more (0.01 to 0.02 on average), so expect other classes to lose more than persons do.
- The model does not identify anyone; it says where a person is, not who.

## Rebuilding

`models/workshop/rebuild --check` makes the file again and compares its SHA-256. It was the same in
repeated runs with the pinned packages. Another processor may round the float model's activations
differently; the grid of the factors makes a different file unlikely, not impossible.
"""
