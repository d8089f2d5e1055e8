"""How long a checkpoint of a model takes on the disk and in the emulated bucket.

python -m tests.bucket.time_checkpoints yolor_csp
"""

import os
import sys
import tempfile
import time

import jax

from tests.support import local_bucket
from yolor_jax.models import detector
from yolor_jax.paths import user_path
from yolor_jax.training import mesh as meshes
from yolor_jax.training import optim, state
from yolor_jax.training.checkpoints.checkpoint import Checkpoints

SIZE = (64, 64)  # has no part in the state
RUN = optim.RunLength(batch_size=8, steps_per_epoch=100, total_steps=1000)
META = {"model": "timed"}


def measure(workdir, now, expected) -> str:
    """Seconds until the loop goes on, until all is written, and to restore it."""
    with Checkpoints(workdir, META) as checkpoints:
        started = time.perf_counter()
        checkpoints.save(1, now, position=1)
        returned = time.perf_counter() - started
        checkpoints.wait()
        saved = time.perf_counter() - started
    with Checkpoints(workdir, META) as checkpoints:
        started = time.perf_counter()
        restored, _, _ = checkpoints.restore_latest(expected)
        jax.block_until_ready(restored)
    read = time.perf_counter() - started
    return (
        f"training goes on after {returned:.1f} s, saved in {saved:.1f} s, restored in {read:.1f} s"
    )


def main(model: str) -> None:
    module = detector.build(model, 80)
    mesh, config = meshes.make_mesh(), optim.OptimConfig()
    expected = state.abstract_state(module, config, RUN, image_size=SIZE, mesh=mesh)
    now = state.init_state(
        module, config, RUN, key=jax.random.key(0, impl="rbg"), image_size=SIZE, mesh=mesh
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(now)) / 1e6
    print(f"{model}, a state of {size:,.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        print(f"disk:   {measure(folder, now, expected)}")
    with local_bucket.serving() as address:
        os.environ.update(local_bucket.environment(address))
        place = user_path(f"{local_bucket.BUCKET}/run")
        print(f"bucket: {measure(place, now, expected)}")


if __name__ == "__main__":
    main(sys.argv[1])
