"""The parity certificate, against the golden outputs of the original and shifts made by hand."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.support import golden_models
from tests.support.leaves import random_state_dict
from yolor_jax.cli.main import main
from yolor_jax.models.detector import build
from yolor_jax.models.fold import fold
from yolor_jax.models.zoo import MODELS
from yolor_jax.trees import flatten_by_path, replace
from yolor_jax.weights import certificate, store
from yolor_jax.weights.convert import from_torch

SMALL = MODELS["yolor_test"]
LEVELS = ("level0", "level1", "level2")
OUTPUTS = (*LEVELS, "boxes", "scores")


@pytest.fixture(scope="module")
def small():
    return random_state_dict(SMALL, 3)


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


@pytest.fixture(scope="module")
def network(small):
    module = build(SMALL, 3)
    return module, from_torch(SMALL, small)[0]


@pytest.fixture(scope="module")
def made(network):
    """A reference out of the network itself, decoded by the formula in float64."""
    module, variables = network
    images = np.random.default_rng(1).random((2, 3, 64, 32), np.float32)
    logits = jax.jit(module.apply)(variables, images.transpose(0, 2, 3, 1)).detect
    levels = [np.moveaxis(np.asarray(level), 3, 1) for level in logits]
    rows = []
    for level, stride, anchors in zip(levels, SMALL.strides, SMALL.anchors, strict=True):
        sigmoid = 1 / (1 + np.exp(-level.astype(np.float64)))
        y, x = np.indices(level.shape[2:4])
        decoded = sigmoid.copy()
        decoded[..., 0] = (2 * sigmoid[..., 0] - 0.5 + x) * stride
        decoded[..., 1] = (2 * sigmoid[..., 1] - 0.5 + y) * stride
        decoded[..., 2:4] = 4 * sigmoid[..., 2:4] ** 2 * np.array(anchors)[:, None, None]
        rows.append(decoded.reshape(2, -1, 8))
    named = dict(zip(LEVELS, levels, strict=True))
    return {"images": images, **named, "decoded": np.concatenate(rows, 1).astype(np.float32)}


@pytest.fixture
def outputs(made):
    return dict(made)


def rows_of(network, reference, tolerance=1e-4):
    rows = certificate.certify(*network, reference, tolerance)
    return {(row.network, row.output): row for row in rows}


def test_a_network_agrees_with_itself(network, outputs, monkeypatch):
    precisions = []

    def rows(*arguments):
        precisions.append(jax.config.jax_default_matmul_precision)
        return one_network(*arguments)

    one_network = certificate._rows
    monkeypatch.setattr(certificate, "_rows", rows)
    rows = rows_of(network, outputs)
    assert list(rows) == [(n, name) for n in ("trained", "folded") for name in OUTPUTS]
    assert all(row.ok for row in rows.values())
    assert rows["trained", "level0"].max_error < rows["folded", "level0"].max_error < 1e-5
    for name in LEVELS:
        std = outputs[name].astype(np.float64).std()
        assert rows["folded", name].reference_std == pytest.approx(std)
    assert precisions == ["highest", "highest"], "on GPUs and TPUs the default has fewer bits"


def test_shifts_are_found_and_measured(network, outputs):
    """Of a logit and a score; a box may differ by a hundredth of a pixel."""
    level, decoded = outputs["level1"].copy(), outputs["decoded"].copy()
    shifted = (1, 2, 3, 0, 7)  # [B, A, h, w, 5 + K]
    level[shifted] += 0.5
    decoded[0, 5, 2] += 0.009
    decoded[1, 7, 6] += 0.009
    rows = rows_of(network, outputs | {"level1": level, "decoded": decoded})
    for name in ("trained", "folded"):
        row = rows[name, "level1"]
        assert row.worst == shifted and row.excess == pytest.approx(5000, rel=1e-3)
        assert row.max_error == pytest.approx(0.5, rel=1e-4)
        assert row.mean_error == pytest.approx(0.5 / level.size, rel=0.1)
        assert row.expected == level[shifted]
        # float32 near 0.5 moves in steps of 6e-8, however small the difference is.
        assert row.got == pytest.approx(level[shifted] - 0.5, abs=1e-6)
        assert rows[name, "scores"].worst == (1, 7, 2)
        assert rows[name, "boxes"].worst == (0, 5, 2)
        assert rows[name, "boxes"].max_error == pytest.approx(0.009, rel=0.05)
        assert [o for o in OUTPUTS if not rows[name, o].ok] == ["level1", "scores"]

    del outputs["decoded"]
    rows = rows_of(network, outputs | {"level1": level}, 0.51)
    assert list(rows) == [(n, name) for n in ("trained", "folded") for name in LEVELS]
    assert all(row.ok for row in rows.values())


def test_the_order_of_predictions_matters(network, outputs):
    """Anchors last, as our own decoder has them, is another order; and boxes have a limit."""
    levels = np.split(outputs["decoded"], [96, 120], axis=1)
    cells = [level.reshape(2, 3, -1, 8).swapaxes(1, 2).reshape(level.shape) for level in levels]
    rows = rows_of(network, outputs | {"decoded": np.concatenate(cells, axis=1)})
    assert [o for o in OUTPUTS if not rows["trained", o].ok] == ["boxes", "scores"]


def test_nan_is_not_ok(network, outputs):
    module, variables = network
    bias = "params/head/level2/conv/bias"
    broken = flatten_by_path(variables)[bias].copy()
    broken[13] = np.nan  # anchor 1, score of class 0
    rows = rows_of((module, replace(variables, {bias: broken})), outputs)
    assert not rows["trained", "level2"].ok and not rows["folded", "scores"].ok
    assert rows["trained", "level2"].worst == (0, 1, 0, 0, 5)


def test_the_folded_network_is_measured_too(network, outputs, monkeypatch):
    def wrong(spec, variables):
        folded = fold(spec, variables)
        folded["params"]["head"]["level2"]["conv"]["bias"] += 0.25
        return folded

    monkeypatch.setattr(certificate, "fold", wrong)
    rows = rows_of(network, outputs)
    bad = [name for name, row in rows.items() if not row.ok]
    assert bad == [("folded", name) for name in ("level2", "boxes", "scores")]
    assert rows["folded", "level2"].max_error == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"level1": None}, "3 classes: level1 is missing$"),
        ({"level1": None, "leve11": np.zeros(3)}, "leve11 is unused; level1 is missing"),
        ({"level2": np.zeros((2, 3, 1, 2, 8))}, r"level2 is float64\[2, 3, 1, 2, 8\], expected fl"),
        ({"decoded": np.zeros((2, 5, 8), int)}, r"decoded is int64.*expected float32\[2, 126, 8\]"),
        (
            {"level0": np.full((2, 3, 8, 4, 8), np.inf)},
            "classes: level0 has infinite values or NaN$",
        ),
        ({"images": None}, "needs images, float32 .*; got none"),
        ({"images": np.zeros((1, 64, 32, 3))}, r"got float64\[1, 64, 32, 3\]"),
        ({"images": np.zeros((0, 3, 64, 32))}, "got float64.0, 3, 64, 32."),
        ({"images": np.zeros((2, 3, 64, 32), np.uint8)}, "got uint8"),
        ({"images": np.full((2, 3, 64, 32), 255.0)}, "go from 255.0 to 255.0; expected 0 to 1"),
        ({"images": np.full((2, 3, 64, 32), np.nan)}, "go from nan to nan; expected 0 to 1"),
        ({"images": np.zeros((2, 3, 64, 40))}, "40 is not a multiple of the largest stride 32"),
    ],
)
def test_references_that_do_not_fit(network, outputs, change, sentence):
    reference = {name: array for name, array in (outputs | change).items() if array is not None}
    with pytest.raises(ValueError, match=sentence):
        certificate.certify(*network, reference, 1e-4)


@pytest.mark.parametrize("content", ["pickle", "npy", "cut"])
def test_references_that_are_none(tmp_path, content):
    path = tmp_path / "r.npz"
    np.savez(path, images=np.array([{}, "x"], object) if content == "pickle" else np.zeros(99))
    if content == "npy":
        np.save(tmp_path / "r.npy", np.zeros(3))
        path = tmp_path / "r.npy"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"is no whole \.npz of plain arrays"):
        certificate.read_reference(path)


@pytest.fixture(scope="module")
def dwt(golden, tmp_path_factory):
    """Weights and a reference of the original, as files."""
    folder = tmp_path_factory.mktemp("dwt")
    model = golden_models.load(golden, "paper__yolor-ssss-dwt")
    safetensors.numpy.save_file(model.state_dict, folder / "dwt.safetensors")
    images = golden_models.images(model.facts["input"]["shape"]).transpose(0, 3, 1, 2)
    kept = {name: model.arrays[name] for name in (*LEVELS, "decoded")}
    np.savez(folder / "reference.npz", images=images, **kept)
    return folder, model.state_dict


def test_the_original_certifies(dwt, tmp_path, capsys):
    folder, _ = dwt
    reference = folder / "reference.npz"
    arguments = (folder / "dwt.safetensors", tmp_path / "ours.safetensors", "--verify", reference)
    assert convert(*arguments, "--tolerance", "5e-5") == 0
    lines = capsys.readouterr().out.splitlines()[2:13]
    assert lines[0].split() == "network output max error mean error std of reference".split()
    assert [line.split()[:2] for line in lines[1:]] == [
        [network, output] for network in ("trained", "folded") for output in OUTPUTS
    ]
    assert all(line.endswith(" ok") and "NOT" not in line for line in lines[1:])
    assert store.load_variables(tmp_path / "ours.safetensors")[1]["model"] == "yolor_ssss_dwt"


def test_one_wrong_weight_is_not_certified(dwt, tmp_path, capsys):
    folder, state_dict = dwt
    name = "model.3.m.0.cv2.conv.weight"
    kernel = state_dict[name].copy()
    kernel[5, 1, 0, 2] += 0.01
    safetensors.numpy.save_file(state_dict | {name: kernel}, tmp_path / "x.safetensors")
    output, reference = tmp_path / "b.safetensors", folder / "reference.npz"
    assert convert(tmp_path / "x.safetensors", output, "--verify", reference) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[3].endswith("NOT ok") and "written" not in out
    assert err.startswith(f"yolor convert: {tmp_path / 'b.safetensors'} not written: ")
    assert "outputs are not within the tolerance of 0.0001; farthest is " in err
    assert err.count("\n") == 1 and not (tmp_path / "b.safetensors").exists()
