"""The environment of an extra: made once, by pip, and only where somebody names a folder."""

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import META
from yolor_jax.cli import environment
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.weights.store import save_variables

WORDS = ["export", "grid.safetensors", "--format", "savedmodel", "--batch", "dynamic"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_variables(tmp_path / "grid.safetensors", grid_detector()[1], {**META, "fused": False})
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """What would be run, instead of running it; ``pip`` fails where it is told to."""
    ran = []

    def run(command):
        ran.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, returncode=ran.count(ran[-1]) - 1)

    def create(folder, **_):
        environment._inside(folder, "purelib").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(environment.venv, "create", create)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return ran


def test_it_is_made_once_and_the_command_runs_in_it(commands, capsys):
    words = [*WORDS, "--environment", "tf"]
    assert main(words) == 0
    install, command = commands
    assert install[1:4] == ["-m", "pip", "install"] and "tensorflow" in install[-1]
    assert command[1:] == ["-m", "yolor_jax", *words]
    assert "making an environment in tf with tensorflow" in capsys.readouterr().out.replace(
        str(pathlib.Path.cwd()) + "/", ""
    )
    main(words)
    assert len(commands) == 3 and commands[2] == command  # nothing was installed again


def test_it_sees_what_this_python_has(commands):
    environment.run_in(pathlib.Path("tf"), "tf", [])
    [beside] = pathlib.Path("tf").rglob("beside.pth")
    program = f"import sys, site; site.addsitedir({str(beside.parent)!r}); import numpy, yolor_jax"
    assert subprocess.Popen([sys.executable, "-S", "-c", program]).wait() == 0
    assert str(pathlib.Path(environment.yolor_jax.__file__).parents[1]) in beside.read_text()


def test_pip_that_fails_is_a_sentence_and_is_tried_again(commands, monkeypatch):
    monkeypatch.setattr(
        environment.subprocess, "run", lambda command: subprocess.CompletedProcess(command, 1)
    )
    for _ in range(2):
        with pytest.raises(OSError, match=r"pip could not install tensorflow.* in tf"):
            environment.run_in(pathlib.Path("tf"), "tf", [])


@pytest.mark.parametrize("name", ["a.jpg", "pyvenv.cfg"])
def test_what_is_not_ours_is_left_alone(commands, here, capsys, name):
    (here / "mine").mkdir()
    (here / "mine" / name).write_text("mine")
    for _ in range(2):
        assert main([*WORDS, "--environment", "mine"]) == 2
        assert "mine holds something else, which stays" in capsys.readouterr().err
    assert [one.read_text() for one in (here / "mine").iterdir()] == ["mine"] and not commands


def test_an_environment_for_another_extra_is_a_sentence(commands):
    environment.run_in(pathlib.Path("tf"), "tf", [])
    with pytest.raises(InputError, match="tf is an environment for tf; choose another for torch"):
        environment.run_in(pathlib.Path("tf"), "torch", [])


def test_without_tensorflow_nothing_is_installed_unasked(commands, capsys):
    assert main(WORDS) == 2
    assert "pip install 'yolor-jax[tf]', or add --environment FOLDER" in capsys.readouterr().err
    assert not commands


@pytest.mark.long
def test_for_real(here):
    """Where the package index has no TensorFlow, there is nothing to try."""
    command = [sys.executable, "-m", "yolor_jax", *WORDS, "--verify", "--environment", "tf"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "pip could not install" in done.stderr:
        pytest.skip(f"no TensorFlow to be had here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    assert json.loads(pathlib.Path("yolor_test-64.savedmodel.certificate.json").read_text())["ok"]
    python = next(pathlib.Path("tf").glob("*/python"))
    subprocess.run([python, "-m", "yolor_jax", "summary", "grid.safetensors"], check=True)
    shutil.rmtree("tf")  # pytest keeps the folders of three runs, and this one has gigabytes
