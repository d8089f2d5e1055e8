"""What is saved comes back to the bit, on other devices too; what does not fit is refused."""

import re
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.training import mesh as meshes
from yolor_jax.training import state
from yolor_jax.training.checkpoints import checkpoint
from yolor_jax.training.checkpoints import folder as checkpoint_folder
from yolor_jax.training.checkpoints.loading import load_meta, load_variables

META = {
    "model": {
        "name": "tiny",
        "num_classes": 2,
        "class_names": ("cat", "dog"),
        "image_size": tiny_run.SIZE,
    },
    "run": {"seed": 0},
}
CONFIG, RUN = tiny_run.quick(nominal_batch=64), tiny_run.run_length(8)


def abstract(mesh, module=None, config=CONFIG):
    module = module or tiny_run.Tiny()
    return state.abstract_state(module, config, RUN, image_size=tiny_run.SIZE, mesh=mesh)


@pytest.fixture(scope="module")
def first():
    """A state with a different number at each place."""
    now = tiny_run.start(tiny_run.Tiny(), CONFIG, RUN, meshes.make_mesh())
    leaves, structure = jax.tree.flatten(now)
    rng = np.random.default_rng(0)
    leaves = [
        jax.device_put(rng.integers(-99, 99, x.shape).astype(x.dtype), x.sharding) for x in leaves
    ]
    return jax.tree.unflatten(structure, leaves)


@pytest.fixture
def saved(first, tmp_path):
    """A workdir with checkpoints of the steps 2 and 4."""
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        checkpoints.save(2, first, position=16)
        checkpoints.save(4, first, position=32)
    return tmp_path


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, tiny_run.host(a), tiny_run.host(b))


def test_round_trip_onto_fewer_devices(first, saved):
    mesh = meshes.make_mesh(jax.devices()[:4], fsdp=2)
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        assert checkpoints.latest_step == 4
        restored, position = checkpoints.restore(abstract(mesh))
        assert checkpoints.restore(abstract(mesh), 2)[1] == 16
    assert position == 32
    assert jax.tree.structure(restored) == jax.tree.structure(first)
    equal(restored, first)
    assert all(x.sharding.mesh.shape == mesh.shape for x in jax.tree.leaves(restored))


def test_stamps_are_kept_and_identify_nothing(first, saved):
    with checkpoint.Checkpoints(saved, META, [{"commit": "a"}]) as checkpoints:
        checkpoints.save(5, first, position=40)
    with checkpoint.Checkpoints(saved, META, [{"commit": "a"}, {"commit": "b"}]) as checkpoints:
        checkpoints.save(6, first, position=48)
    kept = {step: load_meta(saved, step)["stamps"] for step in (5, 6)}
    assert kept == {5: [{"commit": "a"}], 6: [{"commit": "a"}, {"commit": "b"}]}
    assert load_variables(saved)[1] == load_meta(saved)


def test_the_state_may_be_donated_while_it_is_written(tmp_path):
    mesh = tiny_run.one_device()
    shape = (1 << 22,)
    now = state.TrainState(*(jnp.full(shape, i, jnp.float32) for i in range(8)))
    now = jax.device_put(now, meshes.state_sharding(mesh, now))
    bump = jax.jit(lambda s: jax.tree.map(lambda x: x + 100.0, s), donate_argnums=0)
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        checkpoints.save(1, now, position=0)
        for _ in range(3):
            now = bump(now)
        jax.block_until_ready(now)
        checkpoints.wait()
        describe = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)  # noqa: E731
        restored, _ = checkpoints.restore(jax.tree.map(describe, now))
    assert [(float(x.min()), float(x.max())) for x in jax.tree.leaves(restored)] == [
        (float(i), float(i)) for i in range(8)
    ]


def folders(workdir):
    return {path.name for path in (workdir / "checkpoints").iterdir()}


def test_the_best_is_by_the_number_that_was_asked_for_last(first, tmp_path):
    scores = {1: {"AP": 0.3, "AP50": 0.4}, 2: {"AP": 0.2, "AP50": 0.6}, 3: {"AP": 0.1}}
    with checkpoint.Checkpoints(tmp_path, META, best_by="AP50") as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, first, position=0)
            checkpoints.score(step, score)
        assert checkpoints.best_step == 2
    folder = checkpoint_folder.absolute(tmp_path) / "checkpoints"
    assert checkpoint_folder.choose_step(folder, "best") == 2
    with checkpoint.Checkpoints(tmp_path, META, best_by="AP") as checkpoints:
        assert checkpoints.best_step == 2
        checkpoints.save(4, first, position=0)
        checkpoints.score(4, {"AP": 0.15, "AP50": 0.9})
        assert checkpoints.best_step == 2  # step 1 was not kept


