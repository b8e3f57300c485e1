"""Float ONNX to int8 QDQ, placed the way an integer engine computes it.

Weights: int8, symmetric, one scale per output channel. Biases: int32, scale of input times scale
of weights. Activations: uint8 with a zero point, one scale per tensor.

- A convolution and the LeakyReLU after it are one step: no rounding between them.
- The convolutions at the outputs end in float: int8 inputs and weights, results not rounded to
  8 bits, so that scores near a threshold keep their full resolution.
- Tensors that a concat joins, and both ends of a max-pool and a resize, share one scale: there
  these operators only move or average bytes.
- Scales are rounded up to a grid of 32 steps an octave, so that float noise in the calibration
  (another processor, another library) seldom changes the file.
"""

import math
from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

SCALE_STEPS_PER_OCTAVE = 32
# Operators that hand their input's values on; both ends share a scale.
KEEPS_VALUES = ("MaxPool", "Resize", "Concat")


def activations(model):
    """Names of the tensors to quantise, in graph order."""
    graph = model.graph
    consumers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node.op_type)
    names = [graph.input[0].name]
    for node in graph.node:
        following = set(consumers[node.output[0]])
        if node.op_type == "Conv" and following & {"LeakyRelu", "Sigmoid", "Reshape"}:
            continue
        if node.op_type in ("Conv", "LeakyRelu", "Add", *KEEPS_VALUES):
            names.append(node.output[0])
    return names


def groups(model):
    """Tensor name to the name of the first tensor that shares its scale."""
    names = activations(model)
    leader = {name: name for name in names}

    def find(name):
        while leader[name] != name:
            name = leader[name]
        return name

    for node in model.graph.node:
        if node.op_type in KEEPS_VALUES:
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            for name in inputs:
                first, second = sorted((find(name), find(node.output[0])), key=names.index)
                leader[second] = first
    return {name: find(name) for name in names}


def activation_parameters(low, high):
    """Scale and zero point of a uint8 tensor that holds low..high and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    steps = math.ceil(SCALE_STEPS_PER_OCTAVE * math.log2(max(high - low, 1e-6) / 255) - 1e-3)
    scale = np.float32(2.0 ** (steps / SCALE_STEPS_PER_OCTAVE))
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def quantise(model, ranges, round_before_leaky=False):
    """The QDQ model. `ranges` has low and high for every leader in `groups(model)`.

    `round_before_leaky` also rounds between a convolution and its LeakyReLU. It costs accuracy;
    ONNX Runtime runs a convolution in integers only so. It is for speed comparisons alone.
    """
    group_of = groups(model)
    ranges = dict(ranges)
    if round_before_leaky:
        for node in model.graph.node:
            if node.op_type == "LeakyRelu":
                low, high = ranges[group_of[node.output[0]]]
                group_of[node.input[0]] = node.input[0]
                ranges[node.input[0]] = (low / node.attribute[0].f, high)
    parameters = {leader: activation_parameters(*ranges[leader]) for leader in set(group_of.values())}
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes, initializers = [], {}

    def constant(name, array):
        initializers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def activation(name):
        scale, zero = parameters[group_of[name]]
        pair = [constant(group_of[name] + "_scale", scale), constant(group_of[name] + "_zero", zero)]
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
            weight, bias = weights[node.input[1]], weights[node.input[2]]
            weight_scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-8).astype(np.float32) / np.float32(127)
            integers = np.clip(np.rint(weight / weight_scale[:, None, None, None]), -127, 127).astype(np.int8)
            bias_scale = (parameters[group_of[node.input[0]]][0] * weight_scale).astype(np.float32)
            copy.input[1] = stored(node.input[1], integers, weight_scale)
            copy.input[2] = stored(node.input[2], np.rint(bias / bias_scale).astype(np.int32), bias_scale)
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
