"""``import yolor_jax``: fast, without JAX, and with every name that it promises."""

import subprocess
import sys

import yolor_jax

HEAVY = ("jax", "flax", "cv2", "numpy", "tensorflow_datasets", "orbax")


def test_the_import_starts_nothing():
    program = "import sys, yolor_jax; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_every_name_is_there_and_documented():
    assert set(yolor_jax.__all__) <= set(dir(yolor_jax))
    for name in yolor_jax.__all__:
        assert getattr(yolor_jax, name).__doc__ or name == "__version__", name
    assert yolor_jax.__version__.count(".") == 2


def test_a_name_that_is_not_there():
    assert not hasattr(yolor_jax, "lode")
