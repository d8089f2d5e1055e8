"""The eighty classes of COCO and their category ids.

COCO numbers its categories 1 .. 90 with ten gaps; networks number them 0 .. 79 in the same order.

    COCO_CATEGORY_IDS[COCO_NAMES.index("toothbrush")]  # 90
"""

COCO_NAMES = (
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
)  # fmt: skip
"""Class 0 .. 79, in the order of the category ids."""

_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _UNUSED_IDS)
"""Category id of class 0 .. 79."""


def category_ids(names: tuple[str, ...]) -> tuple[int, ...]:
    """Category ids of classes of which only the names are known: COCO's own, or else 1 .. K."""
    return COCO_CATEGORY_IDS if names == COCO_NAMES else tuple(range(1, len(names) + 1))
