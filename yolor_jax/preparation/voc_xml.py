"""A file of Pascal VOC's annotations: the size of an image, and name, box and flag of each object.

```python
parsed = parse(path.read_bytes(), "Annotations/000005.xml")
parsed.objects[0]  # {"name": "chair", "bbox": [262.0, 210.0, 62.0, 129.0], "iscrowd": 0}
```
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

from yolor_jax.errors import InputError
from yolor_jax.preparation.as_coco import NUMBER

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class Parsed(NamedTuple):
    """What a file says.

    Attributes:
        size: height and width as they stand there, integers where they are; None if it has none.
        objects: entries with name, bbox (left, top, width, height in pixels) and iscrowd. Of what
            is broken ``fault`` says what it is: bbox is None then, or there is not even a name.
    """

    size: tuple[int | str, int | str] | None
    objects: list[dict]


def parse(data: bytes, where: str) -> Parsed:
    """Reads the content of a file.

    Args:
        data: the content.
        where: the file is, for the faults.
    """
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, InputError, LookupError, ValueError) as error:  # an encoding
        return Parsed(None, [{"fault": f"{where} is no XML that is read here: {error}"}])
    size = _text(root, "size/height"), _text(root, "size/width")
    objects = [
        _object(element, f"{where}, object {number}")
        for number, element in enumerate(root.findall("object"), 1)
    ]
    return Parsed(None if size == ("", "") else (_integer(size[0]), _integer(size[1])), objects)


class _Builder(ElementTree.TreeBuilder):
    """Refuses what can grow without bounds: entities, which only a document type declares."""

    def doctype(self, name, pubid, system):
        raise InputError("it declares a document type; expected none")


def _object(element: ElementTree.Element, where: str) -> dict:
    name, difficult = _text(element, "name"), _text(element, "difficult") or "0"
    if not name:
        return {"fault": f"{where} has no name"}
    if difficult not in ("0", "1"):
        return {"fault": f"{where} ({name}): difficult is {difficult[:40]!r}; expected 0 or 1"}
    entry = {"name": name, "iscrowd": int(difficult)}
    sides = [_text(element, f"bndbox/{side}") for side in _SIDES]
    said = ", ".join(f"{side} {text[:20]!r}" for side, text in zip(_SIDES, sides, strict=True))
    if not all(map(NUMBER.fullmatch, sides)):
        fault = f"{where} ({name}): {said}; expected a bndbox with four numbers"
        return {**entry, "bbox": None, "fault": fault}
    left, top, right, bottom = map(float, sides)
    if left > right or top > bottom:
        fault = f"{where} ({name}): {said}; expected a minimum below the maximum"
        return {**entry, "bbox": None, "fault": fault}
    return {**entry, "bbox": [left - 1, top - 1, right - left + 1, bottom - top + 1]}


def _text(element: ElementTree.Element, path: str) -> str:
    """The text of the first element of this path; empty if there is none."""
    return (element.findtext(path) or "").strip()


def _integer(text: str) -> int | str:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text
