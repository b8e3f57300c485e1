"""Writes manifest.yaml, which the Rust loader reads: plain YAML, no anchors, no tags."""

import hashlib

from . import layout


def numbers(values):
    return "[" + ", ".join(str(value) for value in values) + "]"


def manifest(file_name: str, model_bytes: bytes) -> str:
    lines = [
        "# Written by models/workshop/rebuild. The facts behind it are in MODEL_CARD.md.",
        f"name: {layout.NAME}",
        f"version: {layout.VERSION}",
        f"file: {file_name}",
        f'sha256: "{hashlib.sha256(model_bytes).hexdigest()}"',
        f"size_bytes: {len(model_bytes)}",
        "license: Apache-2.0",
        "input:",
        f"  name: {layout.INPUT_NAME}",
        "  layout: nchw",
        f"  colour_order: {layout.COLOUR_ORDER}",
        f"  mean: {numbers(layout.MEAN)}",
        f"  std: {numbers(layout.STD)}",
        f"  multiple_of: {layout.MULTIPLE_OF}",
        f"  default_long_side: {layout.LONG_SIDE}",
        "  resize: bilinear",
        f"  padding: {layout.PADDING}",
        f"  pad_value: {layout.PAD_VALUE}",
        "head:",
        "  kind: nanodet",
        f"  strides: {numbers(layout.STRIDES)}",
        f"  reg_max: {layout.REG_MAX}",
        f"  score_outputs: {numbers(layout.score_output(s) for s in layout.STRIDES)}",
        f"  box_outputs: {numbers(layout.box_output(s) for s in layout.STRIDES)}",
        f"  nms_iou: {layout.NMS_IOU}",
        "labels:",
        *(f"  - {label}" for label in layout.LABELS),
    ]
    return "\n".join(lines) + "\n"
