"""Compares Kerbside's detections in a clip with ONNX Runtime's, both on the numbers that Kerbside computed.

The example `detections` of the tests writes the network's input of each frame and what the engines found.
ONNX Runtime runs the same file on the same input, optimised as it comes and not optimised at all. What
must hold is a constant below: each box has a partner on the other side. Detectors do not show the
network's outputs, so those are compared within ONNX Runtime only. The scores are such outputs, though:
the last column counts those that are the same, of all that a detector reports.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from . import layout, source
from .decode import CLASS, LEFT, SCORE, decode, iou
from .errors import WorkshopError
from .network import OUTPUTS
from .picture import Placement

# A box above this score has a partner on the other side: the same class, at least this intersection over
# union, at most this difference of scores.
SCORE_THRESHOLD = 0.4
PARTNER_IOU = 0.95
PARTNER_SCORE_DIFFERENCE = 0.03
# What two runtimes make of one object overlaps at least so much, partner or not.
SAME_OBJECT_IOU = 0.5
# Below this no detector of Kerbside's reports anything.
SCORE_FLOOR = 0.1
# Scores that differ by no more come from the same sum: a step of int8 is a thousand times as large, and each
# runtime's exponential rounds in its own way.
SAME_SCORE_DIFFERENCE = 1e-6

# Kerbside's names of the classes that it counts, and their places in the network's outputs.
CLASSES = {"person": "person", "bicycle": "bicycle", "motorcycle": "motorcycle", "car": "car", "bus": "bus",
           "truck": "truck", "other": "train"}
PLACES = {name: layout.LABELS.index(label) for name, label in CLASSES.items()}
NAMES = {place: name for name, place in PLACES.items()}

EVERY = 8
RECORD_CLIP = "vtest.avi"
RECORD_EVERY = 150
# A margin below the threshold, so that a box of the engine's finds its partner.
RECORD_THRESHOLD = SCORE_THRESHOLD - PARTNER_SCORE_DIFFERENCE - 0.01
RECORD_FILE = Path("tests", "data", "vtest-onnxruntime.csv")

THREADS = 2
DEFAULT, DISABLED = "ONNX Runtime", "ONNX Runtime, not optimised"


class Session:
    """The committed file in ONNX Runtime."""

    def __init__(self, model_bytes, optimised):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])

    def run(self, tensor):
        return self.session.run(OUTPUTS, {layout.INPUT_NAME: tensor})


@dataclass
class Frame:
    """One frame, as the example wrote it."""

    number: int
    width: int
    height: int
    placement: Placement
    input_file: Path

    def tensor(self):
        shape = (1, 3, self.placement.input_height, self.placement.input_width)
        return np.fromfile(self.input_file, "<f4").reshape(shape)

    def detections(self, outputs):
        """Of the classes that Kerbside counts, with something of the box in the picture."""
        found = decode(outputs, self.placement, self.width, self.height, SCORE_FLOOR)
        area = np.prod(found[:, LEFT + 2:] - found[:, LEFT:LEFT + 2], axis=1)
        return found[np.isin(found[:, CLASS], list(NAMES)) & (area > 0)]


@dataclass
class Comparison:
    """Boxes of one side against another's, summed over frames."""

    boxes: list = field(default_factory=lambda: [0, 0])
    missed: list = field(default_factory=lambda: [0, 0])
    score_difference: float = 0.0
    iou: float = 1.0
    weak: int = 0
    weak_same: int = 0

    def add(self, frame, ours, theirs):
        """Returns the boxes without a partner, as text."""
        texts = []
        for side, (rows, others) in enumerate([(ours, theirs), (theirs, ours)]):
            for row in rows[rows[:, SCORE] > SCORE_THRESHOLD]:
                self.boxes[side] += 1
                same = others[others[:, CLASS] == row[CLASS]]
                overlaps = iou(row[None, LEFT:], same[:, LEFT:])[0]
                differences = np.abs(same[:, SCORE] - row[SCORE])
                # Boxes of one side and class overlap by less, so there is one partner at most.
                if not ((overlaps >= PARTNER_IOU) & (differences <= PARTNER_SCORE_DIFFERENCE)).any():
                    self.missed[side] += 1
                    texts.append(f"frame {frame.number}: {NAMES[int(row[CLASS])]} {row[SCORE]:.3f} "
                                 f"{row[LEFT:].round(1).tolist()} of {('ours', 'theirs')[side]}")
                if len(same) and overlaps.max() >= SAME_OBJECT_IOU:
                    best = overlaps.argmax()
                    self.iou = min(self.iou, overlaps[best])
                    self.score_difference = max(self.score_difference, differences[best])
        self.weak += len(theirs)
        for row in theirs:
            same = ours[(ours[:, CLASS] == row[CLASS])
                        & (np.abs(ours[:, SCORE] - row[SCORE]) <= SAME_SCORE_DIFFERENCE)]
            self.weak_same += bool((iou(row[None, LEFT:], same[:, LEFT:]) >= PARTNER_IOU).any())
        return texts


def run_example(root, clip, out, every, engines):
    command = ["cargo", "run", "--quiet", "--locked", "--package", "kerbside-tests", "--example", "detections", "--",
               clip.resolve(), out, "--every", str(every)]
    for engine in engines:
        command += ["--engine", engine]
    if subprocess.run(command, cwd=root).returncode:
        raise WorkshopError("the example 'detections' failed; what it said is above")


def read_frames(folder):
    with open(folder / "frames.csv", newline="") as lines:
        for row in csv.DictReader(lines):
            number, width, height, *sizes = (int(value) for value in row.values())
            yield Frame(number, width, height, Placement(*sizes), folder / f"input-{number}.f32")


