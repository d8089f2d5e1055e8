"""Counts of a network: hand-worked, against the golden counts of the original, and as a command."""

import json
import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from tests.support import golden_models
from yolor_jax.cli.main import main
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.summary import Counts, Row, as_dict, format_summary, summarize
from yolor_jax.models.zoo import MODELS
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.trees import flatten_by_path

GOLDEN = {model: name for name, model in golden_models.NAMES.items()}


class Part(nn.Module):
    """Three convolutions: with batch norm and stride, with bias and implicit, in groups."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        x = ConvUnit(4, 3, 2, dtype=self.dtype, name="halve")(x, train=False)
        unit = ConvUnit(
            6, norm=False, bias=True, before=Knowledge("add"), dtype=self.dtype, name="mix"
        )
        x = unit(x, train=False)
        groups = nn.Conv(
            4, (3, 3), feature_group_count=2, use_bias=False, dtype=self.dtype, name="groups"
        )
        return groups(x)


class Network(nn.Module):
    """A part, and a layer without any convolution in front of it."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images):
        x = nn.LayerNorm(name="norm")(images).astype(self.dtype)
        return Part(self.dtype, name="part")(x)


def test_by_hand():
    summary = summarize(Network(), (8, 16))
    cells = 4 * 8  # behind the stride
    assert summary.input_shape == (1, 8, 16, 3)
    assert summary.rows == (
        Row("norm", (1, 8, 16, 3), Counts(3 + 3, 0, 0, 0)),
        Row(
            "part/halve",
            (1, 4, 8, 4),
            Counts(9 * 3 * 4 + 2 * 4, 0, 2 * 9 * 3 * 4 * cells, 4 * 4 * cells),
        ),
        Row("part/mix", (1, 4, 8, 6), Counts(4 * 6 + 6 + 4, 4, 2 * 4 * 6 * cells, 4 * 6 * cells)),
        Row(
            "part/groups",
            (1, 4, 8, 4),
            Counts(9 * 3 * 4, 0, 2 * 9 * 3 * 4 * cells, 4 * 4 * cells),
        ),
    )
    assert summary.total == Counts(
        6 + 116 + 34 + 108, 4, (216 + 48 + 216) * cells, 4 * (4 + 6 + 4) * cells
    )
    assert summary.total.implicit_percent == pytest.approx(100 * 4 / 264)


def test_batch_and_dtype():
    one = summarize(Network(), (8, 8)).total
    three = summarize(Network(jnp.bfloat16), (8, 8), batch_size=3).total
    assert three == Counts(
        one.parameters, one.implicit_parameters, 3 * one.flops, 3 * one.activation_bytes // 2
    )


def test_an_equal_network_is_counted_anew():
    assert summarize(Network(), (8, 8)) == summarize(Network(), (8, 8))


@pytest.mark.parametrize("name", [golden_models.parameter(name, name) for name in GOLDEN])
def test_golden_parameters_and_flops(golden, name):
    facts = json.loads((golden / "models" / f"{GOLDEN[name]}.json").read_text())
    sizes = [side for side in (640, 1280) if f"conv_flops_{side}" in facts]
    assert sizes
    for side in sizes:
        total = summarize(build(name), (side, side)).total
        assert total.parameters == facts["num_params"]
        assert total.flops == round(1e9 * facts[f"conv_flops_{side}"])
    kinds = {"implicit_add", "implicit_mul"}
    implicit = [shape for _, shape, kind in facts["state_dict"] if kind in kinds]
    assert total.implicit_parameters == sum(shape[1] for shape in implicit)


@pytest.mark.parametrize(
    ("name", "parameters", "added"),
    [("yolov4_csp_fast", 52_908_989, 2_557), ("yolov4_p6_light", 37_262_204, 2_812)],
)
def test_parameters_of_table_7(name, parameters, added):
    spec = MODELS[name]
    size = (spec.strides[-1], spec.strides[-1])
    plain = summarize(build(spec), size).total
    assert (plain.parameters, plain.implicit_parameters) == (parameters, 0)
    changed = with_implicit(spec, {"alignment": "add", "refinement": "multiply"})
    total = summarize(build(changed), size).total
    assert (total.parameters, total.implicit_parameters) == (parameters + added, added)


IMPLICITS = [
    None,
    {
        "pyramid": {"operator": "add", "modelling": "network"},
        "branch": {"operator": "concat", "modelling": "factorization"},
        "alignment": {"operator": "multiply", "scope": "anchor"},
        "refinement": {"operator": "multiply", "scope": "size"},
    },
]


@pytest.mark.parametrize("name", ["yolor_test", "yolor_ssss_s2d"])
@pytest.mark.parametrize("implicit", IMPLICITS, ids=["own", "everywhere"])
@pytest.mark.parametrize("fused", [False, True])
def test_rows_add_up(name, implicit, fused):
    module = build(with_implicit(MODELS[name], implicit), 7, fused=fused)
    summary = summarize(module, (128, 64))
    leaves = flatten_by_path(variable_shapes(module)["params"])
    for row in summary.rows:
        below = [leaf.size for path, leaf in leaves.items() if path.startswith(f"{row.name}/")]
        assert row.counts.parameters == sum(below) > 0, row.name
    implicit_sizes = [leaf.size for path, leaf in leaves.items() if "implicit" in path]
    assert bool(implicit_sizes) == (not fused)
    assert summary.total.parameters == sum(leaf.size for leaf in leaves.values())
    assert summary.total.implicit_parameters == sum(implicit_sizes)


