"""Writes the quantised networks of `src/int8/tests`: `python make_int8.py` in this folder.

Needs onnx, onnxruntime and numpy. Every case is a small QDQ graph under `int8/` and one row an output in
`int8/cases.csv`:

- `path`: `whole`, `mixed` or `tract`; `layers`: the kinds of layers that the int8 engine makes of it;
- `tolerance`: how far a value may be from another engine's: every rounding may fall to the other side of a tie, so
  each adds one step of its scale, and what follows multiplies that by at most its Lipschitz constant;
- `near`: how far nearly all values are, those that no other rounding has touched: float arithmetic, and biases that
  the int8 engine rounds to whole steps;
- `values`: up to 16 values, spread evenly, computed by onnxruntime without its optimisations.

Input values are `(byte - 128) / 64`, the bytes from a generator that the test has too.
"""

import csv
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path("int8")
KEPT = 16
FLOATS = 1e-5


def image(height, width):
    """The input: bytes of a linear congruential generator, as the tests make them."""
    state, values = 1, np.empty(3 * height * width, np.float32)
    for at in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[at] = ((state >> 24) - 128) / 64
    return values.reshape(1, 3, height, width)


class Value:
    """A float tensor: its values, how far they may be off, and how far they usually are."""

    def __init__(self, name, values, off, noise, scale=None):
        self.name, self.values, self.off, self.noise, self.scale = name, values, off, noise, scale


