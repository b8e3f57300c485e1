"""Writes the tiny networks of the tests: `python make_tiny.py` in this folder (needs onnx and numpy).

Each looks at the mean colour of its cells: a white cell is an object, a black one is none. Pixels come in
as R G B from 0 to 1.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = 3


class Graph:
    def __init__(self, sides=("height", "width")):
        self.nodes, self.constants, self.outputs = [], [], []
        self.image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *sides])

    def add(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def cells(self, stride, rows, name):
        """The mean colour of each cell through a matrix with one row (r, g, b, bias) a channel."""
        rows = np.asarray(rows, np.float32)
        mean = self.add("AveragePool", ["image"], f"{name}_mean", kernel_shape=[stride] * 2, strides=[stride] * 2)
        weight = self.constant(f"{name}_weight", rows[:, :3].reshape(-1, 3, 1, 1))
        bias = self.constant(f"{name}_bias", rows[:, 3].copy())
        return self.add("Conv", [mean, weight, bias], f"{name}_conv")

    def flat(self, value, channels, name):
        """1 x channels x rows x columns to 1 x cells x channels."""
        shape = self.constant(f"{name}_shape", np.array([1, channels, -1], np.int64))
        flat = self.add("Reshape", [value, shape], f"{name}_flat")
        return self.add("Transpose", [flat], name, perm=[0, 2, 1])

    def output(self, name, channels):
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels]))

    def write(self, path):
        graph = helper.make_graph(self.nodes, "tiny", [self.image], self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


# Sigmoid of 60 * mean - 30: one for white, nothing for black. The third class is never seen.
BRIGHT = [20, 20, 20, -30]
NEVER = [0, 0, 0, -30]


def nanodet(path, box_bias=0.0):
    """Stride 8, distances 0 to 3: one stride to the left, two to each other side."""
    graph = Graph()
    scores = graph.cells(8, [BRIGHT, [20, 20, 20, -31], NEVER], "score")
    graph.flat(graph.add("Sigmoid", [scores], "probability"), LABELS, "scores_8")
    distribution = [[0, 0, 0, 50.0 * (place == far) + box_bias] for far in (1, 2, 2, 2) for place in range(4)]
    graph.flat(graph.cells(8, distribution, "box"), len(distribution), "boxes_8")
    graph.output("scores_8", LABELS)
    graph.output("boxes_8", len(distribution))
    graph.write(path)


def yolox(path, sides=("height", "width")):
    """Strides 8 and 16; a box of two cells by one around the cell's centre. The coarse level sees nothing."""
    graph = Graph(sides)
    levels = []
    for stride, objectness in ((8, BRIGHT), (16, NEVER)):
        box = [[0, 0, 0, 0.5], [0, 0, 0, 0.5], [0, 0, 0, np.log(2)], [0, 0, 0, 0]]
        place = graph.cells(stride, box, f"place_{stride}")
        seen = graph.cells(stride, [objectness, [20, 20, 20, -29], BRIGHT, NEVER], f"seen_{stride}")
        sure = graph.add("Sigmoid", [seen], f"sure_{stride}")
        row = graph.add("Concat", [place, sure], f"row_{stride}", axis=1)
        levels.append(graph.flat(row, 5 + LABELS, f"level_{stride}"))
    graph.add("Concat", levels, "output", axis=1)
    graph.output("output", 5 + LABELS)
    graph.write(path)


nanodet("tiny-nanodet.onnx")
nanodet("tiny-nan.onnx", box_bias=float("nan"))
yolox("tiny-yolox.onnx")
yolox("tiny-yolox-64x64.onnx", sides=(64, 64))
