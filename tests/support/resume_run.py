"""A short real run, for test_resume.py to kill: ``resume_run.py FOLDER WORKDIR [AT STEP]``.

The process kills itself with SIGKILL at that step: AT ``row`` when it has recorded it, AT ``save``
when the checkpoint is on disk and has no seal and no name, AT ``evaluation`` in it, AT ``score``
when the row is written and the score is not. AT ``operation`` the number is that of a file
operation among the checkpoints, by whatever thread. It prints the number of each step when it has
recorded it.
"""

import itertools
import os
import pathlib
import signal
import sys
import time

import jax
import numpy as np

from tests.support import tiny_run
from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.pipeline import Reading, train_batches
from yolor_jax.paths import Path, user_path
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.training import loop, metrics, optim, state, step
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints.checkpoint import Checkpoints

SIZE = 64
RUN = optim.RunLength(batch_size=4, steps_per_epoch=6, total_steps=20)
CONFIG = optim.OptimConfig(
    warmup_epochs=0.0, warmup_min_steps=6, nominal_batch=8, warmup_bias_learning_rate=0.0
)


def kill(place: str, step: int) -> None:
    """Dies if this is where the command line says so."""
    if sys.argv[3:] == [place, str(step)]:
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_operation(folder: pathlib.Path, number: int) -> None:
    """Dies before a file below the folder is opened, made, renamed or removed so often."""
    operations = itertools.count(1)

    def audit(event, arguments):
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            if str(arguments[0]).startswith(f"{folder}/") and next(operations) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


class Deadly(Checkpoints):
    """Checkpoints in whose writing the process dies."""

    def _seal(self):
        kill("save", self._writing)
        super()._seal()

    def score(self, step, scores):
        kill("score", step)
        super().score(step, scores)


class Announced:
    """A writer that tells whoever started this process of each row."""

    def write(self, step, values):
        print(step, flush=True)
        kill("row", step)

    def flush(self):
        pass


def evaluate(now: state.TrainState) -> dict[str, float]:
    """A number that follows from the moving average, to the bit."""
    total = sum(np.abs(np.asarray(x, np.float64)).sum() for x in jax.tree.leaves(now.ema_params))
    time.sleep(0.1)  # long enough to be killed in it
    kill("evaluation", int(now.step))
    return {"AP": float(total % 1.0)}


def main(folder: pathlib.Path, workdir: Path) -> None:
    source = open_dataset(
        "shapes", "train", folder, shapes_sizes={"train": 24, "validation": 4}, progress=False
    )
    mesh = meshes.make_mesh()
    module = tiny_run.Tiny()
    abstract = state.abstract_state(module, CONFIG, RUN, image_size=(SIZE, SIZE), mesh=mesh)
    train_step = step.make_train_step(
        module,
        augment=lambda key, batch, step: augment(key, batch, AugmentConfig(group=4)),
        loss=tiny_run.square_loss,
        config=CONFIG,
        run=RUN,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, abstract),
    )
    with Deadly(workdir, {"model": "tiny"}) as checkpoints:
        restored = checkpoints.latest_step
        if restored is None:
            now = state.init_state(
                module, CONFIG, RUN, key=jax.random.key(0), image_size=(SIZE, SIZE), mesh=mesh
            )
            position = 0
        else:
            now, position, _ = checkpoints.restore_latest(abstract)
        batches = train_batches(
            source, image_size=SIZE, batch_size=RUN.batch_size, max_targets=8, seed=3,
            start=position, reading=Reading(threads=2),
        )  # fmt: skip
        with metrics.JsonLines(workdir / "metrics.jsonl", keep_until=restored or 0) as writer:
            loop.train(
                now, step.make_advance(train_step, mesh, jax.random.key(5)), batches=batches,
                run=RUN, every=loop.Every(save=5, log=1, evaluate=RUN.steps_per_epoch),
                checkpoints=checkpoints, writers=[writer, Announced()], evaluate=evaluate,
                progress=False,
            )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[3:4] == ["operation"]:
        die_at_operation(pathlib.Path(sys.argv[2], "checkpoints"), int(sys.argv[4]))
    main(pathlib.Path(sys.argv[1]), user_path(sys.argv[2]))
