"""Checkpoints as torch.save writes them, made by hand: pickles from opcodes, then a zip archive."""

import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from yolor_jax.weights.foreign import WeightsError
from yolor_jax.weights.torch_file import read_torch

EMPTY_TUPLE, NONE, FALSE, REDUCE, NEWOBJ, BUILD = b")", b"N", b"\x89", b"R", b"\x81", b"b"
DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8"}


def text(value):
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def integer(value):
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


MODEL = name("models.yolo", "Model")


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def numbers(values):
    return sequence(*map(integer, values))


def listing(*items):
    return b"](" + b"".join(items) + b"e"


def mapping(items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def call(function, *arguments):
    return function + sequence(*arguments) + REDUCE


def storage(key="0", size=6, kind="FloatStorage", device="cpu"):
    return sequence(
        text("storage"), name("torch", kind), text(key), text(device), integer(size)
    ) + (b"Q")


def tensor(shape=(2, 3), stride=(3, 1), offset=0, **of_storage):
    """A tensor of six floats by default."""
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage(**of_storage),
        integer(offset),
        numbers(shape),
        numbers(stride),
        FALSE,
        call(name("collections", "OrderedDict")),
    )


def instance(module, attribute, **state):
    """An object as an ordinary class pickles it."""
    return name(module, attribute) + EMPTY_TUPLE + NEWOBJ + mapping(state) + BUILD


def module(parameters=None, buffers=None, modules=None, **more):
    return instance(
        "models.yolo",
        "Model",
        _parameters=mapping(parameters or {}),
        _buffers=mapping(buffers or {}),
        _modules=mapping(modules or {}),
        **more,
    )


def pickle(value):
    return b"\x80\x02" + value + b"."


SIX = np.arange(6, dtype="<f4")


def save(path, value, storages=None, **more):
    """The archive of a value given as opcodes, with six floats as storage 0."""
    storages = {"0": SIX} if storages is None else storages
    entries = {"data.pkl": pickle(value), "byteorder": b"little"}
    entries |= {f"data/{key}": array.tobytes() for key, array in storages.items()}
    return save_entries(path, entries | more)


def save_entries(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in entries.items():
            archive.writestr(f"archive/{entry}", content)
    return path


GOLDEN = {
    "state_dict": "expected",
    "state_dict_with_optimizer": "expected_after_step",
    "bare_state_dict": "expected_after_step",
    "pickled_module_half": "expected_half",
    "pickled_module_ema": "expected_after_step",
    "views": "expected_views",
}


def expected_arrays(folder, file):
    expected = dict(np.load(folder / f"{GOLDEN[file]}.npz"))
    if "bf16" in expected:
        expected["bf16"] = expected["bf16"].astype(ml_dtypes.bfloat16)
    return expected


def assert_same(got, expected):
    assert list(got) == list(expected)
    for key, array in expected.items():
        assert (got[key].dtype, got[key].shape) == (array.dtype, array.shape), key
        assert got[key].tobytes() == array.tobytes(), key


def refusal(path):
    """The sentence with which a file is refused; it begins with the path."""
    with pytest.raises(WeightsError) as caught:
        read_torch(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ") and sentence.isascii() and sentence.isprintable()
    assert len(sentence) < 1000
    return sentence.removeprefix(f"{path}: ")
