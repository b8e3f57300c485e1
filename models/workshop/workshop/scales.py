"""Chooses how activations are rounded: a scale and a zero point per tensor, a gain per channel.

One byte that two engines round differently grows, over thirty convolutions, to boxes that moved. So
the numbers are such that 32-bit floats are exact in any order of summation, and an engine that
counts in integers and one that multiplies floats give the same bytes, ties included:

- the scale of an activation is a power of two; only the input's is not, it is 5/256;
- the scale of a weight has few significant bits;
- every sum of a convolution is then a whole number of units, fewer than 2^24 of them; `exact.py`
  looks whether that holds.

Powers of two would cost half a bit of resolution. They do not, because a convolution, LeakyReLU,
max-pool, resize and concat hand a factor on: each channel of the float model is multiplied by a
gain, in the weights that make it, and divided by it in the weights that read it. The gain makes
the tensor's range fit its scale. The same gains even out the channels of a tensor, half of the way:
in the logarithm between one gain for all and the gain with which each channel fills the range by
itself. All of the way was tried; it costs accuracy, because the weights that read weak channels
then need small steps.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .errors import WorkshopError

# Operators whose output has the bytes of its inputs; all share a scale and a zero point.
MOVES_BYTES = ("MaxPool", "Concat")
# Operators through which a channel keeps its gain.
KEEPS_CHANNELS = ("MaxPool", "Resize")

# A power of two would cut off the brightest pixels or waste half of the steps.
INPUT_SCALE = 5 / 256
# Rounded down to this grid, so that float noise in the calibration (another processor, another
# library) seldom changes the file.
GAIN_STEPS_PER_OCTAVE = 4
# A channel that was hardly ever active while calibrating may be so elsewhere.
LARGEST_GAIN_RATIO = 64


@dataclass(frozen=True)
class Scales:
    """How every activation is stored: `real value * gain = scale * (byte - zero)`."""

    # Tensor name to the name of the first tensor that shares its scale and zero point.
    group_of: dict
    # Group to its scale and its zero point.
    scale: dict
    zero: dict
    # Tensor name to one gain per channel.
    gain: dict


def activations(model):
    """Names of the tensors to round, in graph order."""
    graph = model.graph
    consumers = defaultdict(set)
    for node in graph.node:
        for name in node.input:
            consumers[name].add(node.op_type)
    names = [graph.input[0].name]
    for node in graph.node:
        # A convolution and its LeakyReLU are one step; the last convolutions end in floats. A resize
        # goes into an addition and is rounded there.
        within_step = node.op_type == "Conv" and consumers[node.output[0]] & {"LeakyRelu", "Sigmoid", "Reshape"}
        if node.op_type in ("Conv", "LeakyRelu", "Add", *MOVES_BYTES) and not within_step:
            names.append(node.output[0])
    return names


class _Union:
    """Sets of names that grow together; each is called by its earliest name."""

    def __init__(self, names):
        self.order = {name: place for place, name in enumerate(names)}
        self.leader = {name: name for name in names}

    def find(self, name):
        while self.leader[name] != name:
            name = self.leader[name]
        return name

    def join(self, a, b):
        first, second = sorted((self.find(a), self.find(b)), key=self.order.get)
        self.leader[second] = first


def groups(model):
    """Tensor name to the name of the first tensor that shares its scale."""
    names = activations(model)
    union = _Union(names)
    for node in model.graph.node:
        if node.op_type in MOVES_BYTES:
            for name in node.input:
                union.join(name, node.output[0])
    return {name: union.find(name) for name in names}


def families(model):
    """Tensor name to the families of its channels, in order: a family's channels have one gain each.

    A concat has several, one after another. Operands and result of an addition are one family.
    """
    made_by = {node.output[0]: node for node in model.graph.node}

    def origins(name):
        node = made_by.get(name)
        if node is not None and node.op_type in KEEPS_CHANNELS:
            return origins(node.input[0])
        if node is not None and node.op_type == "Concat":
            return [origin for part in node.input for origin in origins(part)]
        return [name]

    names = activations(model)
    union = _Union(names)
    for node in model.graph.node:
        if node.op_type == "Add":
            for name in node.input:
                (origin,) = origins(name)
                union.join(origin, node.output[0])
    return {name: [union.find(origin) for origin in origins(name)] for name in names}


def fitting_gain(low, high, scale, zero):
    """The largest gain with which low..high lies in the range of a tensor."""
    return np.minimum((255 - zero) * scale / np.maximum(high, 1e-6), zero * scale / np.maximum(-low, 1e-6))


def best_zero(low, high):
    """The zero point with which the channels, each with its fitting gain, have the most steps."""
    return max(range(1, 255), key=lambda zero: float(np.log(fitting_gain(low, high, 1.0, zero)).sum()))


def powers_of_two(steps):
    """A power of two for each of the sizes `steps`, to which one common factor fits them with the least loss."""
    best = None
    for sixteenth in range(16):
        exponents = [math.ceil(math.log2(step) + sixteenth / 16 - 1e-3) for step in steps]
        if best is None or sum(exponents) - sixteenth / 16 * len(steps) < best[0]:
            best = (sum(exponents) - sixteenth / 16 * len(steps), exponents)
    return [2.0**exponent for exponent in best[1]]


def choose(model, ranges):
    """The `Scales`; `ranges` has low and high of every channel, for each of the `activations`."""
    group_of = groups(model)
    families_of = families(model)
    input_name = model.graph.input[0].name

    whole = {}
    for name, group in group_of.items():
        low, high = whole.get(group, (0.0, 0.0))
        whole[group] = (min(low, float(ranges[name][0].min())), max(high, float(ranges[name][1].max())))
    # The tensors that have the channels of one family alone tell its range.
    tensors = defaultdict(list)
    for name, its_families in families_of.items():
        if len(its_families) == 1:
            tensors[its_families[0]].append(name)

    scale = {}
    for family, names in tensors.items():
        members = sorted({group_of[name] for name in names} - scale.keys())
        steps = [(whole[group][1] - whole[group][0]) / 255 for group in members]
        scale.update(zip(members, powers_of_two(steps)))
    scale[group_of[input_name]] = INPUT_SCALE

    channels_of = defaultdict(list)
    for names in tensors.values():
        for name in names:
            channels_of[group_of[name]].append(ranges[name])
    zero = {group: best_zero(*map(np.concatenate, zip(*parts))) for group, parts in channels_of.items()}

    # One gain for all channels of a group is the smallest that any of its families needs.
    fitting = {family: np.min([fitting_gain(*ranges[name], scale[group_of[name]], zero[group_of[name]])
                               for name in names], axis=0) for family, names in tensors.items()}
    common = defaultdict(lambda: math.inf)
    for family, names in tensors.items():
        for name in names:
            common[group_of[name]] = min(common[group_of[name]], float(fitting[family].min()))

    gains = {}
    for family, names in tensors.items():
        smallest = min(common[group_of[name]] for name in names)
        even = np.sqrt(np.minimum(fitting[family] / smallest, LARGEST_GAIN_RATIO)) * smallest
        gains[family] = 2.0 ** (np.floor(np.log2(even) * GAIN_STEPS_PER_OCTAVE + 1e-3) / GAIN_STEPS_PER_OCTAVE)
    if common[group_of[input_name]] < 1:
        raise WorkshopError(f"the input's range {whole[input_name]} is more than 256 steps of {INPUT_SCALE}; "
                            "change INPUT_SCALE in scales.py")
    gains[input_name] = np.ones(len(ranges[input_name][0]))
    gain = {name: np.concatenate([gains[family] for family in its_families])
            for name, its_families in families_of.items()}
    return Scales(group_of, scale, zero, gain)
