"""Thirty-two whole training steps of the original, in float64: our steps give the same numbers.

golden/README.md, section 8 (trajectory): network in train mode, loss, gradients, accumulation of 1
to 4 batches, parameter groups, weight decay, Nesterov, warm-up, cosine, moving average and running
statistics at once, over the end of the warm-up and three ends of an epoch.
"""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import golden_models
from yolor_jax.data.example import Batch
from yolor_jax.detection.losses import LossConfig
from yolor_jax.models import detector
from yolor_jax.training import mesh as meshes
from yolor_jax.training import optim, state, step
from yolor_jax.weights.convert import from_torch, to_torch

# Relative tolerances as (first step, tolerance): the network is young, and rounding grows in it.
LOSSES = ((0, 4e-7), (13, 1e-5), (21, 3e-3))
GRADIENT_NORMS = ((0, 1e-6), (12, 3e-5), (18, 1e-1))  # seen: 1e-5, and 3e-2 at step 29
NORMS_AT_THE_END = 2e-4
LEVEL = 1
"""Of XLA's optimisation: at 0, as elsewhere, a step takes 24 s; at 1, 3 (and compiling 10 more)."""


class Trajectory:
    """The original's run: its settings, its batches and what came of them."""

    def __init__(self, golden):
        self.facts = json.loads((golden / "trajectory" / "ssss_s2d.json").read_text())
        arrays = np.load(golden / "trajectory" / "ssss_s2d.npz")
        self.targets = [arrays[name] for name in ("boxes", "labels", "mask")]
        self.rows = arrays["rows"]
        self.model = golden_models.load(golden, "paper__yolor-ssss-s2d")
        generator = np.random.Generator(np.random.PCG64(20210512))
        self.images = generator.integers(0, 256, (32, 8, 128, 128, 3), np.uint8)
        assert zlib.crc32(self.images.tobytes()) == self.facts["images_crc32"]

    def batch(self, index: int) -> Batch:
        boxes, labels, mask = (array[index] for array in self.targets)
        size = len(boxes)
        return Batch(
            image=self.images[index],
            boxes_xyxy=boxes.astype(np.float32),
            labels=labels.astype(np.int32),
            mask=mask.astype(bool),
            is_crowd=np.zeros(mask.shape, bool),
            index=np.arange(size, dtype=np.int32),
            original_size=np.full((size, 2), 128, np.int32),
            letterbox=np.tile(np.float32([1, 0, 0]), (size, 1)),
            valid=np.ones(size, bool),
            identity=np.full(mask.shape, -1, np.int32),
        )

    def run(self, steps: int) -> tuple[state.TrainState, dict[str, np.ndarray]]:
        """Our state after so many steps, and our metrics, one number a step."""
        facts, hyper, spec = self.facts, self.facts["hyper"], self.model.spec
        config = optim.OptimConfig(
            learning_rate=hyper["lr0"],
            final_ratio=hyper["lrf"],
            momentum=hyper["momentum"],
            weight_decay=hyper["weight_decay"],
            nominal_batch=facts["nominal_batch"],
            warmup_epochs=0.0,
            warmup_min_steps=facts["warmup_steps"],
            warmup_momentum=hyper["warmup_momentum"],
            warmup_bias_learning_rate=hyper["warmup_bias_lr"],
            drop_gradients_at_epoch_start=True,
        )
        length = optim.RunLength(
            batch_size=facts["batch_size"],
            steps_per_epoch=facts["steps_per_epoch"],
            total_steps=facts["steps_per_epoch"] * facts["epochs"],
        )
        gains = LossConfig(
            box=hyper["box"],
            objectness=hyper["obj"],
            classification=hyper["cls"],
            ratio_threshold=hyper["anchor_t"],
        )
        mesh = meshes.make_mesh(jax.devices()[:1])
        with jax.enable_x64(True):
            variables, _ = from_torch(spec, self.model.state_dict)
            wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
            now = state.place_state(mesh, state.new_state(wide, config, length))
            train_step = step.make_train_step(
                detector.build(spec, dtype=jnp.float64),
                augment=lambda key, batch, step: batch,
                loss=step.make_detection_loss(
                    anchors=spec.anchors, strides=spec.strides, config=gains
                ),
                config=config,
                run=length,
                mesh=mesh,
                shardings=meshes.state_sharding(mesh, now),
            )
            key = jax.device_put(jax.random.key(0), meshes.replicated(mesh))
            batches = [meshes.shard_batch(mesh, self.batch(index)) for index in range(steps)]
            lowered = train_step.lower(now, batches[0], key)
            compiled = lowered.compile({"xla_backend_optimization_level": LEVEL})
            rows = []
            for batch in batches:
                now, metrics = compiled(now, batch, key)
                rows.append(metrics)
            return now, {k: np.array([float(row[k][0]) for row in rows]) for k in rows[0]}


@pytest.fixture(scope="module")
def original(golden) -> Trajectory:
    return Trajectory(golden)


def tolerances(stages, steps: int) -> np.ndarray:
    """The tolerance of each step, from (first step, tolerance)."""
    starts = [start for start, _ in stages]
    return np.array([stages[np.searchsorted(starts, i, "right") - 1][1] for i in range(steps)])


def require_the_original_s_rows(original: Trajectory, metrics: dict[str, np.ndarray]):
    steps = len(metrics["gradient_norm"])
    want = dict(zip(original.facts["row"], original.rows[:steps].T, strict=True))
    for name in ("learning_rate", "bias_learning_rate", "momentum"):  # logged in float32
        np.testing.assert_allclose(metrics[name], want[name], rtol=1e-7, atol=0, err_msg=name)
    for name in ("box", "objectness", "classification", "total"):
        off = np.abs(metrics[f"loss/{name}"] / want[name] - 1)
        assert (off <= tolerances(LOSSES, steps)).all(), (name, off)
    off = np.abs(metrics["gradient_norm"] / want["gradient_norm"] - 1)
    assert (off <= tolerances(GRADIENT_NORMS, steps)).all(), ("gradient_norm", off)


def test_first_six_steps(original):
    """Three accumulations of one batch, then of two."""
    _, metrics = original.run(6)
    require_the_original_s_rows(original, metrics)


@pytest.mark.long
def test_all_steps(original):
    final, metrics = original.run(32)
    require_the_original_s_rows(original, metrics)
    assert int(final.step) == 32
    ends = {
        "trained": {"params": final.params, "batch_stats": final.batch_stats},
        "ema": final.ema_variables,
    }
    for which, variables in ends.items():
        tensors = to_torch(original.model.spec, jax.tree.map(np.asarray, variables))
        want = {
            name.partition("/")[2]: numbers
            for name, numbers in original.facts["end"].items()
            if name.startswith(f"{which}/")
        }
        assert want.keys() <= tensors.keys()
        for name, (norm, *_) in want.items():
            got = np.linalg.norm(tensors[name])
            assert got == pytest.approx(norm, rel=NORMS_AT_THE_END), (which, name)
