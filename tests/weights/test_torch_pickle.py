"""Pickles that want something done or built: refused by name, and nothing happens."""

import ast
import inspect
import pathlib
import pickle
import struct
import time
import tracemalloc

import pytest

from tests.support import torch_archives as archives
from tests.support.torch_archives import (
    BUILD,
    EMPTY_TUPLE,
    MODEL,
    NEWOBJ,
    NONE,
    REDUCE,
    SIX,
    assert_same,
    call,
    instance,
    integer,
    listing,
    mapping,
    module,
    name,
    numbers,
    refusal,
    save,
    sequence,
    tensor,
    text,
)
from yolor_jax.weights import darknet_file, foreign, torch_archive, torch_file, torch_pickle
from yolor_jax.weights.torch_file import read_torch

BOUNDED = 30
"""Seconds of CPU time that tell a walk through the file, 2 s at most, from one without end."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


def harmful(canary):
    """Opcodes that make a file where a real unpickler runs them."""
    made, folder = text(str(canary)), text(str(canary.parent))
    opened = call(name("io", "open"), made, text("w"))
    code = text(f"open({str(canary)!r}, 'w').close()")
    return {
        "builtins.eval": call(name("builtins", "eval"), code),
        "builtins.exec": call(name("builtins", "exec"), code),
        "io.open": opened,
        "os.system": call(name("os", "system"), text(f"touch {canary}")),
        "os.mkdir": call(name("os", "mkdir"), made),
        "pathlib.Path.touch": call(
            b"\x8c\x07pathlib\x8c\x0aPath.touch\x93", call(name("pathlib", "Path"), made)
        ),
        "subprocess.call": call(name("subprocess", "call"), listing(text("touch"), made)),
        "shutil.copytree": call(name("shutil", "copytree"), folder, made),
        "obj": b"(" + name("io", "open") + made + text("w") + b"o",
        "inst": b"(" + made + text("w") + b"iio\nopen\n",
    }


KINDS = list(harmful(pathlib.Path("/nowhere/canary")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["first", "behind the weights", "inside a module"])
def test_nothing_is_executed(path, tmp_path, kind, place):
    canary = tmp_path / "made" / "canary"
    canary.parent.mkdir()
    payload = harmful(canary)[kind]
    value = {
        "first": mapping({"x": payload, "model": mapping({"w": tensor()})}),
        "behind the weights": mapping({"model": mapping({"w": tensor()}), "x": payload}),
        "inside a module": mapping({"model": module({"w": tensor()}, x=payload)}),
    }[place]
    save(path, value)
    sentence = refusal(path)
    assert not canary.exists()
    if kind not in ("obj", "inst", "pathlib.Path.touch"):
        assert f"asks for '{kind}'" in sentence and "nothing was executed" in sentence


@pytest.mark.parametrize("kind", KINDS)
def test_the_canary_sings_in_a_real_unpickler(tmp_path, kind):
    """Else the test above could not fail."""
    canary = tmp_path / "made" / "canary"
    canary.parent.mkdir()
    pickle.loads(b"\x80\x04" + harmful(canary)[kind] + b".")
    assert canary.exists()


@pytest.mark.parametrize(
    "wanted",
    [
        ("torch.hub", "load"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch.nn", "modules.module.torch"),
        ("models", "yolo.os.system"),
        ("models.yolo.", "Model"),
        ("models.yolo", ""),
        ("", "models.yolo.Model"),
        ("modelsx.yolo", "Model"),
        ("models yolo", "Model"),
        ("torch.nnx", "Module"),
        ("collections", "OrderedDict.__init__"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("__builtin__", "setattr"),
        ("copyreg", "_reconstructor"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("torch.nn", "\x1b]0;owned\x07"),
    ],
)
def test_names_outside_the_lists(path, wanted):
    save(path, mapping({"x": name(*wanted), "model": mapping({"w": tensor()})}))
    assert refusal(path).startswith("asks for ")


@pytest.mark.parametrize("kind", ["O8", "V8", "U4", "M8[s]", "f8,O"])
def test_numpy_dtypes_that_are_no_numbers(path, kind):
    save(path, mapping({"best": call(name("numpy", "dtype"), text(kind)), "w": tensor()}))
    assert f"dtype '{kind}'" in refusal(path)


@pytest.mark.parametrize(
    "trick",
    [
        MODEL + mapping({"__init__": NONE}) + BUILD,
        name("torch", "FloatStorage") + mapping({}) + BUILD,
        name("torch", "FloatStorage") + sequence(integer(8)) + REDUCE,
        tensor() + mapping({"__class__": MODEL}) + BUILD,
        tensor() + sequence(NONE, mapping({"shape": NONE})) + BUILD,
        listing() + mapping({"a": NONE}) + BUILD,
        integer(1) + sequence(integer(2)) + REDUCE,
        text("call me") + EMPTY_TUPLE + REDUCE,
        instance("models.yolo", "Model") + EMPTY_TUPLE + REDUCE,
        instance("models.yolo", "Model") + b"(" + text("a") + NONE + b"u",
        instance("models.yolo", "Model") + b"(" + text("a") + b"e",
        MODEL + text("no tuple") + NEWOBJ,
        tensor() + text("a") + b"a",
        EMPTY_TUPLE + text("a") + NONE + b"s",
        b"}" + MODEL + NONE + b"s",  # a class as key
        b"}" + EMPTY_TUPLE + NONE + b"s",
        b"}(" + text("a") + b"u",  # a key without value
        b"}" + EMPTY_TUPLE + b"\x85" * 200_000 + NONE + b"s",  # its hash ends the process
        b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00",  # extension registry
        b"P0\n",  # a persistent id in text
        call(name("_codecs", "encode"), text("x"), text("zlib_codec")),
        call(name("__builtin__", "set"), text("abc")),
        call(name("collections", "OrderedDict"), listing()),
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # LONG4
        b"\x8b" + struct.pack("<i", 1) + b"\x01",
        b"\x8d" + struct.pack("<Q", 2**62),  # BINUNICODE8
        b"\x8e" + struct.pack("<Q", 2**62),  # BINBYTES8
        b"\x96" + struct.pack("<Q", 2**40),  # BYTEARRAY8
        b"X" + struct.pack("<I", 2**32 - 1),
        b"I" + b"9" * 100_000 + b"\n",
        b"L" + b"9" * 100_000 + b"L\n",
        b"F1e9\n",
        b"S" + b"9" * 100_000 + b"\n",  # a string without quotes
        b"h\x07", b"j\xff\xff\xff\x7f", b"t", b"u", b"e", b"0", b"2", b"1", b"q\x00", b"\xff", b".",
        b"",
    ],
    ids=lambda trick: str(trick[:24]),
)  # fmt: skip
def test_tricks(path, trick):
    before = {k: dict(vars(v)) for k, v in vars(torch_pickle).items() if inspect.isclass(v)}
    start = time.process_time()
    save(path, trick and mapping({"x": trick, "model": mapping({"w": tensor()})}))
    refusal(path)
    assert time.process_time() - start < BOUNDED
    after = {k: dict(vars(v)) for k, v in vars(torch_pickle).items() if inspect.isclass(v)}
    assert after == before


FLOATS = name("torch", "FloatStorage")


@pytest.mark.parametrize(
    "persistent_id",
    [
        text("0"),
        EMPTY_TUPLE,
        NONE,
        sequence(text("storage"), MODEL, text("0"), text("cpu"), integer(6)),
        sequence(text("storage"), FLOATS, integer(0), text("cpu"), integer(6)),
        sequence(text("storage"), FLOATS, text("0"), text("cpu"), text("6")),
        sequence(text("storage"), FLOATS, text("0"), text("cpu"), integer(6), NONE),
        sequence(text("module"), FLOATS, text("0"), text("cpu"), integer(6)),
    ],
)
def test_storages_named_in_another_form(path, persistent_id):
    save(path, mapping({"x": persistent_id + b"Q", "model": mapping({"w": tensor()})}))
    assert "names a storage in an unknown form" in refusal(path)


def test_a_huge_memo_index_takes_no_memory(path):
    save(path, NONE + b"r\xff\xff\xff\xff" + b"0")
    refusal(path)  # POP is no opcode of a checkpoint
    tracemalloc.start()
    try:
        value = torch_pickle.load(b"\x80\x02" + NONE + b"r\xff\xff\xff\x7f" + b".")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert value is None


@pytest.mark.parametrize("wrap", [b"\x85", b"l"])
def test_deep_nesting_ends_in_a_sentence(path, wrap):
    deep = EMPTY_TUPLE + b"\x85" * 30_000
    if wrap == b"l":
        deep = b"]" * 30_000 + b"a" * 29_999
    save(path, mapping({"model": deep, "ema": sequence(deep, NONE)}))
    assert refusal(path).startswith("holds no tensors")


def test_inert_objects_of_any_kind_are_passed_over(path):
    inert = {
        "device": call(name("torch", "device"), text("cuda"), integer(0)),
        "dtype": name("torch", "float16"),
        "size": call(name("torch", "Size"), numbers((1, 2))),
        "activation": name("torch.nn.functional", "silu"),
        "called": call(name("models.common", "autoshape"), text("/etc/passwd")),
        "reduced": call(name("utils.general", "x")) + sequence(NONE, mapping({"y": NONE})) + BUILD,
        "wavelet": instance("pytorch_wavelets.dwt.transform2d", "DWTForward", J=integer(1)),
    }
    save(path, mapping({**inert, "model": module({"w": tensor()}, **inert)}))
    assert_same(read_torch(path), {"w": SIX.reshape(2, 3)})


# The code itself


@pytest.mark.parametrize("file", [darknet_file, foreign, torch_archive, torch_file, torch_pickle])
def test_readers_import_nothing_that_executes(file):
    tree = ast.parse(inspect.getsource(file))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert "numpy" in imported or file is foreign
    assert not imported & {"pickle", "importlib", "torch", "builtins", "copyreg", "marshal"}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"eval", "exec", "getattr", "setattr", "__import__", "compile"}


def test_archives_of_the_tests_are_real_pickles():
    """Opcodes made by hand mean what they should to Python's own unpickler."""
    value = mapping({"a": integer(-300), "b": listing(text("x"), sequence(integer(255)))})
    assert pickle.loads(archives.pickle(value)) == {"a": -300, "b": ["x", (255,)]}
