"""Converts NanoDet from a TensorFlow.js graph model to a float ONNX model, without TensorFlow.

The source graph is NHWC convolutions wrapped in transposes. The walk below keeps every tensor in
NCHW and only notes, per tensor, how the source sees its axes, so that all transposes but the six
at the outputs vanish. Three further changes, all exact:

- a pad goes into the convolution or max-pool after it;
- the last convolution of a head (80 classes + 44 box bins, then a split) becomes two convolutions,
  so that scores and boxes get quantisation ranges of their own;
- a resize takes constant scales and a reshape takes -1, so that one file serves every input whose
  sides are multiples of 32.

An operator that the source does not use today is an error here, never a guess.
"""

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .errors import WorkshopError
from .layout import BOX_BINS, CLASSES, INPUT_NAME, STRIDES, box_output, score_output

OPSET = 13
# Opset 13 needs no later file format; an older one is read by more runtimes.
IR_VERSION = 8
SOURCE_SIDE = 416

NCHW = (0, 1, 2, 3)


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor in NCHW, and how the source sees it.

    `axes[i]` is the NCHW axis that the source's axis i stands for. `pads` (top, left, bottom,
    right) are still to be taken in by the next operator. `side` is the height, and width, that
    the tensor has for the source's own 416x416 input.
    """

    name: str
    side: int
    axes: tuple = NCHW
    pads: tuple = (0, 0, 0, 0)
    pad_value: float = 0.0


class _Converter:
    def __init__(self, nodes, constants):
        self.constants = constants
        self.by_name = {node["name"]: node for node in nodes}
        self.onnx_nodes = []
        self.initializers = []
        self.tensors = {}
        self.counts = {}

    # Reading the source.

    def constant(self, name):
        if name not in self.constants:
            raise WorkshopError(f"{name} is not a constant in the source graph")
        return self.constants[name]

    def tensor(self, name):
        """The tensor of a source node, converting that node and what it needs first."""
        if name not in self.tensors:
            node = self.by_name[name]
            handler = getattr(self, "on_" + node["op"].lower(), None)
            if handler is None:
                raise WorkshopError(f"{name}: the converter does not know the operator {node['op']}")
            self.tensors[name] = handler(node)
        return self.tensors[name]

    # Writing ONNX.

    def emit(self, op, inputs, output, **attributes):
        self.onnx_nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def next_name(self, prefix):
        number = self.counts.get(prefix, 0)
        self.counts[prefix] = number + 1
        return f"{prefix}_{number:02d}"

    def weight(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    # One method per operator of the source.

    def on_placeholder(self, _node):
        return Tensor(INPUT_NAME, SOURCE_SIDE)

    def on_transpose(self, node):
        source = self.tensor(node["input"][0])
        perm = self.constant(node["input"][1])
        return Tensor(source.name, source.side, tuple(source.axes[p] for p in perm), source.pads, source.pad_value)

    def on_pad(self, node):
        source = self.tensor(node["input"][0])
        before_after = [(0, 0)] * 4
        for axis, pair in zip(source.axes, self.constant(node["input"][1])):
            before_after[axis] = (int(pair[0]), int(pair[1]))
        if before_after[:2] != [(0, 0), (0, 0)] or any(source.pads):
            raise WorkshopError(f"{node['name']}: only one pad of height and width is expected")
        (top, bottom), (left, right) = before_after[2:]
        value = float(self.constant(node["input"][2])) if node["op"] == "PadV2" else 0.0
        return Tensor(source.name, source.side, source.axes, (top, left, bottom, right), value)

    on_padv2 = on_pad

    def on_conv2d(self, node):
        raise WorkshopError(f"{node['name']}: a convolution is expected to be followed by its bias")

    def on_add(self, node):
        left, right = node["input"]
        if self.by_name[left]["op"] == "Conv2D":
            return self.convolution(self.by_name[left], self.constant(right))
        a, b = self.tensor(left), self.tensor(right)
        if a.axes != b.axes or any(a.pads) or any(b.pads):
            raise WorkshopError(f"{node['name']}: adds tensors of different layouts")
        return Tensor(self.emit("Add", [a.name, b.name], self.next_name("add")), a.side, a.axes)

    def convolution(self, node, bias):
        source, weights, stride = self.convolution_parts(node)
        return self.emit_convolution(source, weights, bias, stride, self.next_name("conv"))

    def convolution_parts(self, node):
        source = self.tensor(node["input"][0])
        attributes = node["attr"]
        strides = [int(i) for i in attributes["strides"]["list"]["i"]]
        dilations = [int(i) for i in attributes["dilations"]["list"]["i"]]
        padding = base64.b64decode(attributes["padding"]["s"]).decode()
        expected = (source.axes == (0, 2, 3, 1) and padding == "VALID" and dilations == [1] * 4
                    and strides[1] == strides[2] and source.pad_value == 0.0)
        if not expected:
            raise WorkshopError(f"{node['name']}: only plain NHWC convolutions are expected")
        return source, self.constant(node["input"][1]).transpose(3, 2, 0, 1), strides[1]

    def emit_convolution(self, source, weights, bias, stride, name):
        kernel = weights.shape[2]
        side = (source.side + source.pads[0] + source.pads[2] - kernel) // stride + 1
        inputs = [source.name, self.weight(name + "_weight", weights), self.weight(name + "_bias", bias)]
        self.emit("Conv", inputs, name, kernel_shape=list(weights.shape[2:]), strides=[stride] * 2,
                  pads=list(source.pads), dilations=[1, 1], group=1)
        return Tensor(name, side, (0, 2, 3, 1))

    def on_leakyrelu(self, node):
        source = self.tensor(node["input"][0])
        name = self.emit("LeakyRelu", [source.name], self.next_name("leaky"), alpha=float(node["attr"]["alpha"]["f"]))
        return Tensor(name, source.side, source.axes)

    def on_maxpool(self, node):
        source = self.tensor(node["input"][0])
        kernel = [int(i) for i in node["attr"]["ksize"]["list"]["i"]]
        strides = [int(i) for i in node["attr"]["strides"]["list"]["i"]]
        # ONNX pads a max-pool with minus infinity; the source's value must be below any activation.
        if source.axes != (0, 2, 3, 1) or source.pad_value > -1e6:
            raise WorkshopError(f"{node['name']}: not the max-pool that is expected")
        name = self.emit("MaxPool", [source.name], self.next_name("pool"), kernel_shape=kernel[1:3],
                         strides=strides[1:3], pads=list(source.pads))
        side = (source.side + source.pads[0] + source.pads[2] - kernel[1]) // strides[1] + 1
        return Tensor(name, side, source.axes)

    def on_concatv2(self, node):
        sources = [self.tensor(name) for name in node["input"][:-1]]
        axis = sources[0].axes[int(self.constant(node["input"][-1]))]
        if any(s.axes != sources[0].axes or any(s.pads) for s in sources):
            raise WorkshopError(f"{node['name']}: joins tensors of different layouts")
        name = self.emit("Concat", [s.name for s in sources], self.next_name("concat"), axis=axis)
        return Tensor(name, sources[0].side, sources[0].axes)

    def on_resizebilinear(self, node):
        source = self.tensor(node["input"][0])
        height, width = (int(i) for i in self.constant(node["input"][1]))
        centres = node["attr"]["half_pixel_centers"]["b"] and not node["attr"]["align_corners"]["b"]
        if source.axes != (0, 2, 3, 1) or height != width or not centres:
            raise WorkshopError(f"{node['name']}: not the resize that is expected")
        scale = height / source.side
        if scale not in (0.5, 2.0):
            raise WorkshopError(f"{node['name']}: resizes by {scale}; 0.5 or 2 is expected")
        scales = f"scales_{'half' if scale == 0.5 else 'double'}"
        if all(i.name != scales for i in self.initializers):
            self.weight(scales, np.array([1, 1, scale, scale], dtype=np.float32))
        name = self.emit("Resize", [source.name, "", scales], self.next_name("resize"), mode="linear",
                         coordinate_transformation_mode="half_pixel")
        return Tensor(name, height, source.axes)

    # The heads.

    def head(self, output_of_scores, output_of_boxes, classes, bins):
        """Follows both outputs of a head back to their common convolution and writes two of them."""
        reshape, transposes = self.back(output_of_scores, "Reshape")
        sigmoid = self.by_name[reshape["input"][0]]
        split = self.by_name[sigmoid["input"][0].split(":")[0]]
        box_reshape, box_transposes = self.back(output_of_boxes, "Reshape")
        expected = (sigmoid["op"] == "Sigmoid" and split["op"] == "SplitV" and transposes == box_transposes == 1
                    and box_reshape["input"][0] == split["name"] + ":1"
                    and list(self.constant(split["input"][1])) == [classes, bins])
        if not expected:
            raise WorkshopError(f"{output_of_scores}: not the head that is expected")
        add, _ = self.back(split["input"][0], "Add")
        source, weights, stride = self.convolution_parts(self.by_name[add["input"][0]])
        bias = self.constant(add["input"][1])
        level = STRIDES.index(SOURCE_SIDE // source.side)
        stride_of_level = STRIDES[level]

        scores, boxes = score_output(stride_of_level), box_output(stride_of_level)
        conv_scores = self.emit_convolution(source, weights[:classes], bias[:classes], stride, f"conv_{scores}")
        conv_boxes = self.emit_convolution(source, weights[classes:], bias[classes:], stride, f"conv_{boxes}")
        sigmoid_name = self.emit("Sigmoid", [conv_scores.name], f"sigmoid_{stride_of_level}")
        self.rows(sigmoid_name, classes, scores)
        self.rows(conv_boxes.name, bins, boxes)
        return level

    def back(self, name, op):
        """The nearest node of the kind `op` upstream through identities and transposes, and their count."""
        transposes = 0
        node = self.by_name[name]
        while node["op"] != op:
            if node["op"] not in ("Identity", "Transpose"):
                raise WorkshopError(f"{name}: {op} is expected upstream, found {node['op']}")
            transposes += node["op"] == "Transpose"
            node = self.by_name[node["input"][0]]
        return node, transposes

    def rows(self, source, channels, output):
        """1xCxHxW to 1xNxC, cell by cell in row order."""
        shape = f"shape_{channels}"
        if all(i.name != shape for i in self.initializers):
            self.weight(shape, np.array([1, channels, -1], dtype=np.int64))
        flat = self.emit("Reshape", [source, shape], f"{output}_flat")
        self.emit("Transpose", [flat], output, perm=[0, 2, 1])


def read_constants(topology, manifest, data):
    """The constants by name; half-precision values become float32, which is exact."""
    constants = {}
    offset = 0
    for group in manifest:
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            dtype = np.dtype(stored).newbyteorder("<")
            count = math.prod(entry["shape"])
            array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
            constants[entry["name"]] = array.astype(entry["dtype"])
            offset += count * dtype.itemsize
    if offset != len(data):
        raise WorkshopError(f"the weight file has {len(data)} bytes, its description {offset}")
    return constants


def convert(json_file: Path, weights_file: Path) -> onnx.ModelProto:
    """The float ONNX model of the TensorFlow.js graph model."""
    source = json.loads(json_file.read_text())
    topology = source["modelTopology"]
    constants = read_constants(topology, source["weightsManifest"], weights_file.read_bytes())
    converter = _Converter(topology["node"], constants)

    # The signature says which output is which: N x 80 or N x 44, with N cells of one stride.
    outputs = {}
    for name, entry in source["signature"]["outputs"].items():
        _, cells, channels = (int(d["size"]) for d in entry["tensorShape"]["dim"])
        outputs[cells, channels] = name.split(":")[0]
    for stride in STRIDES:
        cells = (SOURCE_SIDE // stride) ** 2
        converter.head(outputs[cells, CLASSES], outputs[cells, BOX_BINS], CLASSES, BOX_BINS)

    image = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [1, 3, "height", "width"])
    described = []
    for name_of, channels in ((score_output, CLASSES), (box_output, BOX_BINS)):
        for stride in STRIDES:
            shape = [1, f"cells_{stride}", channels]
            described.append(helper.make_tensor_value_info(name_of(stride), TensorProto.FLOAT, shape))
    graph = helper.make_graph(converter.onnx_nodes, "nanodet-g", [image], described, converter.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="kerbside workshop")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
