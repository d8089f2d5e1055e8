"""Safetensors files by hand: a length, a JSON header, the bytes."""

import json
import random
import struct

import ml_dtypes
import numpy as np
import pytest

from yolor_jax.weights.foreign import WeightsError
from yolor_jax.weights.safetensors_file import read_safetensors

ARRAYS = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.half": np.float16([1, 2]),
    "c.brain": np.arange(3).astype(ml_dtypes.bfloat16),
    "d.count": np.int64(7)[...],
}
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}


def content(arrays, **more):
    header, start = {"__metadata__": {"format": "pt"}, **more}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        code = CODES[str(array.dtype)]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def test_all_dtypes(path):
    path.write_bytes(content(ARRAYS))
    tensors = read_safetensors(path)
    assert tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (array.dtype, array.shape)
        assert tensors[name].tobytes() == array.tobytes()


def test_a_header_length_that_looks_like_a_web_page(path):
    """Its eight bytes are those of 15392, which begin with a blank and a less-than sign."""
    text = content(ARRAYS)
    length = struct.unpack("<Q", text[:8])[0]
    header, tensors = text[8 : 8 + length], text[8 + length :]
    path.write_bytes(struct.pack("<Q", 15392) + header.ljust(15392) + tensors)
    assert path.read_bytes().startswith(b" <")
    assert read_safetensors(path).keys() == ARRAYS.keys()


F8 = {"dtype": "F8_E4M3", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    "damaged, sentence",
    [
        (b"", "is empty"),
        (b"<html>404</html>", "is a web page"),
        (content({}), "holds no tensors"),
        (content(ARRAYS)[:7], "is no safetensors file"),
        (content(ARRAYS)[:-1], "is no safetensors file"),
        (content(ARRAYS) + b"0", "is no safetensors file"),
        (struct.pack("<Q", 2**60) + content(ARRAYS)[8:], "is no safetensors file"),
        (content({}, x=F8), "is no safetensors file that NumPy can hold"),
        (content({}, x={**F8, "data_offsets": [0, 9]}), "is no safetensors file"),
    ],
)
def test_refused(path, damaged, sentence):
    path.write_bytes(damaged)
    with pytest.raises(WeightsError) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_damage_ends_in_a_sentence(path):
    """There is no checksum, so damaged numbers are read; but nothing else is ever raised."""
    rng = random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content(ARRAYS))
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_safetensors(path)
        except WeightsError:
            refused += 1
    assert 50 < refused < 500


def test_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_safetensors(path)
