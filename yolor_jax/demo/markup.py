"""A picture and the boxes over it as HTML: three pieces, of which a threshold changes two.

    picture(image)                     # once
    overlay(found, height, width)      # boxes with their names, lies over the picture
    table(found)                       # the same as numbers

Boxes and names are elements of their own, so that the letters keep their size whatever the size of
the picture.
"""

import base64
from html import escape

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from yolor_jax.pictures.drawing import class_color
from yolor_jax.runs.found import Found

LONGEST = 1280
"""Pixels of the longer side of a picture that is shown."""
QUALITY = 90
TOP, RIGHT = 0.08, 0.65
"""Parts of the picture: above TOP a name stands inside its box; a box that begins right of RIGHT
has it at its right end."""
ROWS = 50
"""Of a table; further boxes are counted."""

CSS = """
.stage { position: relative; gap: 0 !important; }
.stage .html-container, .overlay .html-container { padding: 0 !important; }
.stage img { width: 100%; height: auto; display: block; border-radius: 6px; }
.overlay { position: absolute !important; inset: 0; overflow: hidden !important; }
.overlay > .html-container, .overlay .overlay { position: absolute; inset: 0; }
.box { position: absolute; border: 2px solid var(--tone); box-sizing: border-box;
  box-shadow: 0 0 0 1px #18181b66, inset 0 0 0 1px #18181b66; }
.box.alone { border-style: dashed; }
.box b { position: absolute; left: -2px; bottom: 100%; padding: 0 5px; white-space: nowrap;
  background: var(--tone); color: #18181b; font: 600 12px/17px system-ui, sans-serif; }
.box.inside b { bottom: auto; top: 0; }
.box.leftwards b { left: auto; right: -2px; }
.caption strong { display: block; font-size: 15px; }
.caption span { margin-right: 12px; }
.caption span, .faint { color: var(--body-text-color); opacity: 0.75; font-size: 13px; }
.boxes { width: 100%; border-collapse: collapse; font-size: 13px; margin: 0;
  color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.boxes th { text-align: right; font-weight: 500; opacity: 0.75; }
.boxes td { text-align: right; border-top: 1px solid var(--border-color-primary); }
.boxes td, .boxes th { padding: 3px 0 3px 6px; white-space: nowrap; }
.boxes tr > :first-child { text-align: left; padding-left: 0; }
.boxes i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin-right: 6px; background: var(--tone); }
"""


def picture(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """An RGB picture with at most `LONGEST` pixels a side."""
    scale = LONGEST / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    data = base64.b64encode(jpeg).decode()
    return f'<img alt="the picture" src="data:image/jpeg;base64,{data}">'


def overlay(found: Found, height: int, width: int, alone: Bool[np.ndarray, " n"]) -> str:
    """The boxes over a picture, the surest on top.

    Args:
        found: in pixels of the picture.
        height: of the picture.
        width: of it.
        alone: which boxes are dashed.
    """
    boxes = []
    scale = 100 / np.array([width, height, width, height])
    objects = [*zip(found.boxes_xyxy * scale, found.scores, found.labels, alone, strict=True)]
    for box, score, label, is_alone in reversed(objects):
        left, top, right, bottom = box.tolist()
        kinds = ["box", "alone" * bool(is_alone), "inside" * (top < 100 * TOP)]
        kinds.append("leftwards" * (left > 100 * RIGHT))
        name = escape(f"{found.class_names[label]} {score:.2f}")
        boxes.append(
            f'<div class="{" ".join(filter(None, kinds))}" style="left:{left:.3f}%;top:{top:.3f}%;'
            f'width:{right - left:.3f}%;height:{bottom - top:.3f}%;{_tone(label)}">'
            f"<b>{name}</b></div>"
        )
    return "".join(boxes)


def table(found: Found) -> str:
    """Class, score and corners in pixels of the picture, the surest first; empty without boxes."""
    if not len(found):
        return ""
    rows = []
    objects = [*zip(found.boxes_xyxy, found.scores, found.labels, strict=True)]
    for box, score, label in objects[:ROWS]:
        name = f'<i style="{_tone(label)}"></i>{escape(found.class_names[label])}'
        cells = [name, f"{score:.3f}", *(f"{side:.1f}" for side in box.tolist())]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    names = ("class", "score", "left", "top", "right", "bottom")
    head = "".join(f"<th>{name}</th>" for name in names)
    more = len(objects) - len(rows)
    rest = f'<p class="faint">and {more} more</p>' if more else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<table class="boxes">{body}</table>{rest}'


def caption(title: str, *facts: str) -> str:
    """A title and what is to be said of it."""
    said = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="caption"><strong>{escape(title)}</strong>{said}</div>'


def _tone(label: np.int32) -> str:
    """The colour of a class for CSS, as in all pictures of this package."""
    return "--tone:rgb({},{},{})".format(*class_color(int(label)))
