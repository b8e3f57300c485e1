"""What the workshop and the manifest agree on: names of the inputs and outputs, the head, the labels."""

NAME = "nanodet-g"
VERSION = 2
INPUT_NAME = "image"
MULTIPLE_OF = 32
LONG_SIDE = 416
COLOUR_ORDER = "bgr"
MEAN = (103.53, 116.28, 123.675)
STD = (57.375, 57.12, 58.395)
PADDING = "bottom_right"
PAD_VALUE = 114

STRIDES = (8, 16, 32)
CLASSES = 80
REG_MAX = 10
BOX_BINS = 4 * (REG_MAX + 1)
NMS_IOU = 0.6

LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)
assert len(LABELS) == CLASSES


def score_output(stride: int) -> str:
    return f"scores_{stride}"


def box_output(stride: int) -> str:
    return f"boxes_{stride}"
