"""Weights from a darknet ``.weights`` file: a header, then float32 numbers without names.

Their meaning is their place, so the convolutions of the network must be known, in its order:

    sections = conv_sections(shapes)        # shapes: {'module_list.0.Conv2d.weight': (32, 3, 3, 3)}
    tensors = read_darknet("yolov4-csp.weights", sections)

Each convolution has batch norm's bias, weight, running mean and running variance, or else its own
bias; then its kernel ``[out, in, height, width]``.
"""

import math
import os
import pathlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from yolor_jax.weights.foreign import WeightsError, naming, refuse_downloads_gone_wrong

HEADER = struct.Struct("<3iq")
"""Major, minor and revision of the format, and the number of images seen in training."""
VERSION = (0, 2, 5)
"""What darknet itself writes."""


class ConvSection(NamedTuple):
    """A convolution of the network: name of its section, channels, side of its kernel."""

    name: str
    out_channels: int
    in_channels: int
    kernel: int
    batch_norm: bool


def conv_sections(shapes: Mapping[str, tuple[int, ...]]) -> list[ConvSection]:
    """The convolutions of a state dict.

    Args:
        shapes: shape of each tensor by its state-dict name, in the network's order.
    """
    suffix = ".Conv2d.weight"
    return [
        ConvSection(
            section := name.removesuffix(suffix),
            out_channels=shape[0],
            in_channels=shape[1],
            kernel=shape[2],
            batch_norm=f"{section}.BatchNorm2d.weight" in shapes,
        )
        for name, shape in shapes.items()
        if name.endswith(suffix)
    ]


def read_darknet(path: str | os.PathLike, sections: Sequence[ConvSection]) -> dict[str, np.ndarray]:
    """The tensors of a darknet file by their PyTorch state-dict names.

    Args:
        path: a ``.weights`` file of format 0.2 or newer.
        sections: all convolutions of the network, in its order.

    Returns:
        Read-only float32 arrays in PyTorch's layout (kernels OIHW), in the file's order.

    Raises:
        WeightsError: if it is no darknet file or has not as many numbers as the network.
        OSError: if it cannot be opened.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file, naming(path):
        _check_header(file.read(HEADER.size))
        length = path.stat().st_size - HEADER.size
        expected = sum(math.prod(shape) for _, shape in _tensors(sections))
        if length != 4 * expected:
            raise WeightsError(
                f"holds {length / 4:,.10g} numbers, expected {expected:,} for {len(sections)} "
                "convolutions; the model or its number of classes is another one, or the file is "
                "cut off"
            )
        numbers = np.fromfile(file, "<f4", expected)
    numbers.flags.writeable = False
    tensors, start = {}, 0
    for name, shape in _tensors(sections):
        end = start + math.prod(shape)
        tensors[name] = numbers[start:end].reshape(shape)
        start = end
    return tensors


def write_darknet(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], sections: Sequence[ConvSection]
) -> None:
    """Writes what `read_darknet` reads; the number of images seen is written as 0.

    Args:
        path: the file to write.
        tensors: arrays in PyTorch's layout by state-dict name; those of other parts are ignored.
        sections: all convolutions of the network, in its order.

    Raises:
        WeightsError: if a tensor is missing or of another shape.
    """
    for name, shape in _tensors(sections):
        if name not in tensors or tensors[name].shape != shape:
            got = tensors[name].shape if name in tensors else "nothing"
            raise WeightsError(f"{name}: got {got}, expected an array of shape {shape}")
    with pathlib.Path(path).open("wb") as file:
        file.write(HEADER.pack(*VERSION, 0))
        for name, _ in _tensors(sections):
            file.write(np.asarray(tensors[name], "<f4").tobytes())


def _tensors(sections: Sequence[ConvSection]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor in the file's order."""
    for section in sections:
        per_channel = ["Conv2d.bias"]
        if section.batch_norm:
            per_channel = [
                f"BatchNorm2d.{part}" for part in ("bias", "weight", "running_mean", "running_var")
            ]
        for part in per_channel:
            yield f"{section.name}.{part}", (section.out_channels,)
        kernel = (section.kernel, section.kernel)
        yield f"{section.name}.Conv2d.weight", (section.out_channels, section.in_channels, *kernel)


def _check_header(head: bytes) -> None:
    refuse_downloads_gone_wrong(head)
    if len(head) < HEADER.size:
        raise WeightsError(
            f"has {len(head)} bytes, expected a header of {HEADER.size} and the weights; "
            "download it again"
        )
    major, minor, revision, _ = HEADER.unpack(head)
    if not (0 <= major < 10 and 0 <= minor < 10) or (major, minor) < (0, 2):
        raise WeightsError(
            f"has format version {major}.{minor}.{revision}, expected darknet 0.2 to 9.9; is it a "
            "darknet .weights file? PyTorch's .pt files have a reader of their own"
        )
