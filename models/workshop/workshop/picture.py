"""Source picture to network input, defined exactly, and boxes back.

1. The picture is 8-bit B G R.
2. It is scaled by `long_side / max(width, height)`; both sides are rounded to the nearest pixel.
   Kernel: bilinear, two taps a side, pixel centres at half coordinates, no low-pass filter before
   it (OpenCV's INTER_LINEAR), result rounded to 8 bits.
3. It is placed at the top left; the right and bottom are filled with grey (114, 114, 114) up to
   the next multiple of 32.
4. Each channel becomes (x - mean) / std, as float32, planar (NCHW).

A box in the input divided by the scale of its axis is the box in the picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .layout import LONG_SIDE, MEAN, MULTIPLE_OF, PAD_VALUE, STD


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the network's input: its size there, and the input's."""

    scaled_width: int
    scaled_height: int
    input_width: int
    input_height: int


def place(width, height, long_side=LONG_SIDE, square=False):
    scale = long_side / max(width, height)
    scaled_width = max(1, int(width * scale + 0.5))
    scaled_height = max(1, int(height * scale + 0.5))
    input_width = -(-scaled_width // MULTIPLE_OF) * MULTIPLE_OF
    input_height = -(-scaled_height // MULTIPLE_OF) * MULTIPLE_OF
    if square:
        input_width = input_height = max(input_width, input_height)
    return Placement(scaled_width, scaled_height, input_width, input_height)


def letterbox(picture, placement, interpolation=cv2.INTER_LINEAR):
    """The scaled and padded picture, 8-bit."""
    size = (placement.scaled_width, placement.scaled_height)
    padded = np.full((placement.input_height, placement.input_width, 3), PAD_VALUE, np.uint8)
    padded[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=interpolation)
    return padded


def normalise(padded):
    values = (padded.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
