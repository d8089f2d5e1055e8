"""Pictures of detections: boxes with labels, predicted beside true, and contact sheets.

Everything here is NumPy and OpenCV on the host; images are RGB ``uint8`` and boxes are ``xyxy`` in
pixels of the image that is handed in. Small images are magnified by a whole factor, so that labels
stay readable, and line width and letters grow with large ones.

Example:
    >>> picture = draw_boxes(image, boxes_xyxy, labels, scores, class_names=COCO_NAMES)
    >>> save_image("out.jpg", picture)
"""

import functools
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from yolor_jax.errors import InputError
from yolor_jax.paths import user_path
from yolor_jax.whole_file import whole_file

Image = UInt8[np.ndarray, "H W 3"]
Color = tuple[int, int, int]

TARGET_SIDE = 640  # small images are magnified until the longest side is about this long
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, INK, PAPER = (255, 255, 255), (24, 24, 27), (244, 244, 245)
GOLDEN_RATIO = 0.618033988749895
OKLAB_TO_LMS = np.array(
    [[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.2914855480]]
)
LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@functools.cache
def class_color(label: int) -> Color:
    """A colour for a class: neighbours in the list get far-apart hues.

    The hue walks the colour circle by the golden ratio, so that any number of consecutive classes
    is spread evenly, and the lightness takes turns. Both are measured in OKLCH, where equal steps
    look equal, so that no class shouts and none drowns.

    Args:
        label: class number, 0 or more.

    Returns:
        (red, green, blue), each 0..255.

    References:
        B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    hue = 2 * math.pi * (0.70 + label * GOLDEN_RATIO)
    lightness = (0.62, 0.72, 0.80)[label % 3]
    a, b = 0.17 * math.cos(hue), 0.17 * math.sin(hue)
    lms = lightness + OKLAB_TO_LMS @ np.array([a, b])
    linear = np.clip(LMS_TO_RGB @ lms**3, 0.0, 1.0)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * gamma).astype(int).tolist()
    return red, green, blue


def draw_boxes(
    image: Image,
    boxes_xyxy: Float[np.ndarray, "D 4"],
    labels: Int[np.ndarray, " D"],
    scores: Float[np.ndarray, " D"] | None = None,
    *,
    class_names: Sequence[str],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws boxes with their labels, the surest on top.

    Args:
        image: RGB picture; it is not changed.
        boxes_xyxy: corners in pixels of ``image``.
        labels: class numbers.
        scores: 0..1, written behind the name; left out for ground truth.
        class_names: the name of each class number.

    Returns:
        A new picture, a whole multiple of the size of ``image``.

    Raises:
        InputError: a label has no name.
    """
    canvas, factor = _magnified(image)
    marks = _marks(boxes_xyxy * factor, labels, scores, class_names)
    line, _ = _sizes(canvas)
    for mark in reversed(marks):
        _rectangle(canvas, mark.box, mark.color, line)
    _write_labels(canvas, marks)
    return canvas


