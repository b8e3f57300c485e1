"""Runs the float model over the calibration pictures and notes the extremes of every channel.

The whole range seen is kept. Percentiles and least-squares ranges were tried: on the clip they
are no better, and on other scenes they cut off the activations of large objects.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from .layout import INPUT_NAME
from .network import Session
from .picture import letterbox, normalise, place
from .scales import activations


def observe(model, pictures):
    """Low and high, never above and below zero, of each channel of every activation; the number of pictures."""
    names = [name for name in activations(model) if name != INPUT_NAME]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = Session(watched)

    ranges = {}
    count = 0
    for picture in pictures:
        height, width = picture.shape[:2]
        tensor = normalise(letterbox(picture, place(width, height)))
        values = session.run_named(tensor, names)
        values[INPUT_NAME] = tensor
        for name, array in values.items():
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (np.minimum(low, array.min(axis=(0, 2, 3))), np.maximum(high, array.max(axis=(0, 2, 3))))
        count += 1
    return ranges, count
