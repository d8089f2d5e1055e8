"""Sound input, spoilt in all the ways in which disks, downloads and programs spoil it.

rng = np.random.default_rng(7)
spoilt_bytes(data, rng)  # cut, flipped, swapped, repeated
spoilt_json(document, rng)  # fields of other types, huge numbers, keys twice, deep nesting
"""

import copy
import json
from collections.abc import Iterator

import numpy as np

HUGE = (2**31, 2**63, 2**64 + 1, -(2**63) - 1, 10**400, 1e308, -1e308)
VALUES = (
    None, True, False, 0, -1, 0.5, *HUGE, float("nan"), float("inf"), "", "1", "0", "\ud800",
    "\0", "a\nb", "../../x", "x" * 5000, [], {}, [None], {"a": 1}, [[]], "%s%n", "猫",
)  # fmt: skip


def spoilt_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to four faults."""
    for _ in range(int(rng.integers(1, 5))):
        data = _FAULTS[rng.integers(len(_FAULTS))](data, rng)
    return data


def _span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, len(data) + 1))
    return start, start + int(rng.integers(1, 65))


def _cut(data, rng):
    return data[: rng.integers(0, len(data) + 1)]


def _flip(data, rng):
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        spoilt[rng.integers(len(spoilt))] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _flip_header(data, rng):
    return _flip(data[:64], rng) + data[64:]


def _remove(data, rng):
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _repeat(data, rng):
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 200)) + data[end:]


def _swap(data, rng):
    (a, b), (c, d) = sorted([_span(data, rng), _span(data, rng)])
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _extremes(data, rng):
    start, end = _span(data, rng)
    value = (b"\0", b"\xff", b"\x7f", b"\x80")[rng.integers(4)]
    return data[:start] + value * (end - start) + data[end:]


def _append(data, rng):
    return data + rng.bytes(int(rng.integers(1, 300)))


_FAULTS = (
    _cut,
    _flip,
    _flip,
    _flip_header,
    _flip_header,
    _remove,
    _repeat,
    _swap,
    _extremes,
    _append,
)


def spoilt_json(document: dict, rng: np.random.Generator) -> bytes:
    """A JSON document with one to four faults in its values, or in its text."""
    document = copy.deepcopy(document)
    for _ in range(int(rng.integers(1, 5))):
        places = list(_places(document))
        parent, key = places[rng.integers(len(places))]
        match rng.integers(5):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            case 2:
                other, other_key = places[rng.integers(len(places))]
                parent[key] = copy.deepcopy(other[other_key])
            case _:
                parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        if not any(True for _ in _places(document)):
            break
    text = json.dumps(document)
    match rng.integers(8):
        case 0:
            return spoilt_bytes(text.encode(), rng)
        case 1:
            return text.replace("{", '{"id": 3, ', int(rng.integers(1, 4))).encode()  # keys twice
        case 2:
            depth = int(rng.integers(1, 200_000))
            return text.replace("[", "[" * depth + "]" * depth + ", [", 1).encode()
        case _:
            return text.encode()


def _places(value: dict | list) -> Iterator[tuple[dict | list, str | int]]:
    """All containers and keys in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in list(items):
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)