def test_scores_of_older_runs_go_by_ap():
    scores = {1: {"AP": 0.3, "AP50": 0.4}, 2: {"AP": 0.2, "AP50": 0.6}, 3: None}
    assert checkpoint_folder.best_step([1, 2, 3], scores) == 1
    scores[2]["best_by"] = "AP50"
    assert checkpoint_folder.best_step([1, 2, 3], scores) == 2
    scores[2]["best_by"] = "APs"
    assert checkpoint_folder.best_step([1, 2, 3], scores) is None


def test_the_latest_two_and_the_best_are_kept(first, tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: None, 4: 0.3, 5: None}
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, first, position=0)
            assert not checkpoints.is_scored(step)
            if score is not None:
                checkpoints.score(step, {"AP": score, "AP50": 0.0})
                assert checkpoints.is_scored(step)
    assert folders(tmp_path) == {"2", "4", "5"}
    folder = checkpoint_folder.absolute(tmp_path) / "checkpoints"
    steps = {one: checkpoint_folder.choose_step(folder, one) for one in ("best", "latest", None, 4)}
    assert steps == {"best": 2, "latest": 5, None: 5, 4: 4}
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 3 .* \[2, 4, 5\]"):
        checkpoint_folder.choose_step(folder, 3)
    # Also across a restart, and where the best one changes.
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        assert checkpoints.is_scored(2) and not checkpoints.is_scored(5)
        checkpoints.save(6, first, position=0)
        checkpoints.score(6, {"AP": 0.2})
        assert folders(tmp_path) == {"2", "5", "6"}
        checkpoints.save(7, first, position=0)
        checkpoints.score(7, {"AP": 0.95})
        assert folders(tmp_path) == {"6", "7"}


def test_a_step_cannot_be_saved_twice(first, saved):
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        for step in (3, 4):
            with pytest.raises(ValueError, match=f"step {step} .*latest .* of step 4"):
                checkpoints.save(step, first, position=0)


def test_half_written_checkpoints_are_ignored_and_removed(first, saved):
    folder = saved / "checkpoints"
    for step in (5, 6):
        half = folder / f"{step}.orbax-checkpoint-tmp"
        shutil.copytree(folder / "4", half)
        shutil.rmtree(half / "data")
    assert load_variables(saved)[1]["run"] == {"seed": 0}
    # A deletion that was cut off: an old step without some of its files.
    shutil.rmtree(folder / "2" / "state")
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        assert checkpoints.latest_step == 4
        equal(checkpoints.restore(abstract(meshes.make_mesh()))[0], first)
        checkpoints.save(6, first, position=48)
    assert folders(saved) == {"4", "6"}


def test_another_configuration_is_refused_with_what_differs(saved):
    other = {**META, "model": {**META["model"], "num_classes": 3, "class_names": ("a", "b", "c")}}
    with pytest.raises(ValueError) as error:
        checkpoint.Checkpoints(saved, {**other, "run": {}})
    message = str(error.value)
    assert "holds a run of another configuration" in message
    assert "model/num_classes is 2 there and 3 here" in message
    assert "model/class_names is ['cat', 'dog'] there and ['a', 'b', 'c'] here" in message
    assert "run/seed is 0 there and 'absent' here" in message
    assert "image_size" not in message
    assert message.endswith("Choose another workdir, or delete this one to start anew.")


class Wider(nn.Module):
    """`Tiny` with another head."""

    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        return nn.Conv(5, (3, 3), name="conv")(images)


def test_a_state_that_does_not_fit_is_refused_with_a_list(saved):
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        with pytest.raises(ValueError) as error:
            checkpoints.restore(abstract(meshes.make_mesh(), Wider()))
    message = str(error.value)
    assert "leaves differ; nothing was restored" in message
    assert "\n  params/conv/kernel has shape [3, 3, 3, 4]: expected [3, 3, 3, 5]" in message
    assert "\n  params/bn/scale is unused: got float32[4], expected no such leaf" in message


