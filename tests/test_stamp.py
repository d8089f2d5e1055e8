"""Who made a file: what a stamp says, where its commit comes from, and what it leaves out."""

import datetime
import json
import os
import platform
import subprocess
import sys

import jax
import pytest

from yolor_jax import stamp as stamps
from yolor_jax.stamp import described, stamp


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A folder of code in a checkout of one commit, and a folder that is ignored in it."""
    for name in ("package", "ignored"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_commit_and_changes_are_those_of_the_checkout(checkout, monkeypatch):
    commit = git(checkout, "rev-parse", "HEAD")
    assert stamps._checkout(checkout / "package") == (commit, False)
    (checkout / "runs").mkdir()
    (checkout / "runs" / "metrics.jsonl").write_text("{}")
    assert stamps._checkout(checkout / "package") == (commit, False)  # results are no changes
    (checkout / "package" / "__init__.py").write_text("x = 1\n")
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))  # as in a hook of git's
    assert stamps._checkout(checkout / "package") == (commit, True)


def test_installed_code_has_no_commit(checkout, tmp_path_factory, monkeypatch):
    alone = tmp_path_factory.mktemp("alone")
    (alone / "__init__.py").write_text("")
    assert stamps._checkout(checkout / "ignored") == (None, None)  # a virtual environment
    assert stamps._checkout(alone) == (None, None)
    monkeypatch.setenv("PATH", "")  # no git
    assert stamps._checkout(checkout / "package") == (None, None)


def test_a_stamp_is_json_and_of_this_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/bin/yolor", "train", "--workdir", "my runs/a"])
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    one = stamp()
    assert json.loads(json.dumps(one)) == one
    made = datetime.datetime.fromisoformat(one["time"])
    assert abs(datetime.datetime.now(datetime.UTC) - made) < datetime.timedelta(minutes=1)
    assert one["version"] == "0.1.0" and one["python"] == platform.python_version()
    assert one["libraries"]["jax"] == jax.__version__
    assert (one["device"], one["devices"], one["processes"]) == ("cpu", 8, 1)
    assert one["command"] == "yolor train --workdir 'my runs/a'"
    assert "hunter2" not in json.dumps(one) and os.path.expanduser("~") not in json.dumps(one)
    monkeypatch.setattr(sys, "argv", ["tools/train_main.py", "--config.epochs=2"])
    assert stamp()["command"] == "python tools/train_main.py --config.epochs=2"


@pytest.mark.parametrize("jax_is_there", [False, True], ids=["no JAX", "no device"])
def test_jax_is_not_imported_and_a_device_not_needed(jax_is_there):
    code = f"""
import sys
{"import jax" * jax_is_there}
from yolor_jax.stamp import stamp
print(stamp()["devices"], "jax" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_PLATFORMS": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["None", str(jax_is_there)], done.stderr


def test_words_of_a_stamp():
    rows = dict(
        described(
            {
                "time": "2026-11-28T14:52:02Z",
                "version": "0.1.0",
                "commit": "3317b8cbdf0e92c09cc6bdd8d543a2c6db33eb75",
                "changed": True,
                "python": "3.11.7",
                "libraries": {"jax": "0.10.2", "flax": "0.12.8"},
                "device": "TPU v4",
                "devices": 8,
                "processes": 2,
                "command": "yolor train",
            }
        )
    )
    assert rows == {
        "time": "2026-11-28T14:52:02Z",
        "version": "0.1.0, commit 3317b8cbdf0e with changes",
        "Python": "3.11.7",
        "libraries": "jax 0.10.2 flax 0.12.8",
        "device": "8 x TPU v4, 2 processes",
        "command": "yolor train",
    }
    assert described({"version": "0.1.0"}) == [("version", "0.1.0")]  # from a wheel, long ago
