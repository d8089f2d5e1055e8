"""A checkpoint that cannot be written ends the run with a sentence; those before stay whole."""

import contextlib
import itertools
import os
import pathlib
import resource
import shutil
import tempfile
import time

import jax
import pytest

from tests.support import tiny_run
from yolor_jax.training import loop, optim
from yolor_jax.training.checkpoints import checkpoint

# TensorStore's threads go on telling Orbax after it has raised their first error.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
META = {"model": "tiny"}
FAILED = r"step 4 could not be written to .*: File too large\. The one of step 2 is intact\. Make"


@pytest.fixture(scope="module")
def now():
    """A state of two megabytes."""
    return tiny_run.noise(1 << 16)


@contextlib.contextmanager
def little_room(size=100_000):
    """No file may grow beyond so many bytes: the system refuses, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def check_until_it_raises(checkpoints):
    for _ in range(3000):
        checkpoints.check()
        time.sleep(0.01)
    pytest.fail("no word of it")


CALLS = {
    "check": check_until_it_raises,
    "wait": lambda checkpoints: checkpoints.wait(),
    "score": lambda checkpoints: checkpoints.score(4, {"AP": 0.5}),
    "leaving": lambda checkpoints: None,
}


@pytest.mark.parametrize("call", CALLS)
def test_no_room_is_said_by_the_next_call_and_forgotten_by_the_next_run(tmp_path, now, call):
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        checkpoints.save(2, now, position=16)
    with little_room(), pytest.raises(OSError, match=FAILED):
        with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
            checkpoints.save(4, now, position=32)
            CALLS[call](checkpoints)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), now
    )
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        restored, position, damaged = checkpoints.restore_latest(shapes)
        assert position == 16 and not damaged
        assert (restored.params["leaf"] == now.params["leaf"]).all()
        checkpoints.save(4, now, position=32)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "4"}


def test_an_error_that_is_on_its_way_is_not_hidden(tmp_path, now):
    with little_room(), pytest.raises(FloatingPointError, match="diverged"):
        with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
            checkpoints.save(4, now, position=32)
            raise FloatingPointError("diverged")


def test_training_ends_at_the_step_that_hears_of_it(tmp_path, now):
    """Not at the next checkpoint, which may be hours away."""
    run = optim.RunLength(batch_size=4, steps_per_epoch=1000, total_steps=3000)
    now = now.replace(step=jax.numpy.zeros((), jax.numpy.int32))
    taken = []

    def advance(state, batch):
        time.sleep(0.01 if len(taken) > 990 else 0)
        taken.append(True)
        return state.replace(step=state.step + 1), {}

    with (
        little_room(),
        pytest.raises(OSError, match=r"step 999 could not .* There is none"),
    ):
        with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
            loop.train(
                now, advance, batches=itertools.repeat(tiny_run.make_batch(4)), run=run,
                every=loop.Every(save=999), checkpoints=checkpoints, progress=False,
            )  # fmt: skip
    assert 999 <= len(taken) < 1990


@contextlib.contextmanager
def without_the_rights_of_root():
    """Root may write everywhere: for a while this process is nobody's."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_must_not_be_written_to(now):
    """Its checkpoint can be read all the same."""
    with tempfile.TemporaryDirectory() as workdir:
        os.chmod(workdir, 0o755)
        with checkpoint.Checkpoints(workdir, META) as checkpoints:
            checkpoints.save(2, now, position=16)
        folder = pathlib.Path(workdir, "checkpoints")
        folder.chmod(0o555)
        failed = FAILED.replace("File too large", "Permission denied")
        with without_the_rights_of_root(), pytest.raises(OSError, match=failed):
            with checkpoint.Checkpoints(workdir, META) as checkpoints:
                assert checkpoints.latest_step == 2
                checkpoints.save(4, now, position=32)
        folder.chmod(0o755)
        assert [path.name for path in folder.iterdir()] == ["2"]


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_folder_that_vanished(tmp_path, now, instead):
    folder = tmp_path / "checkpoints"
    with pytest.raises(OSError, match="has vanished"):
        with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
            checkpoints.save(2, now, position=16)
            checkpoints.wait()
            shutil.rmtree(folder)
            if instead == "a file":
                folder.write_text("")
            checkpoints.save(4, now, position=32)
    assert folder.exists() == (instead == "a file")


@pytest.mark.parametrize("name", ["checkpoints", "."])
def test_a_file_in_the_place_of_the_folder(tmp_path, name):
    workdir = tmp_path / "run"
    if name == ".":
        workdir.write_text("")
    else:
        workdir.mkdir()
        (workdir / name).write_text("")
    with pytest.raises(OSError, match=r"run.* is a file: expected a folder, or none"):
        checkpoint.Checkpoints(workdir, META)


def test_an_error_of_ours_is_no_failed_write(now, tmp_path):
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        with pytest.raises(ValueError, match="TypeHandler"):
            checkpoints.save(1, now.replace(step=object()), position=8)
