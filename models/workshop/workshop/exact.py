"""Looks whether 32-bit floats hold every sum of the int8 model exactly, in whatever order it is summed.

With the scales of `scales.py` and `quantise.py` a product of a convolution is a whole number of
units, a power of two for each output channel, and a float holds a whole number up to 2^24. Whatever
the order, a partial sum lies between the sum of all negative terms and the sum of all positive ones.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .errors import WorkshopError
from .network import Session
from .picture import letterbox, normalise, place

WHOLE_NUMBERS = 2**24


def unit(scale):
    """The largest power of two of which a float is a whole multiple."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float32))
    whole = (mantissa * WHOLE_NUMBERS).astype(np.int64)
    return (whole & -whole) * 2.0 ** (exponent - 24)


def fullest_sum(quantised, pictures):
    """The largest partial sum in any convolution over the pictures, as a share of what a float holds."""
    watched = onnx.ModelProto()
    watched.CopyFrom(quantised)
    graph = watched.graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    scale_of = {node.output[0]: constants[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    units = {}
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        total, magnitudes = node.output[0], node.output[0] + "_magnitudes"
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = copy.output[0] = magnitudes
        for index, source in enumerate(node.input):
            copy.input[index] = f"{magnitudes}_{index}"
            graph.node.append(helper.make_node("Abs", [source], [copy.input[index]]))
        graph.node.append(copy)
        for name in (total, magnitudes):
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        units[total, magnitudes] = unit(scale_of[node.input[0]]) * unit(scale_of[node.input[1]])

    session = Session(watched)
    names = [name for pair in units for name in pair]
    fullest = 0.0
    for picture in pictures:
        height, width = picture.shape[:2]
        values = session.run_named(normalise(letterbox(picture, place(width, height))), names)
        for (total, magnitudes), units_of_channels in units.items():
            # The positive terms are half of magnitudes plus total, the negative ones half of the difference.
            one_sign = (values[magnitudes] + np.abs(values[total])).max(axis=(0, 2, 3)) / 2
            fullest = max(fullest, float((one_sign / units_of_channels).max()) / WHOLE_NUMBERS)
    return fullest


def require(share):
    if share >= 1:
        raise WorkshopError(f"the int8 model is refused and nothing is written: a sum reaches {share:.2f} of what a "
                            "32-bit float holds exactly; lower the bits of the weights' scales in quantise.py")