def draw_pair(
    image: Image,
    predicted_xyxy: Float[np.ndarray, "D 4"],
    predicted_labels: Int[np.ndarray, " D"],
    predicted_scores: Float[np.ndarray, " D"],
    true_xyxy: Float[np.ndarray, "T 4"],
    true_labels: Int[np.ndarray, " T"],
    *,
    class_names: Sequence[str],
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture twice, side by side: predicted boxes left, true boxes right.

    Args:
        image: RGB picture; it is not changed.
        predicted_xyxy: corners in pixels of ``image``.
        predicted_labels: class numbers.
        predicted_scores: 0..1.
        true_xyxy: corners of the ground truth in pixels of ``image``.
        true_labels: class numbers of the ground truth.
        class_names: the name of each class number.

    Returns:
        A new picture, titled "predicted" and "true"; where there are no boxes, the title says so.
    """
    left = draw_boxes(
        image, predicted_xyxy, predicted_labels, predicted_scores, class_names=class_names
    )
    right = draw_boxes(image, true_xyxy, true_labels, class_names=class_names)
    titles = [
        name if len(boxes_xyxy) else f"{name}: nothing"
        for name, boxes_xyxy in (("predicted", predicted_xyxy), ("true", true_xyxy))
    ]
    return contact_sheet([left, right], titles=titles, columns=2, cell=None)


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    *,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int | None = 640,
) -> UInt8[np.ndarray, "h w 3"]:
    """Several pictures on one sheet, row by row.

    Args:
        images: RGB pictures of any sizes, at least one.
        titles: one line of text above each.
        columns: pictures in a row; about square if left out.
        cell: longest side of a picture on the sheet in pixels; None keeps every size.

    Returns:
        The sheet.

    Raises:
        InputError: no images, or another number of titles than images.
    """
    if not images:
        raise InputError("a contact sheet needs at least one image, got none")
    if titles is not None and len(titles) != len(images):
        raise InputError(f"got {len(titles)} titles for {len(images)} images: give one for each")
    if cell is not None:
        images = [_fitted(image, cell) for image in images]
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    width = max(image.shape[1] for image in images)
    letters = _sizes(np.empty((width, width, 3), np.uint8))[1]
    gap = max(6, width // 80)

    tiles = []
    for i, image in enumerate(images):
        left = (width - image.shape[1]) // 2
        tile = np.full((image.shape[0], width, 3), PAPER, np.uint8)
        tile[:, left : left + image.shape[1]] = image
        if titles is not None:
            tile = np.concatenate([_title_strip(width, titles[i], letters, left), tile])
        tiles.append(tile)
    rows = [_row(tiles[i : i + columns], columns, gap) for i in range(0, len(tiles), columns)]
    return np.pad(np.concatenate(rows), ((0, gap), (0, gap), (0, 0)), constant_values=PAPER[0])


def _row(tiles: Sequence[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Tiles of one width side by side, the row as high as the highest, with gaps above and left."""
    height = max(tile.shape[0] for tile in tiles)
    row = np.full((height + gap, columns * (tiles[0].shape[1] + gap), 3), PAPER, np.uint8)
    for column, tile in enumerate(tiles):
        left = gap + column * (tile.shape[1] + gap)
        row[gap : gap + tile.shape[0], left : left + tile.shape[1]] = tile
    return row


def save_image(path: str | os.PathLike, image: Image) -> None:
    """Writes an RGB picture, whole or not at all; the ending of the path says in which format.

    Args:
        path: where to; the folder must exist.
        image: RGB picture.

    Raises:
        OSError: it could not be written.
    """
    path = user_path(path)
    try:
        encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    except cv2.error as error:
        raise OSError(f"cannot write a picture to {path}: is its ending .jpg or .png?") from error
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


class Mark(NamedTuple):
    """A box to draw: its text, corners (whole pixels of the canvas) and colour."""

    text: str
    box: np.ndarray  # [4] xyxy
    color: Color


def _marks(boxes_xyxy, labels, scores, class_names) -> list[Mark]:
    """What to draw, the surest first."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()}, but there are "
            f"{len(class_names)} class names: hand in the names the model was trained with"
        )
    texts = [class_names[label] for label in labels]
    if scores is not None:
        texts = [f"{text} {score:.2f}" for text, score in zip(texts, scores, strict=True)]
    order = range(len(labels)) if scores is None else np.argsort(-scores, kind="stable")
    corners = np.rint(boxes_xyxy).astype(int)
    return [Mark(texts[i], corners[i], class_color(int(labels[i]))) for i in order]


def _magnified(image) -> tuple[np.ndarray, int]:
    """A copy, magnified by a whole factor if it is small; and the factor."""
    height, width = image.shape[:2]
    factor = max(1, round(TARGET_SIDE / max(height, width)))
    if factor == 1:
        return np.ascontiguousarray(image).copy(), 1
    size = (width * factor, height * factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), factor


def _fitted(image, side: int) -> np.ndarray:
    """The picture with its longest side brought to ``side`` pixels."""
    height, width = image.shape[:2]
    ratio = side / max(height, width)
    if ratio == 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC)


def _sizes(canvas) -> tuple[int, float]:
    """Line width in pixels and scale of the letters for a picture of this size."""
    longest = max(canvas.shape[:2])
    return max(2, round(longest / 320)), max(0.42, longest / 1400)


def _rectangle(canvas, box, color: Color, line: int) -> None:
    """A box with a thin dark edge, so that it shows on any ground."""
    start, end = (int(box[0]), int(box[1])), (int(box[2]), int(box[3]))
    cv2.rectangle(canvas, start, end, INK, line + 2)
    cv2.rectangle(canvas, start, end, color, line)


def _write_labels(canvas, marks: Sequence[Mark]) -> None:
    """Writes each label at its box where it covers the fewest labels written before."""
    letters = _sizes(canvas)[1]
    margin = max(2, round(5 * letters))
    taken: list[tuple[int, int, int, int]] = []
    for text, box, color in marks:
        text_width, text_height, below = _text_size(text, letters)
        width, height = text_width + 2 * margin, text_height + below + margin
        left, top, right, bottom = (int(v) for v in box)
        places = [(left, top - height), (left, top), (right - width, top - height)]
        places += [(right - width, top), (left, bottom), (left, bottom - height)]
        limits = (max(0, canvas.shape[1] - width), max(0, canvas.shape[0] - height))
        spots = [(min(max(x, 0), limits[0]), min(max(y, 0), limits[1])) for x, y in places]

        def covered(spot, size=(width, height)):
            return sum(_shared(spot, *size, other) for other in taken)

        free = next((spot for spot in spots if not covered(spot)), None)  # the first as a rule
        x, y = free or min(spots, key=covered)
        taken.append((x, y, x + width, y + height))
        cv2.rectangle(canvas, (x, y), (x + width, y + height), color, -1)
        dark_ground = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 130
        spot = (x + margin, y + text_height + margin // 2)
        ink = WHITE if dark_ground else INK
        cv2.putText(canvas, text, spot, FONT, letters, ink, 1, cv2.LINE_AA)


def _shared(spot, width: int, height: int, other) -> int:
    """Pixels which a label at ``spot`` would cover of another."""
    across = min(spot[0] + width, other[2]) - max(spot[0], other[0])
    down = min(spot[1] + height, other[3]) - max(spot[1], other[1])
    return max(across, 0) * max(down, 0)


@functools.lru_cache(maxsize=4096)
def _text_size(text: str, letters: float) -> tuple[int, int, int]:
    """Width of a text, and of any text in this size the height above and below the line."""
    (width, _), _ = cv2.getTextSize(text, FONT, letters, 1)
    (_, height), below = cv2.getTextSize("Ag|", FONT, letters, 1)
    return width, height, below


def _title_strip(width: int, text: str, letters: float, left: int = 0) -> np.ndarray:
    """One line of text on light ground, cut off where the picture ends."""
    _, text_height, below = _text_size(text, letters)
    strip = np.full((text_height + 2 * below + 4, width, 3), PAPER, np.uint8)
    spot = (left + 4, text_height + below // 2 + 2)
    cv2.putText(strip, text, spot, FONT, letters, INK, 1, cv2.LINE_AA)
    return strip
