"""Work that several processes share, some of which end before it is done."""

import os
import pathlib
import signal

import pytest

from yolor_jax.errors import InputError
from yolor_jax.preparation.parallel import Workers, run


def square(folder, number, deaths):
    """Of the number 3 the process ends first, as often as it is told."""
    pathlib.Path(folder, f"{number}-{os.getpid()}").touch()
    tries = len(list(pathlib.Path(folder).glob(f"{number}-*")))
    if number == 3 and tries <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        raise InputError("seven")
    return number**2


def tasks(folder, numbers, deaths=0):
    return [(str(folder), number, deaths) for number in numbers]


def test_results_of_all_tasks(tmp_path):
    for processes in (1, 2, 9):
        results = run(square, tasks(tmp_path, range(4)), Workers(processes))
        assert sorted(results) == [0, 1, 4, 9]
    assert list(run(square, [], Workers(2))) == []


def test_a_worker_that_is_lost_costs_its_task_alone(tmp_path):
    results = run(square, tasks(tmp_path, range(6), deaths=1), Workers(2))
    assert sorted(results) == [0, 1, 4, 9, 16, 25]
    began = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert began == ["0", "1", "2", "3", "3", "4", "5"]


def test_a_task_that_kills_every_worker_is_given_up(tmp_path):
    with pytest.raises(OSError, match="ended 3 times at the same task"):
        list(run(square, tasks(tmp_path, (3, 4), deaths=9), Workers(2)))


def test_an_error_is_raised_here(tmp_path):
    for processes in (1, 2):
        with pytest.raises(InputError, match="seven"):
            list(run(square, tasks(tmp_path, (7, 8)), Workers(processes)))


@pytest.mark.long
def test_ray_does_the_same(tmp_path):
    pytest.importorskip("ray", reason="pip install 'yolor-jax[ray]'")
    results = run(square, tasks(tmp_path, range(6), deaths=1), Workers(ray="local"))
    assert sorted(results) == [0, 1, 4, 9, 16, 25]
    with pytest.raises(InputError, match="seven"):
        list(run(square, tasks(tmp_path, (7,)), Workers(ray="local")))
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        list(run(square, tasks(tmp_path, (1,)), Workers(ray="127.0.0.1:1")))
