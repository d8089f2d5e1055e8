"""What is wrong with a value of annotations: each check names what was got and what is expected.

No value is coerced: an id is an integer of 64 bits, a number is finite, and a text that looks like
a number is none.

    number_fault("7")  # "the id '7' (a text); expected an integer of 64 bits"
    name_fault("cat")  # None
"""

import contextlib
import unicodedata

_INT64 = range(-(2**63), 2**63)
_LARGEST = 1e9  # pixels from the corner, of any coordinate
_SHOWN = 60  # characters of a value in a message


def is_integer(value) -> bool:
    """Whether a value is an integer of 64 bits, as TFDS and NumPy keep ids."""
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def number_fault(value) -> str | None:
    """What is wrong with an id."""
    return None if is_integer(value) else f"the id {_shown(value)}; expected an integer of 64 bits"


def name_fault(name) -> str | None:
    """What is wrong with the name of a class, which becomes a line of a text file."""
    if not isinstance(name, str):
        return f"the name {_shown(name)}; expected a text"
    if not name.strip() or name != name.strip():
        return f"the name {name!r}; expected a text without white space at its ends"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        return f"the name {name!r}; expected no control characters, line ends or surrogates"
    return None


def file_name_fault(name) -> str | None:
    """What is wrong with the file name of an image."""
    if isinstance(name, str) and name and "\0" not in name:
        with contextlib.suppress(UnicodeEncodeError):  # half a character
            name.encode()
            return None
    return f"the file_name {_shown(name)}; expected the name of a file"


def annotation_fault(annotation, image_ids: set, labels: dict[int, int]) -> tuple[str, str] | None:
    """The kind of finding, and what is broken in an annotation, if anything."""
    if not isinstance(annotation, dict):
        return "broken annotation", f"{_shown(annotation)}; expected an object"
    if lacking := {"image_id", "category_id", "bbox"} - annotation.keys():
        return "broken annotation", f"no {', '.join(sorted(lacking))}"
    number, box, area = (annotation.get(key) for key in ("id", "bbox", "area"))
    if number is not None and (fault := number_fault(number)):
        return "broken annotation", fault
    if annotation.get("iscrowd", 0) not in (0, 1):
        return "broken annotation", f"iscrowd {_shown(annotation['iscrowd'])}; expected 0 or 1"
    identity = annotation.get("identity")
    if identity is not None and not (is_integer(identity) and identity >= 0):
        expected = "expected an integer of 0 or more, or none"
        return "broken identity", f"identity {_shown(identity)} (id {number}); {expected}"
    if identity is not None and annotation.get("iscrowd", 0):
        return "broken identity", f"identity {identity} of a crowd region (id {number})"
    for key, known in (("image_id", image_ids), ("category_id", labels)):
        value = annotation[key]
        if not is_integer(value) or value not in known:
            return f"unknown {key.replace('_', ' ')}", f"{key} {_shown(value)} (id {number})"
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return "broken box", f"bbox {_shown(box)} (id {number}); expected four numbers"
    if min(box[2:]) < 0:
        return "broken box", f"bbox {_shown(box)} (id {number}), with a negative side"
    if area is not None and not (is_number(area, _LARGEST**2) and area >= 0):
        return "broken box", f"area {_shown(area)} (id {number})"
    return None


def is_number(value, largest: float = _LARGEST) -> bool:
    """Whether a value is a number, finite and not larger than pictures can make it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < largest


def _shown(value) -> str:
    """A value for a message, shortened; a text is said to be one, for it may look like a number."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return f"{shown} (a text)" if isinstance(value, str) else shown