def test_load_variables_for_inference(first, saved):
    expected = tiny_run.host(first.ema_variables)
    for folder in (saved, str(saved), saved / "checkpoints"):
        variables, meta = load_variables(folder)
        assert all(type(x) is np.ndarray for x in jax.tree.leaves(variables))
        assert jax.tree.structure(variables) == jax.tree.structure(expected)
        equal(variables, expected)
        assert meta["model"]["class_names"] == ["cat", "dog"]
    load_variables(saved, 2)


def test_missing_checkpoints_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*nowhere"):
        load_variables(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"step 3 .* there are \[2, 4\]"):
        load_variables(saved, 3)
    with checkpoint.Checkpoints(tmp_path / "empty", META) as checkpoints:
        assert checkpoints.latest_step is None


def items(workdir, step):
    """The files of a checkpoint that hold its items."""
    folder = workdir / "checkpoints" / str(step)
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.parent != folder)


def other(byte):
    """A byte that is not this one (compressed files end with any)."""
    return bytes([byte ^ 0xFF])


WAYS = {
    "lost": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + other(path.read_bytes()[-1])),
}


@pytest.mark.parametrize("way", WAYS)
def test_damage_of_any_file_is_found_and_named(saved, way):
    folder = checkpoint_folder.absolute(saved / "checkpoints")
    assert len(items(saved, 4)) > 8
    for path in items(saved, 4):
        checkpoint_folder.require_whole(folder, 4)
        whole = path.read_bytes()
        if whole or way == "lost":
            WAYS[way](path)
            with pytest.raises(OSError, match=f"checkpoints/4 is damaged: .*{path.name}"):
                checkpoint_folder.require_whole(folder, 4)
            path.write_bytes(whole)


@pytest.mark.parametrize(
    ("file", "way", "reason"),
    [
        ("state/d/*", "cut off", r"state/d/\w+ has [\d,]+ of [\d,]+ bytes"),
        ("config/metadata", "lost", "config/metadata is missing"),
        ("data/metadata", "changed", "data/metadata has other bytes than were written"),
    ],
)
def test_a_damaged_latest_is_set_aside(first, saved, file, way, reason):
    checkpoint_folder.write_scores(
        checkpoint_folder.absolute(saved / "checkpoints"), 4, {"AP": 0.9}
    )
    WAYS[way](next((saved / "checkpoints" / "4").glob(file)))
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        restored, position, [sentence] = checkpoints.restore_latest(abstract(meshes.make_mesh()))
        assert position == 16
        equal(restored, first)
        assert re.search(f"checkpoints/4 is damaged: {reason}; renamed to 4.damaged", sentence)
        assert sentence.endswith("going on from step 2")
        assert checkpoints.latest_step == 2
        assert folders(saved) == {"2", "4.damaged"}
        checkpoints.save(4, first, position=32)
        assert not checkpoints.is_scored(4)
    assert folders(saved) == {"2", "4", "4.damaged"}
    WAYS[way](saved / "checkpoints" / "4" / "config" / "metadata")
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        checkpoints.restore_latest(abstract(meshes.make_mesh()))
    assert folders(saved) == {"2", "4.damaged", "4.damaged-2"}


def test_where_all_are_damaged_nothing_starts_from_zero(saved):
    for step in (2, 4):
        WAYS["cut off"](items(saved, step)[0])
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        assert checkpoints.latest_step == 4
        with pytest.raises(OSError, match=r"all checkpoints .* of step 4, .*; of step 2, .* anew"):
            checkpoints.restore_latest(abstract(meshes.make_mesh()))
    assert folders(saved) == {"2", "4"}


def test_an_inference_from_a_damaged_checkpoint_is_refused(saved):
    WAYS["cut off"](items(saved, 4)[-1])
    with pytest.raises(OSError, match=r"4 is damaged: .*; choose another with --step N: .*\[2\]\."):
        load_variables(saved)
    load_variables(saved, 2)
    shutil.rmtree(saved / "checkpoints" / "2")
    with pytest.raises(OSError, match="no other is here"):
        load_variables(saved)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's readers
def test_damage_without_a_seal_is_found_by_reading(saved):
    (saved / "checkpoints" / "4" / "seal.json").unlink()
    for path in items(saved, 4):
        if path.parent.name == "d":
            path.write_bytes(b"x")
    with checkpoint.Checkpoints(saved, META) as checkpoints:
        _, position, [sentence] = checkpoints.restore_latest(abstract(meshes.make_mesh()))
    assert position == 16 and "4 is damaged: it cannot be read" in sentence
