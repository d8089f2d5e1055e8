"""A run that moves from 8 devices to 4 and to 1 sees the same data and has the same losses."""

import functools

import jax
import numpy as np
import pytest

from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.pipeline import Reading, train_batches
from yolor_jax.detection.losses import LossConfig
from yolor_jax.models import detector
from yolor_jax.preparation import shapes
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.training import loop, metrics, optim, state, step
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints import loading
from yolor_jax.training.checkpoints.checkpoint import Checkpoints

SIZE, CLASSES = 64, 6
RUN = optim.RunLength(batch_size=8, steps_per_epoch=3, total_steps=9)
CONFIG = optim.OptimConfig(
    learning_rate=1e-4, warmup_epochs=0.0, warmup_min_steps=3, nominal_batch=16,
    warmup_bias_learning_rate=0.0,
)  # fmt: skip
"""Steps ten times as long spread rounding, which is another for each number of devices, over the
losses in float32; `test_step` compares the devices in float64."""


@functools.cache
def program(devices):
    """Mesh, shapes of the state, and the training step for so many devices."""
    mesh = meshes.make_mesh(jax.devices()[:devices])
    module = detector.build("yolor_test", CLASSES)
    abstract = state.abstract_state(module, CONFIG, RUN, image_size=(SIZE, SIZE), mesh=mesh)
    settings = AugmentConfig(mosaic=0.0)
    train_step = step.make_train_step(
        module,
        augment=lambda key, batch, _: augment(key, batch, settings),
        loss=step.make_detection_loss(
            anchors=module.spec.anchors, strides=module.spec.strides, config=LossConfig()
        ),
        config=CONFIG,
        run=RUN,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, abstract),
    )
    return mesh, module, abstract, train_step


def train(workdir, source, devices, until, seen):
    """Trains on so many devices until a step; notes which images each step gets."""
    mesh, module, abstract, train_step = program(devices)
    with Checkpoints(workdir, {"model": "yolor_test"}) as checkpoints:
        if checkpoints.latest_step is None:
            now, position = (
                state.init_state(
                    module, CONFIG, RUN, key=jax.random.key(0), image_size=(SIZE, SIZE), mesh=mesh
                ),
                0,
            )
        else:
            now, position, _ = checkpoints.restore_latest(abstract)
        start = int(now.step)
        batches = train_batches(
            source, image_size=SIZE, batch_size=8, max_targets=8, seed=3, start=position,
            reading=Reading(threads=2),
        )  # fmt: skip
        taken = (seen.append(batch.index.tolist()) or batch for batch in batches)
        rows = metrics.JsonLines(workdir / "metrics.jsonl", keep_until=start)
        before = len(seen)
        with rows as writer:
            loop.train(
                now, step.make_advance(train_step, mesh, jax.random.key(5)), batches=taken,
                run=RUN, every=loop.Every(save=100, log=1), checkpoints=checkpoints,
                writers=[writer], progress=False,
                stop=lambda: start + len(seen) - before == until,
            )  # fmt: skip


@pytest.mark.long
def test_from_eight_devices_to_four_to_one(tmp_path):
    shapes.prepare(tmp_path / "data", sizes={"train": 24, "validation": 2}, progress=False)
    source = open_dataset(str(tmp_path / "data"), "train", tmp_path)
    orders = {"whole": [], "moved": []}
    train(tmp_path / "whole", source, 8, 9, orders["whole"])
    for devices, until in ((8, 3), (4, 6), (1, 9)):
        train(tmp_path / "moved", source, devices, until, orders["moved"])
    assert orders["whole"] == orders["moved"] and len(orders["whole"]) == 9
    whole, moved = (
        metrics.read_json_lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "moved")
    )
    assert [row["step"] for row in moved] == list(range(1, 10))
    for a, b in zip(whole, moved, strict=True):
        for name in ("loss/box", "loss/objectness", "loss/classification", "loss/total"):
            np.testing.assert_allclose(b[name], a[name], rtol=1e-4, err_msg=f"{name} {a['step']}")
        assert a["targets"] == b["targets"] and a["learning_rate"] == b["learning_rate"]
    # What no loss of training shows: running statistics, and the moving averages of all.
    for read in (loading.load_trained, loading.load_variables):
        whole, moved = (read(tmp_path / name)[0] for name in ("whole", "moved"))
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(moved), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max())
