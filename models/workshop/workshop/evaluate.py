"""Measures the int8 model against the float one, and both against the annotation; refuses a loss."""

import csv
from dataclasses import dataclass

import numpy as np

from .decode import CLASS, LEFT, SCORE, iou
from .errors import WorkshopError

# The accuracy that quantisation may cost, in recall and in precision, on either measure.
ALLOWED_LOSS = 0.01
# By how much the number of persons found may differ, relative to the float model.
ALLOWED_COUNT_DIFFERENCE = 0.005

SCORE_THRESHOLD = 0.5
# Detections are kept down to here, so that a score that falls below the threshold can be compared.
LOW_THRESHOLD = 0.3
MATCH_IOU = 0.5
PERSON = 0


@dataclass
class Match:
    """Found against true boxes, summed over frames."""

    correct: int = 0
    found: int = 0
    true: int = 0

    def add(self, found, true):
        """`found` is in falling order of score; each takes the best true box that is still free."""
        self.found += len(found)
        self.true += len(true)
        free = np.ones(len(true), bool)
        for overlaps in iou(found, true):
            overlaps = np.where(free, overlaps, 0)
            if len(true) and overlaps.max() >= MATCH_IOU:
                free[overlaps.argmax()] = False
                self.correct += 1

    @property
    def recall(self):
        return self.correct / max(self.true, 1)

    @property
    def precision(self):
        return self.correct / max(self.found, 1)

    @property
    def f1(self):
        return 2 * self.correct / max(self.found + self.true, 1)


@dataclass
class Agreement:
    """Int8 persons against float persons on the same frames."""

    match: Match
    mean_iou: float
    mean_score_difference: float
    mean_absolute_score_difference: float


def persons(detections, threshold):
    return detections[(detections[:, CLASS] == PERSON) & (detections[:, SCORE] >= threshold)]


def agreement(float_detections, int8_detections, frames):
    match = Match()
    ious, differences = [], []
    for frame in frames:
        reference = persons(float_detections[frame], SCORE_THRESHOLD)
        match.add(persons(int8_detections[frame], SCORE_THRESHOLD)[:, LEFT:], reference[:, LEFT:])
        low = persons(int8_detections[frame], LOW_THRESHOLD)
        if len(low):
            for row, overlaps in zip(reference, iou(reference[:, LEFT:], low[:, LEFT:])):
                if overlaps.max() >= MATCH_IOU:
                    ious.append(overlaps.max())
                    differences.append(low[overlaps.argmax(), SCORE] - row[SCORE])
    return Agreement(match, float(np.mean(ious)), float(np.mean(differences)), float(np.mean(np.abs(differences))))


def count_persons(detections):
    return sum(len(persons(rows, SCORE_THRESHOLD)) for rows in detections)


def read_annotation(file):
    """Frame index from 0 to boxes (left, top, right, bottom)."""
    boxes = {}
    with open(file, newline="") as lines:
        for row in csv.DictReader(lines):
            left, top, width, height = (float(row[key]) for key in ("left", "top", "width", "height"))
            boxes.setdefault(int(row["frame"]) - 1, []).append((left, top, left + width, top + height))
    return {frame: np.array(rows) for frame, rows in boxes.items()}


def against_annotation(detections, annotation):
    match = Match()
    for frame, boxes in annotation.items():
        match.add(persons(detections[frame], SCORE_THRESHOLD)[:, LEFT:], boxes)
    return match


def require(agreed, float_match, int8_match, float_count, int8_count):
    """Raises when quantising cost more than allowed."""
    losses = {
        "recall against float": 1 - agreed.match.recall,
        "precision against float": 1 - agreed.match.precision,
        "recall on the annotation": float_match.recall - int8_match.recall,
        "precision on the annotation": float_match.precision - int8_match.precision,
    }
    problems = [f"{name} falls by {loss:.4f}, allowed is {ALLOWED_LOSS}"
                for name, loss in losses.items() if loss > ALLOWED_LOSS]
    difference = abs(int8_count - float_count) / float_count
    if difference > ALLOWED_COUNT_DIFFERENCE:
        problems.append(f"the number of persons differs by {difference:.4f}, allowed is {ALLOWED_COUNT_DIFFERENCE}")
    if problems:
        raise WorkshopError("the int8 model is refused and nothing is written: " + "; ".join(problems)
                            + "; change the calibration in frames.py or calibrate.py")
