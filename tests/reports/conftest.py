"""A data set and what a run on it left, for all tests of reports."""

import pytest

from tests.support.left_run import leave_run
from yolor_jax.preparation import shapes


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A TFDS directory with a few shapes."""
    sizes = {"train": 4, "validation": 12}
    return shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture(scope="session")
def left(data, tmp_path_factory):
    """The workdir of a finished run; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / "first"
    leave_run(workdir, data)
    return workdir
