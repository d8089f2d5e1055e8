"""Archives and tensors that are not what they say, and damage of any kind."""

import random
import struct
import zipfile

import pytest

from tests.support.torch_archives import (
    SIX,
    assert_same,
    call,
    expected_arrays,
    integer,
    mapping,
    name,
    numbers,
    refusal,
    save,
    save_entries,
    sequence,
    storage,
    tensor,
    text,
)
from yolor_jax.weights import torch_archive, torch_file, torch_pickle
from yolor_jax.weights.foreign import WeightsError
from yolor_jax.weights.torch_file import read_torch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


# Archives that are not what they say


def test_zip_bomb(path):
    save_entries(path, {"data.pkl": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**15
    assert "is compressed" in refusal(path)


def test_pickle_beyond_the_limit(path):
    save(path, text(" " * torch_archive.MAX_PICKLE_BYTES) + b"0" + mapping({"w": tensor()}))
    assert f"at most {torch_archive.MAX_PICKLE_BYTES}" in refusal(path)


def central_directory(content, entry):
    """Where the entry of the central directory begins that has this name."""
    return content.rindex(b"PK\x01\x02", 0, content.rindex(f"archive/{entry}".encode()))


@pytest.mark.parametrize(
    "offset, value, sentence",
    [
        (10, struct.pack("<H", zipfile.ZIP_DEFLATED), "is compressed"),
        (24, struct.pack("<I", 2**31 - 1), "is compressed (24 bytes for 2147483647)"),
        (24, struct.pack("<I", 0), "is compressed (24 bytes for 0)"),
        (20, struct.pack("<II", 2**31 - 1, 2**31 - 1), "its entries reach to byte 2147"),
        (20, struct.pack("<II", 20, 20), "has 20 bytes, expected 24"),
        (42, struct.pack("<I", 0), "overlaps or repeats"),
        (42, struct.pack("<I", 9), "overlaps or repeats"),
        (42, struct.pack("<I", 2**31), "its entries reach to byte 2147"),
        (16, struct.pack("<I", 1), "Bad CRC-32"),
        (8, struct.pack("<H", 1), "encrypted"),
        (8, struct.pack("<H", 0x20), "compressed patched data"),
        (6, b"\xff", "zip file version 25.5"),
    ],
)
def test_false_entries(path, offset, value, sentence):
    save(path, mapping({"w": tensor()}))
    content = bytearray(path.read_bytes())
    start = central_directory(content, "data/0") + offset
    assert content[start : start + len(value)] != value
    content[start : start + len(value)] = value
    path.write_bytes(content)
    assert sentence in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_entry(path):
    save(path, mapping({"w": tensor()}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", (-SIX).tobytes())
    assert "overlaps or repeats" in refusal(path)


def test_big_endian(path):
    save(path, mapping({"w": tensor()}), byteorder=b"big")
    assert "byte order b'big'" in refusal(path)


@pytest.mark.parametrize("lacking", [1, 2, 30, 100, 250])
def test_truncated(golden, path, lacking):
    content = (golden / "weights" / "pickled_module_half.pt").read_bytes()
    path.write_bytes(content[:-lacking])
    assert "cut off or damaged" in refusal(path)
    path.write_bytes(content[: len(content) * lacking // 260])
    refusal(path)


@pytest.mark.parametrize("file, runs", [("views", 1000), ("pickled_module_half", 60)])
def test_damage_never_passes_unseen(golden, path, file, runs):
    """Cut, flipped, removed and repeated bytes: refused in a sentence, or the very same arrays."""
    folder = golden / "weights"
    content = (folder / f"{file}.pt").read_bytes()
    expected = expected_arrays(folder, file)
    rng = random.Random(0)
    refused = 0
    for _ in range(runs):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 1, 3])):
            place = rng.randrange(len(damaged) - 1)
            match rng.randrange(4):
                case 0:
                    damaged[place] ^= 1 << rng.randrange(8)
                case 1:
                    damaged[place] = rng.choice([0, 255, rng.randrange(256)])
                case 2:
                    del damaged[place : place + rng.choice([1, 4, 64, len(damaged) - place - 1])]
                case 3:
                    damaged[place:place] = damaged[place : place + rng.choice([1, 4, 64])]
        path.write_bytes(damaged)
        try:
            assert_same(read_torch(path), expected)
        except WeightsError:
            refused += 1
    assert runs // 3 < refused < runs


@pytest.mark.parametrize("file, runs", [("views", 1500), ("pickled_module_ema", 250)])
def test_damaged_pickle_is_refused_or_read(golden, file, runs):
    """The checksum of the archive does not protect the machine from what an attacker writes."""
    with zipfile.ZipFile(golden / "weights" / f"{file}.pt") as archive:
        content = archive.read(f"{file}/data.pkl")
    rng = random.Random(0)
    refused = 0
    for _ in range(runs):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 3])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            torch_file._weights(torch_pickle.load(bytes(damaged)))
        except WeightsError as error:
            assert len(str(error)) < 1000 and str(error).isprintable()
            refused += 1
    assert runs // 10 < refused < runs


# Tensors that are not what they say


@pytest.mark.parametrize(
    "view, sentence",
    [
        (tensor((7,), (1,)), "leaves its storage of 6"),
        (tensor((6,), (1,), 1), "leaves its storage of 6"),
        (tensor((2, 3), (4, 1)), "leaves its storage of 6"),
        (tensor((), (), 6), "leaves its storage of 6"),
        (tensor((2**30, 2**30), (0, 0)), "has a tensor of shape"),
        (tensor((7,), (0,)), "repeats the 6 elements"),
        (tensor((6,), (-1,), 5), "negative, huge or non-integer"),
        (tensor((6,), (1,), -1), "negative, huge or non-integer"),
        (tensor((-1,), (1,)), "negative, huge or non-integer"),
        (tensor((2,), (2**70,)), "negative, huge or non-integer"),
        (tensor((0, 2**62), (1, 1)), "negative, huge or non-integer"),
        (tensor((0, 2**39, 2**39), (1, 1, 1)), "has a tensor of shape"),
        (tensor((2, 3), (3,)), "2 sides and 1 strides"),
        (tensor([1] * 65, [1] * 65), "65 sides"),
        (tensor(size=7), "has 24 bytes, expected 28"),
        (tensor((5,), (1,), size=5), "has 24 bytes, expected 20"),
        (tensor(size=2**200), "negative, huge or non-integer"),
        (tensor(kind="DoubleStorage"), "has 24 bytes, expected 48"),
        (tensor(key="1"), "lacks the entry 'data/1'"),
        (tensor(key="../data.pkl"), "lacks the entry 'data/../data.pkl'"),
        (tensor(key="\x1b[2J\n"), "lacks the entry"),
        (tensor(kind="QInt8Storage"), "asks for 'torch.QInt8Storage'"),
        (call(name("torch._utils", "_rebuild_sparse_tensor")), "_rebuild_sparse_tensor'"),
        (call(name("torch._utils", "_rebuild_qtensor")), "_rebuild_qtensor'"),
        (call(name("torch._utils", "_rebuild_tensor_v2"), integer(0)), "unexpected arguments"),
        (call(name("torch._utils", "_rebuild_parameter"), integer(0)), "unexpected arguments"),
    ],
)
def test_tensor_outside_its_storage(path, view, sentence):
    save(path, mapping({"w": view}))
    assert sentence in refusal(path)


def test_shapes_hold_integers(path):
    shape = sequence(text("2"), integer(3))
    view = call(
        name("torch._utils", "_rebuild_tensor_v2"), storage(), integer(0), shape, numbers((3, 1))
    )
    save(path, mapping({"w": view}))
    assert "non-integer" in refusal(path)