def test_activations_are_the_outputs_of_the_units():
    module = build("yolor_test", 3, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)

    def outputs_of_units(images):
        units = lambda module, _: isinstance(module, ConvUnit)  # noqa: E731
        variables = module.init(jax.random.key(0), images)
        _, state = module.apply(variables, images, capture_intermediates=units)
        return state["intermediates"]

    outputs = jax.tree.leaves(jax.eval_shape(outputs_of_units, images))
    assert {y.dtype for y in outputs} == {jnp.dtype(jnp.bfloat16)}
    total = summarize(module, (64, 32), batch_size=2).total
    assert total.activation_bytes == sum(2 * y.size for y in outputs)


def test_stages_run_from_image_to_logits():
    rows = summarize(build("yolor_test", 3), (64, 32)).rows
    names = [row.name for row in rows]
    assert names == [
        "backbone/stem", *(f"backbone/stage{i}" for i in (1, 2, 3, 4)),
        "neck/spp", "neck/topdown1", "neck/topdown0", "neck/bottomup1", "neck/bottomup2",
        *(f"neck/output{i}" for i in (0, 1, 2)), *(f"head/level{i}" for i in (0, 1, 2)),
    ]  # fmt: skip
    assert rows[0].output_shape == (1, 32, 16, 8)
    assert rows[-1].output_shape == (1, 2, 1, 3 * (5 + 3))


def test_table():
    summary = summarize(Network(), (8, 16))
    lines = format_summary(summary).splitlines()
    assert [line.split() for line in lines if not line.startswith("--")] == [
        "stage output parameters implicit GFLOPs % activations".split(),
        "norm 6 - 0.000 0.0 0.0 MiB".split(),
        "norm 8 x 16 x 3 6 - 0.000 0.0 0.0 MiB".split(),
        "part 258 4 0.000 100.0 0.0 MiB".split(),
        "halve 4 x 8 x 4 116 - 0.000 45.0 0.0 MiB".split(),
        "mix 4 x 8 x 6 34 4 0.000 10.0 0.0 MiB".split(),
        "groups 4 x 8 x 4 108 - 0.000 45.0 0.0 MiB".split(),
        "total 264 4 0.000 100.0 0.0 MiB".split(),
    ]
    assert len({len(line) for line in lines}) == 1


def test_command_prints_a_table(capsys):
    assert main(["summary", "yolov4_p7", "--bfloat16"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == (
        "yolov4_p7: 80 classes, 1280 x 1280 pixels, strides 8 16 32 64 128, activations in bfloat16"
    )
    assert "287,566,300" in out and "1,136.600" in out and "yolor bench model yolov4_p7" in out
    assert max(map(len, lines)) <= 100


def test_command_prints_json(capsys):
    arguments = ["summary", "yolor_test", "--image_size", "64", "96", "--classes", "3", "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "yolor_test" and report["strides"] == [8, 16, 32]
    assert report["input_shape"] == [1, 64, 96, 3]
    summary = summarize(build("yolor_test", 3), (64, 96))
    assert as_dict(summary).items() <= report.items()
    for count in ("parameters", "implicit_parameters", "flops", "activation_bytes"):
        assert report["total"][count] == sum(row[count] for row in report["rows"])
        assert report["total"][count] == getattr(summary.total, count) > 0
    assert report["rows"][-1]["name"] == "head/level2"
    assert report["rows"][-1]["output_shape"] == [1, 2, 3, 24]


@pytest.mark.parametrize("arguments", [["--folded"], ["--implicit", "{}"]])
def test_command_without_implicit_knowledge(capsys, arguments):
    assert main(["summary", "yolor_test", "--json", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["input_shape"] == [1, 640, 640, 3]
    assert report["total"]["implicit_parameters"] == report["total"]["implicit_percent"] == 0


def test_command_with_other_implicit_knowledge(capsys):
    implicit = {"alignment": {"operator": "add", "modelling": {"kind": "factorization"}}}
    assert main(["summary", "yolor_test", "--json", "--implicit", json.dumps(implicit)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["implicit"] == implicit
    atoms = 2 * 16
    assert report["total"]["implicit_parameters"] == 3 * (atoms * 16 + atoms)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["yolor_tset"], "did you mean 'yolor_test'"),
        (["yolor_test", "--image-size", "100"], "100 is not a multiple of the largest stride 32"),
        (["yolor_test", "--image-size", "0"], "0 is not a multiple"),
        (["yolor_test", "--image-size", "32", "32", "3"], "--image-size has 3 numbers"),
        (["yolor_test", "--classes", "0"], "--classes is 0; expected at least 1"),
        (["yolor_test", "--batch-size", "-1"], "--batch-size is -1; expected at least 1"),
        (["yolor_test", "--implicit", "{alignment: add}"], "is no JSON"),
        (["yolor_test", "--implicit", "3"], "expected a JSON object"),
        (["yolor_test", "--implicit", '{"alignmet": "add"}'], "'alignmet'; expected one of"),
        (["yolor_test", "--implicit", '{"alignment": "times"}'], "'times'"),
    ],
)
def test_wrong_input_ends_with_a_sentence(capsys, arguments, sentence):
    assert main(["summary", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err and err.startswith("yolor summary: ") and err.count("\n") == 1


def test_no_device_is_started():
    """With a platform that does not exist, whatever allocates or computes is an error."""
    finished = subprocess.run(
        [sys.executable, "-m", "yolor_jax.cli.main", "summary", "yolov4_p7", "--json"],
        env=os.environ | {"JAX_PLATFORMS": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["total"]["parameters"] == 287_566_300
