"""One network with several z: kept beside it, chosen by name, refused where they do not belong."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.support.leaves import random_leaves
from tests.support.saved_run import META, save_run
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs.opening import keep_knowledge, knowledge_beside, load
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.foreign import WeightsError
from yolor_jax.weights.store import save_variables

PYRAMID = {"pyramid": "multiply", "alignment": {"operator": "add", "modelling": "network"}}


def tuned(variables, implicit=None, *, seed=1):
    """Meta and variables of the same weights with another z."""
    spec = with_implicit(MODELS["yolor_test"], implicit)
    fresh = random_leaves(variable_shapes(build(spec, META["num_classes"])), seed=seed)
    weights = {k: v for k, v in flatten_by_path(variables).items() if "/implicit_" not in k}
    own = flatten_by_path(fresh) | weights
    return own, {**META, "implicit": implicit, "fused": False}


@pytest.fixture(scope="module")
def base():
    return random_leaves(variable_shapes(build("yolor_test", META["num_classes"])))


@pytest.fixture
def run(base, tmp_path):
    """A workdir; beside it the files of two networks that were tuned from it."""
    save_run(tmp_path / "run", base)
    for name, implicit in (("night", None), ("fog", PYRAMID)):
        save_variables(tmp_path / f"{name}.safetensors", *tuned(base, implicit))
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["night", "fog"])
def test_a_network_with_a_z_of_a_domain_is_the_one_that_was_tuned(run, name):
    own = load(run.parent / f"{name}.safetensors")
    file = keep_knowledge(run, name, own)
    assert file == run / "knowledge" / f"{name}.safetensors"
    got = load(run, knowledge=name)
    assert got.spec == own.spec and got.meta["knowledge"] == name
    jax.tree.map(np.testing.assert_array_equal, dict(got.variables), dict(own.variables))
    jax.tree.map(np.testing.assert_array_equal, got.folded().variables, own.folded().variables)
    assert got.folded().meta["knowledge"] == name
    assert load(run).spec == MODELS["yolor_test"]  # which has its own z as before
    assert file.stat().st_size < 0.2 * (run.parent / "night.safetensors").stat().st_size


def test_the_files_of_sets_lie_beside_a_file_of_weights_too(base, run):
    path = run.parent / "weights.safetensors"
    save_variables(path, base, {**META, "fused": False})
    own = load(run.parent / "night.safetensors")
    assert keep_knowledge(path, "night", own) == run.parent / "weights.knowledge/night.safetensors"
    assert knowledge_beside(path) == ["night"] and knowledge_beside(run) == []
    with pytest.raises(InputError, match=r"no knowledge 'fog'; expected one of night"):
        load(path, knowledge="fog")
    with pytest.raises(InputError, match=r"as a name of knowledge"):
        keep_knowledge(path, "../night", own)


def test_a_z_of_other_weights_is_refused(base, run):
    path = run.parent / "night.safetensors"
    leaves, meta = tuned(base)
    kernel = "params/backbone/stem/conv/kernel"
    save_variables(path, leaves | {kernel: leaves[kernel] + 1}, meta)
    with pytest.raises(InputError, match="learnt on other weights"):
        keep_knowledge(run, "night", load(path))
    assert not (run / "knowledge").exists()


def test_a_z_of_other_statistics_is_refused(base, run):
    path = run.parent / "night.safetensors"
    leaves, meta = tuned(base)
    mean = "batch_stats/backbone/stem/bn/mean"
    save_variables(path, leaves | {mean: leaves[mean] + 1}, meta)
    own = load(path)
    with pytest.raises(InputError, match="with other statistics of batch norm than these"):
        keep_knowledge(run, "night", own)
    older = own.knowledge()._replace(statistics=None)  # of files that did not say
    assert load(run).with_knowledge(older, "night").meta["knowledge"] == "night"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda z: {**z, "head/level0/implicit_after/z": np.ones(7, np.float32)}, r"\[7\]: exp"),
        (lambda z: dict(list(z.items())[1:]), "level0/implicit_after/z is missing"),
        (lambda z: {**z, "neck/spp/implicit_before/z": np.ones(7, np.float32)}, "is unused"),
        (lambda z: {n: np.full_like(leaf, np.nan) for n, leaf in z.items()}, "NaN or infinite"),
    ],
)
def test_a_file_with_other_leaves_is_refused(run, change, said):
    file = keep_knowledge(run, "night", load(run.parent / "night.safetensors"))
    with safetensors.safe_open(file, framework="np") as opened:
        metadata = opened.metadata()
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(file)), file, metadata)
    with pytest.raises(InputError, match=said) as refused:
        load(run, knowledge="night")
    assert "\n" not in str(refused.value)


def test_a_file_of_weights_is_no_set(run):
    file = keep_knowledge(run, "night", load(run.parent / "night.safetensors"))
    file.write_bytes((run.parent / "night.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"night\.safetensors: is no set of implicit knowledge"):
        load(run, knowledge="night")


def test_a_folded_network_takes_no_z(run):
    own = load(run.parent / "night.safetensors")
    with pytest.raises(InputError, match="folded and takes no other"):
        own.folded().with_knowledge(own.knowledge(), "night")
    with pytest.raises(InputError, match="no implicit knowledge in this network"):
        own.folded().knowledge()


def test_the_commands(run, capsys):
    night = run.parent / "night.safetensors"
    assert main(["implicit", str(run), "--add", f"night={night}"]) == 0
    printed = capsys.readouterr().out
    assert "kept as" in printed and "beside it, for --knowledge: night" in printed
    folded = run.parent / "folded.safetensors"
    assert main(["fold", str(run), str(folded), "--knowledge", "night"]) == 0
    assert load(folded).meta["knowledge"] == "night"
    jax.tree.map(
        np.testing.assert_array_equal, load(folded).variables, load(night).folded().variables
    )
    with pytest.raises(SystemExit):
        main(["implicit", str(run), "--add", "night"])
    assert "expected NAME=TUNED" in capsys.readouterr().err
