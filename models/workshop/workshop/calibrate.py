"""Runs the float model over the calibration pictures and notes the extremes of every group of tensors.

The whole range seen is kept. Percentiles and least-squares ranges were tried: on the clip they
are no better, and on other scenes they cut off the activations of large objects.
"""

import onnx
from onnx import TensorProto, helper

from .layout import INPUT_NAME
from .network import Session
from .picture import letterbox, normalise, place
from .quantise import groups


def observe(model, pictures):
    """Low and high for every group's leader, and the number of pictures."""
    group_of = groups(model)
    names = [name for name in group_of if name != INPUT_NAME]
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
            low, high = ranges.get(group_of[name], (0.0, 0.0))
            ranges[group_of[name]] = (min(low, float(array.min())), max(high, float(array.max())))
        count += 1
    return ranges, count
