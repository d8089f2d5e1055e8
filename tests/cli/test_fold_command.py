"""The commands ``yolor fold`` and ``yolor implicit``, and checkpoints in one file."""

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax.cli.main import main
from yolor_jax.models.compiled import count_operations
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs.opening import load
from yolor_jax.weights.store import save_variables

NAMES = ["circle", "square"]
IMPLICIT = {
    "branch": {"operator": "concat", "modelling": "network"},  # needs a channel of ones
    "refinement": {"operator": "multiply", "scope": "size"},
}


def write(path, implicit):
    spec = with_implicit(MODELS["yolor_test"], implicit)
    variables = random_leaves(variable_shapes(build(spec, len(NAMES))))
    meta = {
        "model": "yolor_test",
        "implicit": implicit,
        "num_classes": len(NAMES),
        "class_names": NAMES,
        "image_size": 64,
        "fused": False,
    }
    save_variables(path, variables, meta)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trained") / "trained.safetensors", IMPLICIT)


def test_fold_writes_a_network_with_the_same_outputs(trained, tmp_path, capsys):
    output = tmp_path / "folded.safetensors"
    assert main(["fold", trained, str(output), "--explain"]) == 0
    printed = capsys.readouterr().out
    assert "neck/output1          " in printed
    assert "3 x concat before into the kernel of a channel of ones" in printed
    assert f"yolor detect IMAGE... --checkpoint {output}" in printed

    before, after = load(trained), load(output)
    *of_before, of_the_fold = after.meta["stamps"]
    assert of_before == before.meta["stamps"] and of_the_fold["version"]
    known = {**before.meta, "stamps": [*of_before, of_the_fold]}
    assert after.fused and after.meta == {**known, "fused": True}
    images = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    want = jax.jit(before.module.apply)(before.variables, images).detect
    got = jax.jit(after.module.apply)(after.variables, images).detect
    for a, b in zip(want, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * np.abs(a).max())

    table = {line.split("  ")[0]: line.split()[-2:] for line in printed.splitlines()}
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(c.variables["params"])) for c in (before, after)
    ]
    assert table["parameters"] == [f"{size:,}" for size in sizes]
    assert table["running statistics"][1] == "0"
    trained_operations, folded_operations = map(int, table["operations when compiled"])
    assert 0 < folded_operations < trained_operations


def test_operations_are_counted_by_hand():
    program = """
%fused (p: f32[2]) -> f32[2] {
  ROOT %a = f32[2]{0} add(%p, %p)
}

ENTRY %main (x: f32[2]) -> (f32[2]) {
  %x = f32[2]{0} parameter(0), metadata={op_name="x"}
  %c = f32[] constant(2)
  %b = f32[2]{0} broadcast(%c), dimensions={}
  %conv.1 = (f32[2]{0}, u8[0]{0}) custom-call(%x, %b), custom_call_target="conv"
  %g = f32[2]{0} get-tuple-element(%conv.1), index=0
  %f = f32[2]{0} fusion(%g), kind=kLoop, calls=%fused
  ROOT %t = (f32[2]) tuple(%f)
}
"""
    assert count_operations(program) == 3  # broadcast, custom-call, fusion


def test_wrong_input_of_fold(trained, tmp_path, capsys):
    output = tmp_path / "folded.safetensors"
    assert main(["fold", trained, str(tmp_path / "folded.npz")]) == 2
    assert "expected a name that ends in .safetensors" in capsys.readouterr().err
    assert main(["fold", trained, str(output)]) == 0
    assert main(["fold", trained, str(output)]) == 2
    assert "exists; choose another name, or add --overwrite" in capsys.readouterr().err
    assert main(["fold", str(output), str(tmp_path / "twice.safetensors")]) == 2
    assert "folded already" in capsys.readouterr().err
    assert main(["fold", str(tmp_path / "none"), str(tmp_path / "a.safetensors")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
    before = output.read_bytes()
    assert main(["fold", str(output), str(output), "--overwrite"]) == 2
    assert "OUTPUT is the checkpoint itself" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert main(["fold", trained, str(tmp_path / "none" / "a.safetensors")]) == 2
    assert "create it first" in capsys.readouterr().err
    assert main(["implicit", str(output)]) == 2
    assert "there is no implicit knowledge in this network" in capsys.readouterr().err


def test_implicit_tells_what_was_learnt(trained, tmp_path, capsys):
    figure = tmp_path / "implicit.png"
    assert main(["implicit", trained, "--figure", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in lines}
    leaves = load(trained).variables["params"]["neck"]["output2"]["implicit_before"]
    g = leaves["z"] @ leaves["w0"]
    figures = [f"{value:.4f}" for value in (g.mean(), g.std(), np.sqrt((g**2).mean()))]
    count = f"{16 + 16 * 8}"
    assert rows["neck/output2/implicit_before"] == ["concat", "network", "8", count, *figures]
    assert rows["head/level0/implicit_after"][:4] == ["multiply", "vector", "3 x 2", "6"]
