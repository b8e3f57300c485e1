"""Network outputs to detections in source pixels: the same arithmetic as the Rust engine's."""

import numpy as np

from .layout import NMS_IOU, REG_MAX, STRIDES

# Columns of a detection array.
CLASS, SCORE, LEFT, TOP, RIGHT, BOTTOM = range(6)


def iou(boxes, others):
    """Intersection over union of every box with every other; rows are left, top, right, bottom."""
    left_top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(right_bottom - left_top, 0, None), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    other_area = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return common / np.maximum(area[:, None] + other_area[None] - common, 1e-9)


def suppress(detections):
    """Non-maximum suppression per class, greedy, best score first."""
    kept = []
    for class_id in np.unique(detections[:, CLASS]):
        rows = detections[detections[:, CLASS] == class_id]
        rows = rows[np.argsort(-rows[:, SCORE], kind="stable")]
        while len(rows):
            kept.append(rows[0])
            rows = rows[1:][iou(rows[:1, LEFT:], rows[1:, LEFT:])[0] <= NMS_IOU]
    kept = np.array(kept).reshape(-1, 6)
    return kept[np.argsort(-kept[:, SCORE], kind="stable")]


def decode(outputs, placement, source_width, source_height, threshold):
    """Detections at or above the threshold, best first: class, score, left, top, right, bottom.

    `outputs` are the three score tensors, then the three box tensors, by ascending stride.
    """
    found = []
    bins = np.arange(REG_MAX + 1, dtype=np.float32)
    for stride, scores, boxes in zip(STRIDES, outputs[:3], outputs[3:]):
        cells, classes = np.nonzero(scores[0] >= threshold)
        columns = placement.input_width // stride
        x = (cells % columns + 0.5) * stride
        y = (cells // columns + 0.5) * stride
        logits = boxes[0][cells].reshape(-1, 4, REG_MAX + 1)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        sides = (weights * bins).sum(axis=2) / weights.sum(axis=2) * stride
        corners = np.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], axis=1)
        found.append(np.column_stack([classes, scores[0][cells, classes], corners]))
    kept = suppress(np.concatenate(found))
    to_source = np.array([source_width / placement.scaled_width, source_height / placement.scaled_height] * 2)
    limits = np.array([source_width, source_height] * 2)
    kept[:, LEFT:] = np.clip(kept[:, LEFT:] * to_source, 0, limits)
    return kept
