"""TPU slices by name: what is asked for wrongly, and without libtpu."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from yolor_jax.training.programs import topology
from yolor_jax.training.programs.topology import DoesNotFit, compile_for_tpu, hbm_bytes, tpu_devices

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As libtpu says it: of all a program holds, or of its temporaries alone.
MESSAGES = {
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
    "Used 17.50G of 15.75G hbm. Exceeded hbm capacity by 1.75G.": 17.5,
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(78.65G) exceeds available HBM (15.75G).": 78.65,
}
MOST_MIB = 1.3
"""That the step may move to and from a chip's memory: 0.9 on both, as most stays on the chip."""

needs_libtpu = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"),
    reason=f"compiling for a TPU needs libtpu: {topology.INSTALL}",
)


@pytest.mark.parametrize("name", ["v5e", "v5e:4", "tpu:2x2", "v5e:2x2x2x2", "v5e:axb"])
def test_a_name_of_another_form(name):
    with pytest.raises(ValueError, match=f"the topology is '{name}'; expected a name such as v5e"):
        tpu_devices(name)


def test_without_libtpu_the_command_that_installs_it(monkeypatch):
    def absent(*args, **options):
        raise RuntimeError("JAX TPU support not installed")

    monkeypatch.setattr(topology.topologies, "get_topology_desc", absent)
    with pytest.raises(ImportError, match=r"needs libtpu.*: pip install -e \.\[tpu\]"):
        tpu_devices("v5e:2x2")


def failing(message):
    class Lowered(jax.stages.Lowered):
        def __init__(self):
            pass

        def compile(self):
            raise jax.errors.JaxRuntimeError(message)

    return Lowered()


@pytest.mark.parametrize(("message", "needed"), MESSAGES.items())
def test_a_program_that_is_too_large_says_by_how_much(message, needed):
    with pytest.raises(DoesNotFit) as caught:
        compile_for_tpu(failing(message))
    assert caught.value.needed == round(needed * 2**30)
    assert caught.value.available == 15.75 * 2**30


def test_another_error_of_the_compiler_stays():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        compile_for_tpu(failing("INTERNAL: 3 of 4 shards"))


def test_the_memory_of_an_unknown_chip():
    with pytest.raises(ValueError, match="the memory of a cpu is not known; known are TPU v4"):
        hbm_bytes(jax.devices("cpu")[0])


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "chips", "gib"),
    [("v5e:2x2", 4, 16), ("v5e:1x1", 1, 16), ("v4:2x2x1", 4, 32), ("v6e:4x4", 16, 32)],
)
def test_chips_of_a_slice(name, chips, gib):
    devices = tpu_devices(name)
    assert len(devices) == chips
    assert hbm_bytes(devices[0]) == gib * 2**30


@needs_libtpu
def test_a_slice_that_does_not_exist():
    with pytest.raises(ValueError, match="there is no topology 'v5e:3x7'"):
        tpu_devices("v5e:3x7")


@needs_libtpu
@pytest.mark.long
@pytest.mark.parametrize("name", ["v5e:2x2", "v4:2x2x1"])
def test_training_and_prediction_compile_for_a_slice(name, tmp_path):
    """The command, in a process of its own: these tests' compiler flags are none for a TPU."""
    file = tmp_path / "doctor.json"
    arguments = ["--config", "configs/quickstart.py", "--config.model.name=yolor_test"]
    arguments += ["--config.image_size=64", "--config.batch_size=32", "--classes", "3"]
    arguments += ["--topology", name, "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "yolor_jax.cli.main", "doctor", *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    training, prediction = report["programs"]
    state = training["memory"]["aliased"]  # what is donated: the state
    images = 32 // 4 * 64 * 64 * 3
    assert images < training["memory"]["arguments"] - state < 4 * images
    assert training["collectives"]["all-reduce"]["count"] > 0  # batch norm and gradients
    assert prediction["collectives"] == {}
    moved = {
        one["name"]: sum(kind["bytes"] for kind in one["traffic"].values()) / 2**20
        for one in (training, prediction)
    }
    assert 0 < moved["prediction"] < moved["training step"] < MOST_MIB
    assert report["flops"] > 32 * 3 * 1e6
