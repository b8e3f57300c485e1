"""Writes what ONNX Runtime finds, for the parity tests of the Rust engine."""

import hashlib
import json

import numpy as np

from .decode import LEFT, SCORE
from .layout import INPUT_NAME, LABELS
from .network import OUTPUTS
from .picture import letterbox, normalise, place

JSON_FRAMES = range(0, 751, 50)
JSON_THRESHOLD = 0.3
CSV_FRAMES = (0, 150, 300, 400, 500, 650)
CSV_THRESHOLD = 0.4
TENSOR_FRAME = 400


def as_json(model_bytes, detections):
    """Frames count from 0; boxes are left, top, right, bottom in source pixels."""
    frames = [
        {"frame": frame,
         "detections": [{"class": int(row[0]), "label": LABELS[int(row[0])], "score": round(float(row[SCORE]), 5),
                         "box": [round(float(value), 3) for value in row[LEFT:]]}
                        for row in detections[frame] if row[SCORE] >= JSON_THRESHOLD]}
        for frame in JSON_FRAMES
    ]
    digest = hashlib.sha256(model_bytes).hexdigest()
    return json.dumps({"model_sha256": digest, "clip": "vtest.avi", "threshold": JSON_THRESHOLD,
                       "frames": frames}, indent=1) + "\n"


def as_csv(detections):
    lines = [
        f"# vtest.avi, frames from 0, detections of nanodet-g-int8.onnx in ONNX Runtime with a score of {CSV_THRESHOLD} or more,"
        " prepared as MODEL_CARD.md says, boxes in source pixels; written by models/workshop/rebuild.",
        "frame,class,score,left,top,right,bottom",
    ]
    for frame in CSV_FRAMES:
        for row in detections[frame]:
            if row[SCORE] >= CSV_THRESHOLD:
                box = ",".join(f"{value:.2f}" for value in row[LEFT:])
                lines.append(f"{frame},{int(row[0])},{row[SCORE]:.4f},{box}")
    return "\n".join(lines) + "\n"


def write_tensors(folder, frame, sessions):
    """Input and outputs of one frame as raw little-endian float32, for a comparison without decoding."""
    height, width = frame.shape[:2]
    tensor = normalise(letterbox(frame, place(width, height)))
    shapes = {INPUT_NAME: list(tensor.shape)}
    tensor.astype("<f4").tofile(folder / f"frame-{TENSOR_FRAME}-{INPUT_NAME}.f32")
    for kind, session in sessions.items():
        for name, array in session.run_named(tensor, OUTPUTS).items():
            np.ascontiguousarray(array, "<f4").tofile(folder / f"frame-{TENSOR_FRAME}-{kind}-{name}.f32")
            shapes[name] = list(array.shape)
    (folder / f"frame-{TENSOR_FRAME}-shapes.json").write_text(json.dumps(shapes, indent=1) + "\n")