def read_detections(file):
    """Detections by engine and frame, with the columns of `decode`."""
    found = {}
    with open(file, newline="") as lines:
        for row in csv.DictReader(lines):
            # Scores are 32-bit floats, and only as such the same as the network's.
            numbers = [np.float32(row["score"])] + [float(row[key]) for key in ("left", "top", "right", "bottom")]
            found.setdefault((row["engine"], int(row["frame"])), []).append([PLACES[row["class"]], *numbers])
    return {key: np.array(rows) for key, rows in found.items()}


def compare(root, folder, clip, engines, model_bytes):
    """Prints the tables; returns the number of boxes that an engine missed or has alone."""
    optimised, plain = Session(model_bytes, True), Session(model_bytes, False)
    detections = read_detections(folder / "detections.csv")
    comparisons = {engine: Comparison() for engine in (*engines, DISABLED)}
    differences = {name: [0.0, 0.0, 0.0] for name in OUTPUTS}
    none, missed, sizes, count = np.empty((0, 6)), [], set(), 0
    for frame in read_frames(folder):
        count += 1
        sizes.add(f"{frame.width}x{frame.height} as {frame.placement.input_width}x{frame.placement.input_height}")
        tensor = frame.tensor()
        outputs, plain_outputs = optimised.run(tensor), plain.run(tensor)
        for name, output, other in zip(OUTPUTS, outputs, plain_outputs):
            difference = np.abs(output - other)
            most, total, values = differences[name]
            differences[name] = [max(most, difference.max()), total + difference.sum(dtype=np.float64),
                                 values + difference.size]
        theirs = frame.detections(outputs)
        comparisons[DISABLED].add(frame, frame.detections(plain_outputs), theirs)
        for engine in engines:
            ours = detections.get((engine, frame.number), none)
            missed += [f"{engine}, {text}" for text in comparisons[engine].add(frame, ours, theirs)]
    if not count:
        raise WorkshopError(f"{clip} has no frames")

    print(f"{clip.name}: {count} frames, {', '.join(sorted(sizes))}; ONNX Runtime {onnxruntime.__version__}\n")
    print(f"boxes above {SCORE_THRESHOLD} against {DEFAULT}'s; a partner has the same class, IoU >= {PARTNER_IOU}, "
          f"score difference <= {PARTNER_SCORE_DIFFERENCE}")
    head = ("", "ours", "alone", "theirs", "missed", "score diff", "least IoU", f"same from {SCORE_FLOOR}")
    form = "{:<28} {:>6} {:>6} {:>6} {:>6} {:>11} {:>10} {:>15}"
    print(form.format(*head))
    for name, it in comparisons.items():
        print(form.format(name, it.boxes[0], it.missed[0], it.boxes[1], it.missed[1], f"{it.score_difference:.2g}",
                          f"{it.iou:.6f}", f"{it.weak_same} of {it.weak}"))
    print(f"\noutputs, {DEFAULT} optimised against not optimised\n{'':<28} {'largest':>12} {'mean':>12}")
    for name, (most, total, values) in differences.items():
        print(f"{name:<28} {most:>12.3g} {total / values:>12.3g}")
    if missed:
        print("\nwithout a partner:", *missed, sep="\n  ")
    return len(missed)


def record(root, folder, model_bytes, digest):
    session = Session(model_bytes, True)
    lines = [
        f"# {RECORD_CLIP}, every {RECORD_EVERY}th frame from 0: detections of ONNX Runtime {onnxruntime.__version__} on"
        f" the input that Kerbside computed, boxes in pixels; written by models/workshop/compare --record",
        f"# model {digest}",
        "frame,class,score,left,top,right,bottom",
    ]
    for frame in read_frames(folder):
        for row in frame.detections(session.run(frame.tensor())):
            if row[SCORE] >= RECORD_THRESHOLD:
                box = ",".join(f"{value:.3f}" for value in row[LEFT:])
                lines.append(f"{frame.number},{NAMES[int(row[CLASS])]},{row[SCORE]:.5f},{box}")
    file = root / RECORD_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    print(f"wrote {file}: {len(lines) - 3} detections")


def main():
    parser = argparse.ArgumentParser(prog="compare", description="Compares Kerbside's detections with ONNX Runtime's.")
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--every", type=int, metavar="N", default=EVERY, help="every N-th frame (%(default)s)")
    parser.add_argument("--engine", action="append", metavar="NAME", help="an engine of Kerbside's; may come several "
                        "times (auto)")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD_FILE} from {RECORD_CLIP}")
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    root, clip, engines = arguments.root, arguments.clip, arguments.engine or ["auto"]
    model = root / "models" / layout.NAME / f"{layout.NAME}-int8.onnx"
    try:
        if not clip.is_file():
            raise WorkshopError(f"{clip} is no file")
        if arguments.record and clip.name != RECORD_CLIP:
            raise WorkshopError(f"--record is for {RECORD_CLIP}")
        # Pictures are on disk for as long as they are compared.
        with tempfile.TemporaryDirectory(dir=arguments.target / "workshop") as folder:
            out = Path(folder, "detections")
            run_example(root, clip, out, RECORD_EVERY if arguments.record else arguments.every, engines)
            if arguments.record:
                record(root, out, model.read_bytes(), source.sha256(model))
            elif compare(root, out, clip, engines, model.read_bytes()):
                sys.exit(1)
    except WorkshopError as error:
        sys.exit(f"compare: {error}")


if __name__ == "__main__":
    main()
