"""Reading PyTorch checkpoints: the files torch wrote, to the bit, and the choice of the weights."""

import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from tests.support.torch_archives import (
    BUILD,
    EMPTY_TUPLE,
    GOLDEN,
    MODEL,
    NEWOBJ,
    NONE,
    SIX,
    assert_same,
    call,
    expected_arrays,
    instance,
    integer,
    listing,
    mapping,
    module,
    name,
    refusal,
    save,
    save_entries,
    sequence,
    tensor,
    text,
)
from yolor_jax.weights.torch_file import read_torch

BOUNDED = 30
"""Seconds of CPU time that tell a walk through the file, 2 s at most, from one without end."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


# Files that are to be read


@pytest.mark.parametrize("file", GOLDEN)
def test_golden(golden, file):
    folder = golden / "weights"
    tensors = read_torch(folder / f"{file}.pt")
    assert_same(tensors, expected_arrays(folder, file))
    assert not any(array.flags.writeable for array in tensors.values())


def test_hand_made_archives_are_read(path):
    views = {"a": tensor(), "b": tensor((3, 2), (1, 3)), "c": tensor((), (), 5)}
    views["d"] = tensor((1, 2), (2**39, 4))  # the stride of a side of length one may be anything
    save(path, mapping(views))
    square = SIX.reshape(2, 3)
    expected = {"a": square, "b": square.T, "c": np.float32(5)[...], "d": SIX[None, ::4]}
    assert_same(read_torch(path), expected)


@pytest.mark.parametrize(
    "checkpoint, expected",
    [
        ({"ema": {"w": 0}, "model": {"w": 1}}, 0),
        ({"ema": None, "model": {"w": 1}, "state_dict": {"w": 0}}, 1),
        ({"ema": {}, "model": {"w": 1}}, 1),
        ({"state_dict": {"w": 1}, "epoch": 3}, 1),
        ({"w": 1}, 1),
    ],
)
def test_best_weights_are_chosen(path, checkpoint, expected):
    def opcodes(value):
        if isinstance(value, dict):
            return mapping({key: opcodes(v) for key, v in value.items()})
        if value is None:
            return NONE
        return tensor((1,), (1,), offset=value)

    save(path, opcodes(checkpoint) if "epoch" not in checkpoint else mapping(
        {"state_dict": opcodes(checkpoint["state_dict"]), "epoch": integer(3)}
    ))  # fmt: skip
    assert_same(read_torch(path), {"w": SIX[expected : expected + 1]})


def test_only_what_is_chosen_is_read(path):
    model = mapping({"w": tensor(key="missing")})
    save(path, mapping({"model": model, "ema": sequence(mapping({"w": tensor()}), integer(7))}))
    assert_same(read_torch(path), {"w": SIX.reshape(2, 3)})


def test_module_in_state_dict_order(path):
    passing = call(name("__builtin__", "set"), listing(text("grid")))
    child = module({"weight": tensor(), "bias": NONE}, {"mean": tensor((2,), (1,))})
    root = module(
        {"gain": tensor((1,), (9,))},
        {"grid": tensor(), "anchors": tensor((2,), (2,))},
        {"b": child, "a": module(modules={"0": child}), "none": NONE},
        _non_persistent_buffers_set=passing,
        hyp=mapping({"lr": b"G" + struct.pack(">d", 0.01)}),
        class_weights=tensor(key="elsewhere"),
    )
    save(path, mapping({"model": root}))
    inner = {"weight": SIX.reshape(2, 3), "mean": SIX[:2]}
    expected = {"gain": SIX[:1], "anchors": SIX[:4:2]}
    expected |= {f"b.{key}": array for key, array in inner.items()}
    expected |= {f"a.0.{key}": array for key, array in inner.items()}
    assert_same(read_torch(path), expected)


def test_data_parallel_prefix_is_stripped_from_all_or_none(path):
    save(path, mapping({"module.a": tensor(), "module.b": tensor()}))
    assert list(read_torch(path)) == ["a", "b"]
    save(path, mapping({"module.a": tensor(), "b": tensor()}))
    assert list(read_torch(path)) == ["module.a", "b"]


def test_memory_is_that_of_the_tensors(path):
    big = np.zeros(2**22, np.float32)  # 16 MiB
    save(path, mapping({"model": mapping({"w": tensor((2**22,), (1,), size=2**22)})}), {"0": big})
    tracemalloc.start()
    try:
        tensors = read_torch(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tensors["w"].nbytes == big.nbytes
    assert big.nbytes <= peak < big.nbytes + 6 * 2**20


# Files of another kind


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html><body>Quota exceeded</body></html>", "is a web page"),
        (b"<?xml version='1.0'?><Error>NoSuchKey</Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "begins with b'version https://'"),
        (pickle.dumps({"w": 1}), "begins with b'"),
        (b"P", "begins with b'P'"),
        (b"PK\x03\x04", "is cut off or damaged"),
    ],
)
def test_no_checkpoint_at_all(path, content, sentence):
    path.write_bytes(content)
    assert refusal(path).startswith(sentence)


def test_legacy_format(golden, path):
    path.write_bytes((golden / "weights" / "legacy_not_zip.pt").read_bytes())
    assert "torch.save(torch.load(p), q)" in refusal(path)


def test_zip_of_something_else(path):
    save_entries(path, {"readme.txt": b"hello"})
    assert "with 0 data.pkl" in refusal(path)
    save_entries(path, {"data.pkl": b"", "more/data.pkl": b""})
    assert "with 2 data.pkl" in refusal(path)


@pytest.mark.parametrize("entry", ["constants.pkl", "code/__torch__/model.py"])
def test_torchscript(path, entry):
    save(path, mapping({"w": tensor()}), **{entry: b""})
    assert "TorchScript" in refusal(path)


def test_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_torch(path)


@pytest.mark.parametrize(
    "value",
    [
        mapping({"epoch": integer(3), "model": NONE}),
        mapping({"model": mapping({"w": tensor(), "epoch": integer(3)})}),
        mapping({"model": module()}),
        mapping({}),
        listing(tensor()),
        integer(3),
        NONE,
    ],
)
def test_no_tensors(path, value):
    save(path, value)
    assert refusal(path).startswith("holds no tensors")


# Modules that are no modules


def put(i):
    return b"q" + bytes([i])


def get(i):
    return b"h" + bytes([i])


def looping():
    """A module inside itself, through the memo."""
    state = mapping({"_modules": mapping({"again": get(0)})})
    return MODEL + EMPTY_TUPLE + NEWOBJ + put(0) + state + BUILD


def doubling(levels):
    """Each level holds the one below twice: 2 ** levels modules in a few kilobytes."""
    value = module({"w": tensor()})
    for _ in range(levels):
        value = module(modules={"a": value + put(0), "b": get(0)})
    return value


@pytest.mark.parametrize(
    "value, sentence",
    [
        (looping(), "named"),
        (doubling(60), "has more than 100000 modules"),
        (module(modules={"x" * 2000: module()}), "named"),
        (module({"": tensor()}), "named"),
        (module({"a\nb": tensor()}), "named"),
        (module({"\udc80": tensor()}), "named"),
        (module({"a": integer(1)}), "_parameters are not of type Tensor"),
        (module({"a": module()}), "_parameters are not of type Tensor"),
        (module(buffers={"a": listing()}), "_buffers are not of type Tensor"),
        (module(modules={"a": tensor()}), "_modules are not of type Placeholder"),
        (module(modules={"a": MODEL + EMPTY_TUPLE + NEWOBJ}), "expected a module"),
        (instance("models.yolo", "Model", _parameters=listing()), "_parameters are not"),
        (module({"w": tensor()}, _non_persistent_buffers_set=NONE), "is no set"),
    ],
)
def test_false_modules(path, value, sentence):
    save(path, mapping({"model": value}))
    start = time.process_time()
    assert sentence in refusal(path)
    assert time.process_time() - start < BOUNDED
