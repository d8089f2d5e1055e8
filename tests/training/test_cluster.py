"""How a process finds its place among the processes of a run."""

import pytest

from yolor_jax.training.processes import cluster
from yolor_jax.training.processes.cluster import Place

SLURM = {
    "SLURM_JOB_ID": "4242",
    "SLURM_STEP_NODELIST": "node[007-008]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


def variables(address, count, index):
    given = zip(cluster.VARIABLES, (address, count, index), strict=True)
    return {name: value for name, value in given if value is not None}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        (variables("10.0.0.1:1234", "4", "3"), Place("10.0.0.1:1234", 4, 3)),
        (variables("[::1]:1234", "2", "0"), Place("[::1]:1234", 2, 0)),
        (variables("10.0.0.1:1234", "1", "0"), None),
        (SLURM, Place("node007:61586", 2, 1)),
        (SLURM | {"JAX_COORDINATOR_PORT": "1234"}, Place("node007:1234", 2, 1)),
        (SLURM | variables("10.0.0.1:1234", "4", "3"), Place("10.0.0.1:1234", 4, 3)),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, None),  # a shell within an allocation
    ],
)
def test_the_place_of_a_process(environment, place, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cluster.find_place(environment) == place


@pytest.mark.parametrize(
    "given",
    [
        ("10.0.0.1:1234", "2", None),
        (None, "2", "0"),
        ("10.0.0.1", "2", "0"),
        ("10.0.0.1:1234", "two", "0"),
        ("10.0.0.1:1234", "2", "2"),
        ("10.0.0.1:1234", "2", "-1"),
    ],
)
def test_variables_that_make_no_place(given):
    with pytest.raises(ValueError, match=r"got JAX_COORDINATOR_ADDRESS=.* the index of this one"):
        cluster.find_place(variables(*given))
