"""Float ONNX to int8 QDQ, placed the way an integer engine computes it.

Weights: int8, symmetric, one scale per output channel. Biases: int32, scale of input times scale
of weights. Activations: uint8 with a zero point, one scale per tensor; `scales.py` chooses them, and
the gains that go into the weights.

- A convolution and the LeakyReLU after it are one step: no rounding between them.
- The convolutions at the outputs end in float: int8 inputs and weights, results not rounded to
  8 bits, so that scores near a threshold keep their full resolution.
- Tensors that a concat joins, and both ends of a max-pool, share one scale: there these operators
  only move bytes.
- A resize and the addition after it are one step.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .scales import Scales, choose

# Significant bits of a weight's scale. Fewer make the steps larger, more make sums of a convolution
# that a 32-bit float cannot hold.
WEIGHT_SCALE_BITS = 4
# The input's scale has three of its own, and bright pixels add up.
FIRST_WEIGHT_SCALE_BITS = 3


def weight_scales(weight, bits):
    """One scale per output channel, not smaller than its largest weight needs."""
    needed = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-8) / 127
    unit = 2.0 ** (np.floor(np.log2(needed)) - (bits - 1))
    return (np.ceil(needed / unit - 1e-6) * unit).astype(np.float32)


def rounded_everywhere(model, ranges, chosen):
    """Scales that also round between a convolution and its LeakyReLU, and behind each resize."""
    group_of, scale, zero, gain = (dict(d) for d in (chosen.group_of, chosen.scale, chosen.zero, chosen.gain))
    for node in model.graph.node:
        before, after = node.input[0], node.output[0]
        if node.op_type == "LeakyRelu":
            low = float((ranges[after][0] * gain[after]).min()) / node.attribute[0].f
            high = float((ranges[after][1] * gain[after]).max())
            group_of[before], gain[before] = before, gain[after]
            scale[before], zero[before] = (high - low) / 255, round(-low / (high - low) * 255)
        elif node.op_type == "Resize":
            group_of[after], gain[after] = group_of[before], gain[before]
    return Scales(group_of, scale, zero, gain)


def quantise(model, ranges, round_everywhere=False):
    """The QDQ model. `ranges` has low and high of each channel for each of `scales.activations`.

    `round_everywhere` also rounds between a convolution and its LeakyReLU, and behind each resize. It
    costs accuracy; ONNX Runtime runs a convolution and an addition in integers only so. It is for
    speed comparisons alone.
    """
    chosen = choose(model, ranges)
    if round_everywhere:
        chosen = rounded_everywhere(model, ranges, chosen)
    group_of, gain = chosen.group_of, chosen.gain
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    leaky_of = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "LeakyRelu"}
    nodes, initializers = [], {}

    def constant(name, array):
        initializers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def activation(name):
        group = group_of[name]
        pair = [constant(group + "_scale", np.float32(chosen.scale[group])),
                constant(group + "_zero", np.uint8(chosen.zero[group]))]
        nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [name + "_q"], name=name + "_q"))
        nodes.append(helper.make_node("DequantizeLinear", [name + "_q", *pair], [name + "_dq"], name=name + "_dq"))

    def stored(name, integers, scale):
        """Adds integers with a scale per output channel; returns the name of the real values."""
        inputs = [constant(name + "_q", integers), constant(name + "_scale", scale),
                  constant(name + "_zero", np.zeros(len(scale), integers.dtype))]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name + "_dq"], name=name + "_dq", axis=0))
        return name + "_dq"

    activation(model.graph.input[0].name)
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(copy.input):
            if name in group_of:
                copy.input[index] = name + "_dq"
            elif name in weights and node.op_type != "Conv":
                constant(name, weights[name])
        if node.op_type == "Conv":
            weight, bias = weights[node.input[1]].astype(np.float64), weights[node.input[2]].astype(np.float64)
            # The outputs of the network have no gain.
            made = gain.get(leaky_of.get(node.output[0], node.output[0]), np.ones(len(bias)))
            weight = weight * made[:, None, None, None] / gain[node.input[0]][None, :, None, None]
            reads_input = node.input[0] == model.graph.input[0].name
            weight_scale = weight_scales(weight, FIRST_WEIGHT_SCALE_BITS if reads_input else WEIGHT_SCALE_BITS)
            integers = np.clip(np.rint(weight / weight_scale[:, None, None, None]), -127, 127).astype(np.int8)
            bias_scale = np.float32(chosen.scale[group_of[node.input[0]]]) * weight_scale
            copy.input[1] = stored(node.input[1], integers, weight_scale)
            copy.input[2] = stored(node.input[2], np.rint(bias * made / bias_scale).astype(np.int32), bias_scale)
        nodes.append(copy)
        if node.output[0] in group_of:
            activation(node.output[0])

    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, initializers.values())
    quantised = helper.make_model(graph, opset_imports=model.opset_import, producer_name=model.producer_name)
    quantised.ir_version = model.ir_version
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def with_input_size(model, width, height):
    """A copy with a fixed input size, for benchmarks that do not choose one."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dims = fixed.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_value, dims[3].dim_value = height, width
    return fixed
