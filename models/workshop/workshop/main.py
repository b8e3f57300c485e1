"""Rebuilds the int8 detector: fetch, convert, check, calibrate, quantise, measure, write."""

import argparse
import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from . import calibrate, card, convert, evaluate, exact, frames, layout, manifest, quantise, reference, source
from .decode import decode
from .errors import WorkshopError
from .network import OUTPUTS, Session
from .picture import Placement, letterbox, normalise, place

FILE_NAME = "nanodet-g-int8.onnx"

# What the source model finds in frame 400, stretched to 416x416: class, score, box. The conversion
# must give the same.
KNOWN_FRAME = 400
KNOWN_DETECTIONS = [
    (0, 0.849, 687, 300, 744, 408), (0, 0.790, 587, 140, 617, 202), (0, 0.686, 271, 199, 302, 284),
    (7, 0.524, 651, 43, 724, 98), (2, 0.506, 732, 51, 768, 94),
]
KNOWN_SCORE_TOLERANCE = 0.001
KNOWN_BOX_TOLERANCE_PX = 1.01


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def check_conversion(session, frame):
    height, width = frame.shape[:2]
    side = convert.SOURCE_SIDE
    stretched = Placement(side, side, side, side)
    outputs = session.run_named(normalise(letterbox(frame, stretched)), OUTPUTS)
    found = decode([outputs[name] for name in OUTPUTS], stretched, width, height, evaluate.SCORE_THRESHOLD)
    known = np.array(KNOWN_DETECTIONS)
    same = (found.shape == known.shape and (found[:, 0] == known[:, 0]).all()
            and np.abs(found[:, 1] - known[:, 1]).max() <= KNOWN_SCORE_TOLERANCE
            and np.abs(found[:, 2:] - known[:, 2:]).max() <= KNOWN_BOX_TOLERANCE_PX)
    if not same:
        raise WorkshopError(f"the converted model does not find in frame {KNOWN_FRAME} what the source model finds; "
                            f"found:\n{found.round(3)}")


def measure(shape, placement, clip, annotation, sessions):
    """The figures at one input shape, and the detections of both models in all frames."""
    found = {kind: [session.detect(frame, evaluate.LOW_THRESHOLD, placement) for frame in clip]
             for kind, session in sessions.items()}
    figures = card.Figures(
        shape,
        evaluate.agreement(found["float"], found["int8"], frames.held_out()),
        evaluate.against_annotation(found["float"], annotation),
        evaluate.against_annotation(found["int8"], annotation),
        evaluate.count_persons(found["float"]),
        evaluate.count_persons(found["int8"]),
    )
    return figures, found


def rebuild(models: Path, target: Path, check_only: bool):
    bench = target / "workshop"
    say("fetching the sources")
    weights = source.weights(bench / "source")
    pictures = frames.read_pictures(source.pictures(bench / "pictures"))
    clip = frames.read_clip(source.clip(target / "clips" / "vtest.avi"))

    say("converting")
    model = convert.convert(weights / source.GRAPH_FILE, weights / source.WEIGHTS_FILE)
    float_bytes = model.SerializeToString(deterministic=True)
    sessions = {"float": Session(model)}
    check_conversion(sessions["float"], clip[KNOWN_FRAME])

    say("calibrating and quantising")
    ranges, calibration_count = calibrate.observe(model, frames.calibration(clip, pictures))
    quantised = quantise.quantise(model, ranges)
    int8_bytes = quantised.SerializeToString(deterministic=True)
    digest = hashlib.sha256(int8_bytes).hexdigest()
    sessions["int8"] = Session(quantised)

    folder = models / layout.NAME
    if check_only:
        committed = folder / FILE_NAME
        if not committed.is_file():
            raise WorkshopError(f"{committed} is missing; run rebuild without --check")
        if source.sha256(committed) != digest:
            raise WorkshopError(f"the rebuilt model has the SHA-256 {digest}, {committed} has "
                                f"{source.sha256(committed)}; run rebuild and compare the two model cards")
        say(f"same as {committed}: {digest}")
        return

    say("measuring")
    annotation = evaluate.read_annotation(models / "workshop" / "annotation" / "vtest.csv")
    height, width = clip[0].shape[:2]
    first, found = measure("416×320", place(width, height), clip, annotation, sessions)
    square, _ = measure("416×416", place(width, height, square=True), clip, annotation, sessions)
    print(card.accuracy([first, square]))
    fullest_sum = exact.fullest_sum(quantised, frames.calibration(clip, pictures))
    say(f"the largest partial sum is {fullest_sum:.2f} of what a 32-bit float holds exactly")
    exact.require(fullest_sum)
    evaluate.require(first.agreed, first.float_match, first.int8_match, first.float_count, first.int8_count)

    say("writing")
    references = bench / "reference"
    test_data = models / "tests" / "data"
    for directory in (references, test_data, folder):
        directory.mkdir(parents=True, exist_ok=True)
    (bench / "nanodet-g-float32.onnx").write_bytes(float_bytes)
    input_shape = place(width, height)
    peer = quantise.quantise(model, ranges, round_everywhere=True)
    for name, proto in (("float32", model), ("int8-peer", peer)):
        fixed = quantise.with_input_size(proto, input_shape.input_width, input_shape.input_height)
        size = f"{input_shape.input_width}x{input_shape.input_height}"
        (bench / f"nanodet-g-{name}-{size}.onnx").write_bytes(fixed.SerializeToString(deterministic=True))
    (references / "vtest-float.json").write_text(reference.as_json(float_bytes, found["float"]))
    (references / "vtest-int8.json").write_text(reference.as_json(int8_bytes, found["int8"]))
    reference.write_tensors(references, clip[reference.TENSOR_FRAME], sessions)
    (test_data / "nanodet-g-vtest.csv").write_text(reference.as_csv(found["int8"]))
    (folder / FILE_NAME).write_bytes(int8_bytes)
    (folder / "manifest.yaml").write_text(manifest.manifest(FILE_NAME, int8_bytes))
    (folder / "MODEL_CARD.md").write_text(card.card(
        FILE_NAME, int8_bytes, float_bytes, calibration_count, fullest_sum, len(frames.held_out()), annotation,
        [first, square]))
    say(f"wrote {folder / FILE_NAME}: {len(int8_bytes)} bytes, SHA-256 {digest}")


def main():
    parser = argparse.ArgumentParser(prog="rebuild", description="Rebuilds the int8 detector from its source.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the committed model")
    parser.add_argument("--models", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        rebuild(arguments.models, arguments.target, arguments.check)
    except WorkshopError as error:
        sys.exit(f"rebuild: {error}")


if __name__ == "__main__":
    main()
