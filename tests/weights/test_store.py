"""Variables in a safetensors file: what is written comes back to the bit, anything else is refused.

The oracle is the format itself: eight bytes of length, a JSON header, the arrays.
"""

import json
import pathlib
import stat

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests.support.leaves import random_leaves
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights import store

META = {
    "model": "yolor_test",
    "implicit": {"alignment": {"operator": "add", "modelling": "network"}},
    "num_classes": 2,
    "class_names": ("cat", "größer"),
    "image_size": 64,
    "fused": False,
}


def read_by_hand(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and metadata of a file, from the description of the format alone."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16}
    arrays = {}
    for name, entry in header.items():
        start, stop = (8 + size + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[start:stop], dtypes[entry["dtype"]])
        arrays[name] = array.reshape(entry["shape"])
    return arrays, metadata


def require_equal(got, expected):
    got, expected = flatten_by_path(got), flatten_by_path(expected)
    assert sorted(got) == sorted(expected)
    for name, leaf in got.items():
        assert isinstance(leaf, np.ndarray) and leaf.dtype == expected[name].dtype, name
        assert leaf.shape == expected[name].shape, name
        assert leaf.tobytes() == np.asarray(expected[name]).tobytes(), name


@pytest.fixture(scope="module")
def variables():
    return random_leaves(variable_shapes(build("yolor_test", 2)))


@pytest.fixture
def written(tmp_path, variables):
    store.save_variables(tmp_path / "a.safetensors", variables, META)
    return tmp_path / "a.safetensors"


def test_a_network_comes_back_to_the_bit(written, variables):
    got, meta = store.load_variables(str(written))
    require_equal(got, variables)
    assert store.load_meta(written) == meta
    [made_by] = meta.pop("stamps")
    assert made_by["version"] == "0.1.0" and made_by["device"] == "cpu"
    assert meta == META | {"class_names": ["cat", "größer"]}
    arrays, metadata = read_by_hand(written)
    require_equal(arrays, flatten_by_path(variables))
    assert {"params/backbone/stem/conv/kernel", "batch_stats/backbone/stem/bn/mean"} < set(arrays)
    assert json.loads(metadata["yolor_jax"])["image_size"] == 64


def test_stamps_of_before_stay_and_a_file_without_them_opens(written, variables):
    meta = META | {"stamps": [{"version": "0.0.9"}]}
    store.save_variables(written, variables, meta)
    versions = [one["version"] for one in store.load_meta(written)["stamps"]]
    assert versions == ["0.0.9", "0.1.0"] and len(meta["stamps"]) == 1
    safetensors.numpy.save_file({}, written, {"yolor_jax": json.dumps(META)})
    assert "stamps" not in store.load_variables(written)[1]


def test_a_folded_network_comes_back(tmp_path, variables):
    folded = fold(build("yolor_test", 2).spec, variables)
    store.save_variables(tmp_path / "f.safetensors", folded, META | {"fused": True})
    got, meta = store.load_variables(tmp_path / "f.safetensors")
    require_equal(got, folded)
    assert meta["fused"] is True


def test_dtypes_layouts_and_odd_values(tmp_path):
    bits = np.arange(2**16, dtype=np.uint16)  # all halves: NaNs with payload, infinities, -0
    leaves = {
        "half": bits.view(np.float16),
        "bfloat": bits.view(jnp.bfloat16),
        "double": np.array([[1 / 3, -0.0], [np.inf, 5e-324]]),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "strided": np.arange(8, dtype=np.float32)[::2],
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }
    store.save_variables(tmp_path / "x.safetensors", {"params": {"odd": leaves}}, META)
    got, _ = store.load_variables(tmp_path / "x.safetensors")
    require_equal(got, {"params": {"odd": leaves}})
    require_equal(
        read_by_hand(tmp_path / "x.safetensors")[0], flatten_by_path({"params": {"odd": leaves}})
    )


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(written, variables, monkeypatch):
    before = written.read_bytes()

    def fail(leaves, path, metadata):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        store.save_variables(written, variables, META)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_a_file_that_others_may_read(written):
    plain = written.with_name("plain")
    plain.touch()
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_folder_that_does_not_exist(tmp_path, variables):
    with pytest.raises(OSError, match=r"gone/a.safetensors"):
        store.save_variables(tmp_path / "gone" / "a.safetensors", variables, META)


def test_meta_must_be_complete(tmp_path, variables):
    with pytest.raises(ValueError, match="lacks implicit, fused"):
        store.save_variables(
            tmp_path / "a", variables, {k: META[k] for k in META if k not in ("implicit", "fused")}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: b"<!DOCTYPE html>\n<html>" + data, "is a web page"),
        (lambda data: b"", "is empty"),
        (lambda data: data[:-1], "is no whole safetensors file"),
        (lambda data: data[:100], "is no whole safetensors file"),
        (lambda data: data[:4], "is no whole safetensors file"),
        (lambda data: b"\x80\x02}q\x00." + data, "is no whole safetensors file"),
        (lambda data: b"\xff" * 8 + data[8:], "is no whole safetensors file"),
        (lambda data: safetensors.numpy.save({"a": np.zeros(3)}), "of another program.*convert"),
        (
            lambda data: safetensors.numpy.save({}, {"yolor_jax": '{"model": "yolor_csp"}'}),
            "lacks implicit, num_classes, class_names, image_size, fused",
        ),
    ],
    ids=["html", "empty", "byte less", "header cut", "stump", "pickle", "huge", "other", "meta"],
)
def test_other_files_get_a_sentence(written, change, sentence):
    written.write_bytes(change(written.read_bytes()))
    with pytest.raises(ValueError, match=f"^{written}: .*{sentence}") as error:
        store.load_variables(written)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        store.load_variables(tmp_path / "gone.safetensors")


def test_a_file_says_its_format_and_one_of_the_future_is_refused(written, variables):
    assert read_by_hand(written)[1]["yolor_jax_format"] == "1"
    future = {"yolor_jax": json.dumps({"stamps": [{"version": "9.8"}]}), "yolor_jax_format": "2"}
    safetensors.numpy.save_file({"a": np.zeros(3)}, written, future)
    sentence = "of format 2, as yolor-jax 9.8 writes it; this version reads format 1: install"
    for read in (store.load_variables, store.load_meta):
        with pytest.raises(ValueError, match=f"^{written}: is {sentence}"):
            read(written)
    safetensors.numpy.save_file({}, written, future | {"yolor_jax": "[]"})
    with pytest.raises(ValueError, match="as a later yolor-jax writes it"):
        store.load_meta(written)
