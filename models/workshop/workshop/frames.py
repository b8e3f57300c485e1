"""The pictures the workshop works on: which calibrate, which measure. The two never overlap."""

import cv2
import numpy as np

from .errors import WorkshopError

FRAME_COUNT = 795
# Every 8th frame of the clip calibrates; the others measure.
CALIBRATION_STEP = 8


def read_clip(file):
    """All frames, B G R, as OpenCV decodes and converts them."""
    capture = cv2.VideoCapture(str(file))
    frames = []
    while True:
        more, frame = capture.read()
        if not more:
            break
        frames.append(frame)
    if len(frames) != FRAME_COUNT:
        raise WorkshopError(f"{file} gave {len(frames)} frames, expected {FRAME_COUNT}; OpenCV cannot decode it here")
    return frames


def held_out():
    return [index for index in range(FRAME_COUNT) if index % CALIBRATION_STEP]


def calibration(frames, pictures):
    """Yields the calibration pictures.

    The clip alone shows small persons on a bright day. Ranges seen there cut off the strong
    activations of large objects, so zoomed, dark and foreign pictures are mixed in.
    """
    height, width = frames[0].shape[:2]
    yield from frames[::CALIBRATION_STEP]
    for number, frame in enumerate(frames[:: 4 * CALIBRATION_STEP]):
        zoomed_width, zoomed_height = width // 3, height // 3
        left = number * 97 % (width - zoomed_width)
        top = number * 61 % (height - zoomed_height)
        yield frame[top : top + zoomed_height, left : left + zoomed_width]
    for frame in frames[2 * CALIBRATION_STEP :: 8 * CALIBRATION_STEP]:
        yield frame // 4
    for picture in pictures:
        yield picture
        yield picture[:, ::-1]
        yield picture // 4


def read_pictures(files):
    pictures = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in files]
    for file, picture in zip(files, pictures):
        if not isinstance(picture, np.ndarray):
            raise WorkshopError(f"{file} is not a picture that OpenCV can read; delete it and run again")
    return pictures