class Net:
    def __init__(self, name, path, layers, size=(9, 11), byte=np.uint8, sides=None, opset=17):
        self.name, self.path, self.layers, self.byte, self.opset = name, path, layers, byte, opset
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.constants, self.outputs = [], {}, []
        self.picture = image(*size)
        self.image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *(sides or size)])
        zero = 128 if byte == np.uint8 else 0
        self.input = self.quantise(Value("image", self.picture, 0, 0), scale=1 / 64, zero=zero, exact=True)

    def fresh(self, kind):
        return f"{kind}{len(self.nodes)}"

    def constant(self, kind, values):
        name = f"{kind}_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def model(self, outputs):
        graph = helper.make_graph(self.nodes, "g", [self.image], outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        return model

    def run(self, name):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        wanted = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        session = onnxruntime.InferenceSession(self.model([wanted]).SerializeToString(), options)
        return session.run([name], {"image": self.picture})[0]

    def op(self, kind, *inputs, lipschitz=1.0, **attributes):
        """Any operator; inputs that are no values are constants."""
        values = [at for at in inputs if isinstance(at, Value)]
        name = self.fresh(kind.lower())
        names = [at.name if isinstance(at, Value) else "" if at is None else self.constant("c", at) for at in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], **attributes))
        made = self.run(name)
        total = sum if kind == "Add" else max
        off = lipschitz * total(at.off for at in values)
        usual = lipschitz * total(at.noise for at in values) + FLOATS * np.abs(made).max()
        return Value(name, made, off + FLOATS * np.abs(made).max(), usual)

    def quantise(self, value, scale=None, zero=None, exact=False, byte=None, scale_read=None):
        """Rounds to 8 bits and back. The range is a little less than that of the values, so that some are cut."""
        byte = byte or self.byte
        limits = np.iinfo(byte)
        if scale is None:
            low, high = min(0.0, value.values.min() * 0.9), max(0.0, value.values.max() * 0.9)
            scale = max(high - low, 1e-3) / 255
            zero = int(np.clip(round(limits.min - low / scale), limits.min, limits.max))
        scale = np.float32(scale)
        parameters = [self.constant("s", scale), self.constant("z", byte(zero))]
        bytes_name, name = self.fresh("q"), self.fresh("d")
        self.nodes.append(helper.make_node("QuantizeLinear", [value.name, *parameters], [bytes_name]))
        if scale_read is not None:
            parameters[0] = self.constant("s", np.float32(scale_read))
        self.nodes.append(helper.make_node("DequantizeLinear", [bytes_name, *parameters], [name]))
        made = value.values if exact else self.run(name)
        # One step for the rounding that falls to the other side; whole steps of what was off before.
        off = 0 if exact else value.off + scale
        made = Value(name, made, off, FLOATS * np.abs(made).max(), scale)
        made.bytes, made.zero = bytes_name, zero
        return made

    def weights(self, shape, per_channel, byte=np.int8, zero=0):
        limits = np.iinfo(byte)
        values = self.random.integers(limits.min, limits.max + 1, shape).astype(byte)
        fan = np.prod(shape[1:])
        count = shape[0] if per_channel else 1
        scales = (self.random.uniform(0.5, 1.5, count) / (64 * np.sqrt(fan))).astype(np.float32)
        scale = scales if per_channel else scales[0]
        zeros = np.full(count, zero, byte) if per_channel else byte(zero)
        name = self.fresh("w")
        inputs = [self.constant("w", values), self.constant("s", scale)]
        if zero:
            inputs.append(self.constant("z", zeros))
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
        real = (values.astype(np.float64) - zero) * scales.reshape(-1, 1, 1, 1)
        return name, np.broadcast_to(scales, shape[:1]), np.abs(real).reshape(shape[0], -1).sum(1).max()

    def conv(self, value, channels, size=(1, 1), bias="int32", per_channel=True, shared=None, group=1, **attributes):
        made = shared or self.weights((channels, value.values.shape[1] // group, *size), per_channel)
        weights, scales, lipschitz = made
        inputs, noise = [value.name, weights], 0.0
        if bias:
            steps = value.scale * scales
            real = self.random.uniform(-0.5, 0.5, channels)
            if bias == "float":
                inputs.append(self.constant("b", real.astype(np.float32)))
                noise = steps.max() / 2
            elif bias == "aligned":
                inputs.append(self.constant("b", (np.round(real / steps) * steps).astype(np.float32)))
            else:
                whole = np.round(real / steps).astype(np.int32)
                name = self.fresh("b")
                constants = [self.constant("b", whole), self.constant("s", steps.astype(np.float32))]
                self.nodes.append(helper.make_node("DequantizeLinear", constants, [name], axis=0))
                inputs.append(name)
        name = self.fresh("conv")
        attributes = {"group": group, "kernel_shape": size, **attributes}
        self.nodes.append(helper.make_node("Conv", inputs, [name], **attributes))
        result = self.run(name)
        noise += FLOATS * np.abs(result).max()
        return Value(name, result, lipschitz * value.off + noise, noise)

    def stem(self, channels=8, **attributes):
        """A first convolution of the picture, quantised."""
        value = self.conv(self.input, channels, (3, 3), None, False, pads=[1] * 4, **attributes)
        return self.quantise(value)

    def head(self, value, channels=8, sigmoid=False):
        """Floats, pixels before channels."""
        value = self.conv(value, channels)
        if sigmoid:
            value = self.op("Sigmoid", value, lipschitz=0.25)
        value = self.op("Reshape", value, np.array([1, channels, -1], np.int64))
        self.out(self.op("Transpose", value, perm=[0, 2, 1]))

    def out(self, *values):
        self.outputs.extend(values)

    def write(self, table):
        infos = [helper.make_tensor_value_info(at.name, TensorProto.FLOAT, [None] * at.values.ndim)
                 for at in self.outputs]
        model = self.model(infos)
        onnx.checker.check_model(model, full_check=True)
        path = FOLDER / f"{self.name}.onnx"
        onnx.save(model, path)
        assert path.stat().st_size < 20_000, self.name
        for at in self.outputs:
            flat = at.values.reshape(-1)
            step = -(-flat.size // KEPT)
            values = " ".join(f"{value:.7g}" for value in flat[::step])
            row = [self.name, self.path, "+".join(sorted(self.layers.split("+"))), at.name]
            table.writerow([*row, f"{at.off:.4g}", f"{at.noise:.4g}", flat.size, values])


CASES = []


def case(*arguments, **options):
    """Notes a case; the function draws the graph."""
    def note(draw):
        CASES.append((arguments, options, draw))
        return draw
    return note


def bytes_case(name, layers, draw, path="mixed", **options):
    """A case whose one output is a dequantised tensor."""
    def whole(net):
        net.out(draw(net))
    case(name, path, layers, **options)(whole)


# Convolutions.

def convolution(name, size, channels=12, cin=None, layers=None, path="mixed", net=None, **attributes):
    stem = "convolution+" if cin else ""
    def draw(net):
        value = net.stem(cin) if cin else net.input
        return net.quantise(net.conv(value, channels, size, **attributes))
    bytes_case(name, stem + "convolution" if layers is None else layers, draw, path, **(net or {}))


for byte, kind in ((np.uint8, "u8"), (np.int8, "i8")):
    both = {"net": {"byte": byte}}
    convolution(f"conv_1x1_{kind}", (1, 1), **both)
    convolution(f"conv_3x3_{kind}", (3, 3), pads=[1] * 4, **both)
    convolution(f"conv_3x3_stride_2_{kind}", (3, 3), pads=[1] * 4, strides=[2, 2], **both)
    convolution(f"depthwise_3x3_{kind}", (3, 3), cin=12, channels=12, group=12, pads=[1] * 4,
                layers="convolution+depthwise convolution", **both)
convolution("conv_5x3_asymmetric", (5, 3), pads=[2, 0, 1, 2], cin=8)
convolution("conv_strides_1_2", (3, 3), pads=[0, 1, 1, 0], strides=[1, 2])
convolution("conv_same_upper", (3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
convolution("conv_same_lower", (4, 4), auto_pad="SAME_LOWER", strides=[2, 2])
convolution("conv_dilation_2", (3, 3), pads=[2] * 4, dilations=[2, 2], cin=8)
convolution("conv_no_bias", (3, 3), pads=[1] * 4, bias=None)
convolution("conv_float_bias", (3, 3), pads=[1] * 4, bias="float")
convolution("conv_aligned_bias", (3, 3), pads=[1] * 4, bias="aligned")
convolution("conv_per_tensor", (3, 3), pads=[1] * 4, per_channel=False)
convolution("conv_per_tensor_no_bias", (3, 3), bias=None, per_channel=False)
for cin, channels in ((8, 17), (6, 16), (7, 44), (16, 80), (18, 5), (17, 33)):
    convolution(f"conv_{cin}_to_{channels}", (1, 1), cin=cin, channels=channels)
convolution("conv_to_1", (5, 5), channels=1, pads=[2] * 4)
convolution("conv_17_to_1", (3, 3), cin=17, channels=1, pads=[1] * 4)
convolution("depthwise_stride_2", (3, 3), cin=9, channels=9, group=9, pads=[1] * 4, strides=[2, 2],
            layers="convolution+depthwise convolution")
convolution("depthwise_40", (3, 3), cin=40, channels=40, group=40, pads=[1, 1, 0, 0], bias=None,
            layers="convolution+depthwise convolution")
convolution("depthwise_per_tensor", (5, 5), cin=8, channels=8, group=8, pads=[2] * 4, per_channel=False,
            layers="convolution+depthwise convolution")
convolution("conv_grouped", (3, 3), cin=8, channels=16, group=4, layers="convolution")
convolution("conv_padding_wider_than_window", (3, 3), pads=[4] * 4, layers="", path="tract")


@case("conv_u8_weights", "mixed", "convolution")
def _(net):
    value = net.stem(8)
    shared = net.weights((16, 8, 1, 1), True, np.uint8, 128)
    net.out(net.quantise(net.conv(value, 16, shared=shared)))


@case("conv_shared_weights", "mixed", "convolution+convolution+convolution")
def _(net):
    value = net.stem(16)
    shared = net.weights((16, 16, 1, 1), True)
    value = net.quantise(net.conv(value, 16, shared=shared))
    net.out(net.quantise(net.conv(value, 16, shared=shared, bias=None)))


@case("conv_read_by_bytes_and_floats", "mixed", "convolution")
def _(net):
    value = net.conv(net.input, 12, (3, 3))
    net.out(net.quantise(value), net.op("Relu", value))


# Activations: directly between convolution and rounding, and with a rounding before them.

CLIP = [np.float32(0), np.float32(0.7)]
ACTIVATIONS = {
    "relu": (lambda net, v: net.op("Relu", v), True),
    "relu6": (lambda net, v: net.op("Clip", v, *CLIP), True),
    "clip_low": (lambda net, v: net.op("Clip", v, np.float32(-0.4)), True),
    "clip_high": (lambda net, v: net.op("Clip", v, None, np.float32(0.4)), True),
    "clip_both": (lambda net, v: net.op("Clip", v, np.float32(-0.3), np.float32(0.5)), True),
    "clip_swapped": (lambda net, v: net.op("Clip", v, np.float32(0.5), np.float32(0.3)), False),
    "leaky": (lambda net, v: net.op("LeakyRelu", v, alpha=0.1), True),
    "leaky_steep": (lambda net, v: net.op("LeakyRelu", v, alpha=1.5, lipschitz=1.5), False),
    "hard_swish": (lambda net, v: net.op("HardSwish", v, lipschitz=1.5), True),
    "sigmoid": (lambda net, v: net.op("Sigmoid", v, lipschitz=0.25), True),
    "silu": (lambda net, v: silu(net, v), True),
}


def silu(net, value):
    made = net.op("Mul", value, net.op("Sigmoid", value), lipschitz=1.1)
    return made


def silu_rounded(net, value):
    gate = net.quantise(net.op("Sigmoid", value, lipschitz=0.25))
    made = net.op("Mul", value, gate)
    made.off = value.off + np.abs(value.values).max() * gate.off
    return made


for name, (activation, fused) in ACTIVATIONS.items():
    for byte, kind in ((np.uint8, ""), (np.int8, "_i8")):
        if kind and name not in ("leaky", "silu", "relu6"):
            continue
        bytes_case(f"conv_{name}{kind}", "convolution",
                   lambda net, activation=activation: net.quantise(
                       activation(net, net.conv(net.input, 12, (3, 3), pads=[1] * 4))), byte=byte)
        bytes_case(f"table_{name}{kind}", "convolution+table",
                   lambda net, activation=activation: net.quantise(activation(net, net.stem())), byte=byte)
for byte, kind in ((np.uint8, ""), (np.int8, "_i8")):
    bytes_case(f"table_silu_rounded{kind}", "convolution+table",
               lambda net: net.quantise(silu_rounded(net, net.stem())), byte=byte)
bytes_case("table_requantised", "convolution+table",
           lambda net: net.quantise((lambda v: Value(v.name, v.values, v.off, v.noise))(net.stem()), 0.02, 90))
bytes_case("table_tanh_and_scale", "convolution+table",
           lambda net: net.quantise(net.op("Mul", net.op("Tanh", net.stem()), np.float32(3), lipschitz=3)))


# Pools.

def pool(name, layers, op, **attributes):
    def draw(net):
        value = net.stem(10)
        # A mean of four bytes lies between two of them too often for that scale.
        scale = value.scale * (0.9 if op == "AveragePool" else 1)
        return net.quantise(net.op(op, value, **attributes), scale, value.zero)
    bytes_case(name, layers, draw)


pool("max_pool_2", "convolution+max-pool", "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
pool("max_pool_3_padded", "convolution+max-pool", "MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
pool("max_pool_3_stride_2", "convolution+max-pool", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
pool("max_pool_5_same", "convolution+max-pool", "MaxPool", kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)
pool("max_pool_ceil", "convolution+max-pool", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
pool("max_pool_ceil_padded", "convolution+max-pool", "MaxPool", kernel_shape=[3, 3], strides=[2, 2],
     pads=[1, 0, 0, 1], ceil_mode=1)
pool("max_pool_dilated", "convolution", "MaxPool", kernel_shape=[2, 2], dilations=[2, 2])
pool("average_pool", "convolution", "AveragePool", kernel_shape=[2, 2], strides=[2, 2])
bytes_case("max_pool_other_scale", "convolution",
           lambda net: net.quantise(net.op("MaxPool", net.stem(10), kernel_shape=[2, 2]), 0.03, 100))


# Sums.

def two(net, channels=12):
    value = net.stem(channels)
    return value, net.quantise(net.conv(value, channels))


bytes_case("add", "convolution+convolution+add", lambda net: net.quantise(net.op("Add", *two(net))))
bytes_case("add_i8", "convolution+convolution+add", lambda net: net.quantise(net.op("Add", *two(net))), byte=np.int8)
bytes_case("add_relu", "convolution+convolution+add",
           lambda net: net.quantise(net.op("Relu", net.op("Add", *two(net, 7)))))
bytes_case("add_clip", "convolution+convolution+add",
           lambda net: net.quantise(net.op("Clip", net.op("Add", *two(net)), np.float32(-0.5), np.float32(0.6))))
bytes_case("add_clip_high", "convolution+convolution+add",
           lambda net: net.quantise(net.op("Clip", net.op("Add", *two(net)), None, np.float32(0.6))))
bytes_case("add_clip_low", "convolution+convolution+add",
           lambda net: net.quantise(net.op("Clip", net.op("Add", *two(net)), np.float32(-0.5))))
bytes_case("add_leaky", "convolution+convolution+add",
           lambda net: net.quantise(net.op("LeakyRelu", net.op("Add", *two(net)), alpha=0.2)))
bytes_case("add_silu", "convolution+convolution", lambda net: net.quantise(silu(net, net.op("Add", *two(net)))))
bytes_case("add_to_itself", "convolution+add", lambda net: net.quantise((lambda v: net.op("Add", v, v))(net.stem())))
bytes_case("add_constant", "convolution+table", lambda net: net.quantise(net.op("Add", net.stem(), np.float32(0.3))))
bytes_case("add_one_a_channel", "convolution", lambda net: net.quantise(
    net.op("Add", net.stem(12), np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 12, 1, 1))))


@case("add_of_one_pixel", "mixed", "convolution+convolution")
def _(net):
    value = net.stem(12)
    small = net.quantise(net.conv(value, 12, (3, 3), strides=[9, 9]))
    small = net.op("Slice", small, np.array([0]), np.array([1]), np.array([3]))
    net.out(net.quantise(net.op("Add", value, small)))


# Concats.

def alike(net, *channels, scale=0.015, zero=120):
    """Tensors with equal scales."""
    zero = zero if net.byte == np.uint8 else zero - 128
    value = net.stem(8)
    return [net.quantise(net.conv(value, count), scale, zero) for count in channels]


def joined(net, values, scale=0.015, zero=120):
    zero = zero if net.byte == np.uint8 else zero - 128
    return net.quantise(net.op("Concat", *values, axis=1), scale, zero)


def concat(name, convolutions, concats, draw, more="", **options):
    layers = "+".join(["convolution"] * convolutions + ["concat"] * concats) + more
    bytes_case(name, layers, draw, **options)


concat("concat", 3, 1, lambda net: joined(net, alike(net, 8, 12)))
concat("concat_i8", 3, 1, lambda net: joined(net, alike(net, 8, 12)), byte=np.int8)
concat("concat_odd_channels", 4, 1, lambda net: joined(net, alike(net, 9, 10, 11)))
concat("concat_other_scale", 3, 1, lambda net: joined(net, alike(net, 8, 12), 0.02, 100))
concat("concat_nested", 4, 2, lambda net: (lambda a, b, c: joined(net, [joined(net, [a, b]), c]))(*alike(net, 8, 12, 16)))
concat("concat_nested_odd", 4, 2,
       lambda net: (lambda a, b, c: joined(net, [c, joined(net, [a, b])]))(*alike(net, 9, 10, 11)))
concat("concat_twice_the_same", 3, 1, lambda net: (lambda a, b: joined(net, [a, b, a]))(*alike(net, 8, 12)))
concat("concat_in_two", 4, 3, lambda net: (lambda a, b, c: joined(
    net, [joined(net, [a, b]), joined(net, [c, a])]))(*alike(net, 8, 12, 9)))
concat("concat_inner_twice", 3, 2, lambda net: (lambda a, b: (lambda ab: joined(
    net, [ab, b, ab]))(joined(net, [a, b])))(*alike(net, 8, 9)))


@case("concat_read_by_windows", "whole", "+".join(["convolution"] * 6) + "+concat+max-pool")
def _(net):
    a, b = alike(net, 8, 12)
    more = net.quantise(net.conv(a, 8, (3, 3), pads=[1] * 4), 0.015, 120)
    pooled = net.quantise(net.op("MaxPool", b, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4), 0.015, 120)
    value = joined(net, [a, more, b, pooled])
    value = net.quantise(net.conv(value, 8, (5, 3), pads=[2, 1, 2, 1]))
    net.head(value)


for odd in (6, 9):
    @case(f"concat_with_what_is_made_of_it_{odd}", "whole", "+".join(["convolution"] * 5) + "+concat")
    def _(net, odd=odd):
        value = net.stem(8)
        a = net.quantise(net.conv(value, odd + 6), 0.015, 120)
        b = net.quantise(net.conv(a, odd, (3, 3), pads=[1] * 4), 0.015, 120)
        c = net.quantise(net.conv(b, odd, (3, 3), pads=[1] * 4), 0.015, 120)
        net.head(joined(net, [c, a, b]))


@case("concat_with_the_input", "whole", "convolution+convolution+concat")
def _(net):
    value = net.quantise(net.conv(net.input, 21, (3, 3), pads=[1] * 4), 1 / 64, 128)
    net.head(joined(net, [value, net.input], 1 / 64, 128))


@case("concat_that_begins_with_the_input", "whole", "convolution+convolution+concat")
def _(net):
    value = net.quantise(net.conv(net.input, 8, (3, 3), pads=[1] * 4), 1 / 64, 128)
    net.head(joined(net, [net.input, value], 1 / 64, 128))


@case("concat_read_further", "mixed", "convolution+convolution+convolution+convolution+concat")
def _(net):
    a, b = alike(net, 8, 12)
    both = joined(net, [a, b])
    net.out(both, a, net.conv(both, 8, (3, 3), pads=[1] * 4))


bytes_case("concat_of_rows", "convolution+convolution+convolution",
           lambda net: net.quantise(net.op("Concat", *alike(net, 8, 8), axis=2), 0.015, 120))

# Resizes.

TWO = np.array([1, 1, 2, 2], np.float32)
HALF = np.array([1, 1, 0.5, 0.5], np.float32)
RESIZES = {
    "nearest": dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor", scales=TWO),
    "nearest_half_pixel": dict(mode="nearest", scales=TWO),
    "linear": dict(mode="linear", coordinate_transformation_mode="half_pixel", scales=TWO),
    "linear_half": dict(mode="linear", coordinate_transformation_mode="half_pixel", scales=HALF),
    "linear_asymmetric": dict(mode="linear", coordinate_transformation_mode="asymmetric", scales=TWO),
    "linear_corners": dict(mode="linear", coordinate_transformation_mode="align_corners", scales=TWO),
    "linear_pytorch": dict(mode="linear", coordinate_transformation_mode="pytorch_half_pixel", scales=TWO),
}


def resized(net, value, scales=None, sizes=None, **attributes):
    inputs = [value, None, scales] if sizes is None else [value, None, None, sizes]
    return net.op("Resize", *inputs, **attributes)


for name, attributes in RESIZES.items():
    bytes_case(f"resize_{name}", "convolution+resize",
               lambda net, attributes=attributes: net.quantise(resized(net, net.stem(6), **attributes)))
bytes_case("resize_by_sizes", "convolution+resize", lambda net: net.quantise(
    resized(net, net.stem(6), sizes=np.array([1, 6, 13, 8], np.int64), mode="linear")))
bytes_case("resize_same_scale", "convolution+resize", lambda net: (lambda v: net.quantise(
    resized(net, v, **RESIZES["nearest"]), v.scale, v.zero))(net.stem(6)))
bytes_case("resize_cubic", "convolution", lambda net: net.quantise(
    resized(net, net.stem(6), scales=TWO, mode="cubic")))
bytes_case("resize_relu", "convolution+resize",
           lambda net: net.quantise(net.op("Relu", resized(net, net.stem(6), **RESIZES["linear"]))))


def coarse(net):
    value = net.stem(12)
    return value, net.quantise(net.conv(value, 12, (3, 3), pads=[1] * 4, strides=[2, 2]))


for name in ("nearest", "linear"):
    bytes_case(f"resize_{name}_and_add", "convolution+convolution+resize and add",
               lambda net, name=name: (lambda fine, small: net.quantise(
                   net.op("Add", fine, resized(net, small, **RESIZES[name]))))(*coarse(net)), size=(8, 12))
bytes_case("resize_both_and_add", "convolution+convolution+resize and add", lambda net: (lambda a, b: net.quantise(
    net.op("Add", resized(net, a, **RESIZES["linear"]), resized(net, b, **RESIZES["nearest"]))))(*two(net)))


# Heads and whole networks.

@case("head_sigmoid", "whole", "convolution+convolution")
def _(net):
    net.head(net.stem(), sigmoid=True)


@case("head_plain", "whole", "convolution+convolution")
def _(net):
    net.head(net.stem())


@case("heads", "whole", "+".join(["convolution"] * 5) + "+max-pool", byte=np.int8)
def _(net):
    value = net.stem()
    net.head(value, 5, sigmoid=True)
    pooled = net.quantise(net.op("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2]), value.scale, value.zero)
    net.head(pooled, 17)
    net.head(pooled, 4, sigmoid=True)
    net.head(value, 33)


@case("head_planar", "mixed", "convolution+convolution")
def _(net):
    net.out(net.op("Sigmoid", net.conv(net.stem(), 7), lipschitz=0.25))


@case("head_planar_plain", "mixed", "convolution+convolution")
def _(net):
    net.out(net.conv(net.stem(), 7))


@case("heads_dynamic", "whole", "convolution+convolution+convolution+max-pool+resize and add",
      sides=("height", "width"), size=(8, 12))
def _(net):
    value = net.stem(8, strides=[1, 1])
    small = net.quantise(net.conv(value, 8, (3, 3), pads=[1] * 4, strides=[2, 2]))
    sum_ = net.quantise(net.op("Add", value, resized(net, small, **RESIZES["linear"])))
    pooled = net.quantise(net.op("MaxPool", sum_, kernel_shape=[2, 2], strides=[2, 2]), sum_.scale, sum_.zero)
    net.head(pooled)


# Floats in between.

def gate(net, value):
    """Each channel times the sigmoid of its mean."""
    mean = net.op("GlobalAveragePool", value)
    made = net.op("Mul", value, net.op("Sigmoid", mean, lipschitz=0.25))
    made.off = value.off + np.abs(value.values).max() * mean.off * 0.25
    return net.quantise(made)


MIDDLES = {
    "softmax": lambda net, value: net.quantise(net.op("Softmax", value, axis=1, lipschitz=1)),
    "erf": lambda net, value: net.quantise(net.op("Erf", value, lipschitz=1.2)),
    "gate": gate,
    "transposed": lambda net, value: net.quantise(net.op("Transpose", value, perm=[0, 1, 3, 2])),
}
for name, middle in MIDDLES.items():
    table = "+table" if name == "erf" else ""
    @case(f"middle_{name}", "whole" if table else "mixed", "convolution+convolution" + table)
    def _(net, middle=middle):
        net.head(middle(net, net.stem()))


@case("float_first", "mixed", "convolution+convolution")
def _(net):
    value = net.quantise(net.op("Mul", net.op("Softmax", net.input, axis=3), np.float32(2), lipschitz=2))
    value = net.quantise(net.conv(value, 12, (3, 3)))
    net.head(value)


@case("float_last", "mixed", "convolution+convolution")
def _(net):
    net.out(net.op("Softmax", net.conv(net.stem(), 8), axis=1))


@case("three_regions", "mixed", "+".join(["convolution"] * 4) + "+add+concat")
def _(net):
    value = net.stem(12)
    gated = gate(net, value)
    more = gate(net, net.quantise(net.conv(gated, 12)))
    # Reads tensors of all regions.
    sum_ = net.quantise(net.op("Add", value, more))
    both = net.quantise(net.op("Concat", gated, sum_, value, axis=1))
    net.head(net.quantise(net.conv(both, 8, (3, 3), pads=[1] * 4)), 8)


@case("without_convolution", "tract", "")
def _(net):
    value = net.quantise(net.op("MaxPool", net.input, kernel_shape=[2, 2]), 1 / 64, 128)
    net.out(net.quantise(net.op("Relu", value)))


@case("scale_read_differently", "mixed", "convolution")
def _(net):
    value = net.quantise(net.conv(net.input, 12, (3, 3)), 0.02, 128, scale_read=0.03)
    value.off, value.scale = 0.03, np.float32(0.03)
    net.out(value)
    net.out(net.conv(value, 8))


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.onnx"):
        old.unlink()
    with open(FOLDER / "cases.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "path", "layers", "output", "tolerance", "near", "count", "values"])
        for arguments, options, draw in CASES:
            net = Net(*arguments, **options)
            draw(net)
            net.write(table)


main()
