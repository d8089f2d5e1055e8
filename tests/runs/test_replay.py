"""A batch that stopped a run is replayed: what its step saw, which image did it, and where."""

import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.small_recipe import typed
from yolor_jax.cli.main import main
from yolor_jax.configs import quickstart
from yolor_jax.data.pipeline import train_batches
from yolor_jax.preparation import shapes
from yolor_jax.runs import programs, recipe, replay, start
from yolor_jax.runs.sources import open_sources
from yolor_jax.training import bad_batch
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A workdir with a recipe, a checkpoint of step 2, and the batch of step 5."""
    data = shapes.prepare(
        tmp_path_factory.mktemp("data"), sizes={"train": 8, "validation": 2}, progress=False
    )
    config = quickstart.get_config()
    config.update(
        {
            "model": {"name": "yolor_test"},
            "image_size": 64,
            "batch_size": 4,
            "data": {"path": str(data)},
        }
    )
    config.augment.mosaic = 0.0  # an image stays where it is
    workdir = tmp_path_factory.mktemp("run")
    sources = open_sources(typed(config).data)
    module = typed(config).network(len(sources.class_names))
    mesh = meshes.make_mesh(jax.devices()[:1])
    run = typed(config).length(len(sources.train))
    first = start.first_state(typed(config), module, run, mesh)
    meta = {
        "model": "yolor_test", "implicit": None, "class_names": list(sources.class_names),
        "num_classes": len(sources.class_names), "train_images": 8,
    }  # fmt: skip
    with Checkpoints(workdir, meta) as checkpoints:
        checkpoints.save(2, first, position=8)
    recipe.save(typed(config), workdir)
    batch = next(train_batches(sources.train, image_size=64, batch_size=4, max_targets=8, seed=0))
    key_data = np.asarray(jax.random.key_data(jax.random.key(3)))
    bad = bad_batch.BadBatch(5, key_data, {"loss/box": float("nan")}, [11, 12, 13, 14], batch)
    return config, workdir, bad, first


def test_the_image_at_fault_is_named_and_marked(stopped, capsys, monkeypatch):
    """By a loss that divides by the area of the boxes."""
    _, workdir, bad, _ = stopped
    undivided = programs.loss_of

    def divided(*arguments):
        loss = undivided(*arguments)

        def by_area(outputs, batch):
            total, terms = loss(outputs, batch)
            width = jnp.where(batch.mask, batch.boxes_xyxy[..., 2] - batch.boxes_xyxy[..., 0], 1.0)
            return total / width.prod(), terms | {"total": terms["total"] / width.prod()}

        return by_area

    monkeypatch.setattr(programs, "loss_of", divided)
    batch = jax.tree.map(np.copy, bad.batch)
    assert batch.mask[2, 0]
    batch.boxes_xyxy[2, 0, 2] = batch.boxes_xyxy[2, 0, 0]
    path = bad_batch.save(workdir, bad._replace(batch=batch))
    assert main(["doctor", "--replay", str(path)]) == 0
    out = capsys.readouterr().out
    assert "step 5 had loss/box nan\nreplayed with the parameters of the checkpoint of" in out
    marked = [line.split() for line in out.splitlines() if line.strip().startswith("*")]
    assert [row[:3] for row in marked] == [["*", "2", "13"]]
    assert marked[0][4] == "1" and "inf" in marked[0]  # one odd box
    assert "or its gradient is not, for [13]" in out
    picture = cv2.imread(str(workdir / "bad_batch_5.png"))
    assert (picture[..., ::-1] == replay.MARK).all(-1).any()


@pytest.mark.long
def test_a_harmless_batch_says_that_the_parameters_went_wrong(stopped):
    _, workdir, bad, _ = stopped
    out = replay.describe(replay.replay(bad_batch.save(workdir, bad)))
    assert "All is finite with these parameters: they went wrong in the 2 steps from 2 to 4" in out
    assert "*" not in out


def test_parameters_that_are_not_finite_name_the_module(stopped, tmp_path):
    config, workdir, bad, first = stopped
    meta = json.loads((workdir / "checkpoints" / "2" / "config" / "metadata").read_text())
    params = jax.tree.map(np.array, first.params)
    path, leaf = jax.tree_util.tree_flatten_with_path(params)[0][0]
    leaf[...] = np.inf
    with Checkpoints(tmp_path, meta) as checkpoints:
        broken = meshes.make_mesh(jax.devices()[:1])
        state = first.replace(params=jax.device_put(params, meshes.replicated(broken)))
        checkpoints.save(4, state, position=16)
    recipe.save(typed(config), tmp_path)
    out = replay.describe(replay.replay(bad_batch.save(tmp_path, bad)))
    name = "/".join(str(key.key) for key in path[:-1])
    assert (
        f"The first output that is not finite is that of {name}, for the images [11, 12, 13, 14]"
        in out
    )


@pytest.mark.long
def test_without_a_checkpoint_it_is_the_start(stopped, tmp_path):
    config, _, bad, _ = stopped
    recipe.save(typed(config), tmp_path)
    out = replay.describe(replay.replay(bad_batch.save(tmp_path, bad)))
    assert "replayed with the parameters of the start" in out and "steps from 0 to 4" in out


@pytest.mark.long
def test_the_batch_is_augmented_as_in_its_step(stopped):
    """By the metrics of the training step itself: as many targets, and the loss of the batch."""
    config, _, bad, first = stopped
    config = config.copy_and_resolve_references()
    config.multi_scale = (32, 64)
    config.augment.update(mosaic=1.0, group=4)
    mesh = meshes.make_mesh(jax.devices()[:1])
    module = typed(config).network(6)
    run = typed(config).length(8)
    step = programs.make_step(typed(config), module, first, run=run, mesh=mesh)
    key = jax.random.wrap_key_data(bad.key_data)
    at = jax.tree.map(lambda x: x + 0, first).replace(step=first.step + 4)
    _, metrics = step(at, meshes.shard_batch(mesh, bad.batch), key)
    batch = replay.augmented(typed(config), run, bad)
    variables = {"params": first.params, "batch_stats": first.batch_stats}
    images = batch.image.astype(np.float32) / np.float32(255)
    outputs, _ = module.apply(variables, images, train=True, mutable=["batch_stats"])
    _, terms = programs.loss_of(typed(config), module)(outputs, batch)
    assert batch.image.shape[1] in (32, 64)
    np.testing.assert_allclose(float(terms["total"]), float(metrics["loss/total"][0]), rtol=1e-4)


def test_a_file_without_its_run_is_refused(stopped, tmp_path):
    with pytest.raises(FileNotFoundError, match="bad_batch_5"):
        replay.replay(tmp_path / "bad_batch_5.npz")
    path = bad_batch.save(tmp_path, stopped[2])
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*expected the workdir"):
        replay.replay(path)
