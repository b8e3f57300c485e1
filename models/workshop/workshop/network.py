"""Runs an ONNX model, float or int8, in ONNX Runtime, and detects in a picture."""

import onnxruntime

from .decode import decode
from .layout import INPUT_NAME, STRIDES, box_output, score_output
from .picture import letterbox, normalise, place

THREADS = 2
OUTPUTS = [score_output(s) for s in STRIDES] + [box_output(s) for s in STRIDES]


class Session:
    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run_named(self, tensor, names):
        return dict(zip(names, self.session.run(names, {INPUT_NAME: tensor})))

    def detect(self, picture, threshold, placement=None):
        """Detections in a B G R picture, in its own pixels; see `decode` for the columns."""
        height, width = picture.shape[:2]
        placement = placement or place(width, height)
        outputs = self.session.run(OUTPUTS, {INPUT_NAME: normalise(letterbox(picture, placement))})
        return decode(outputs, placement, width, height, threshold)
