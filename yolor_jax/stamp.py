"""What made a file: version and commit of this package, libraries, machine, command, time.

    stamp()                 # {"time": "2026-11-28T14:52:02Z", "version": "0.1.0", "commit": ...}
    described(stamp())      # [("version", "0.1.0, commit 3317b8c with changes"), ...]

A run's folder, its checkpoints, files of weights, evaluations and reports carry stamps, so that a
number can be traced to the code that gave it. Nothing of the environment is in one, and of paths
only what was typed.
"""

import datetime
import functools
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Any

Stamp = dict[str, Any]
STAMPS = "stamps"
"""Under which name ``meta`` of a network has the stamps of those who made it, oldest first."""

PACKAGE = pathlib.Path(__file__).parent
LIBRARIES = (
    "jax",
    "jaxlib",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "libtpu",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "pillow",
    "safetensors",
    "onnx",
    "onnxruntime",
    "faster-coco-eval",
    "pycocotools",
    "torch",
)
"""Distributions that a number or a file may depend on; those that are installed are named."""


def stamp() -> Stamp:
    """What is at work now, as JSON values.

    Returns:
        ``time`` (UTC, ISO 8601, seconds), ``version``, ``commit`` of the checkout that the package
        lies in (None where it lies in none, as from a wheel), ``changed`` (whether files of that
        checkout differ from the commit; None likewise), ``python``, ``libraries`` (versions by
        name), ``platform``, ``device`` (kind), ``devices`` and ``processes`` (numbers; all three
        None where JAX has not been imported, or finds no device) and ``command`` (as typed).
    """
    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **_software(),
        "platform": platform.platform(),
        **_devices(),
        "command": command(),
    }


def command() -> str:
    """The command line of this process, to be typed again."""
    program, *words = sys.argv or [""]
    if program.endswith(".py"):
        return shlex.join(["python", program, *words])
    return shlex.join([os.path.basename(program), *words])


def described(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A stamp in words: names and values, for a table.

    Args:
        one: of `stamp`, of this version or another; what it lacks is left out.
    """
    version = str(one.get("version"))
    if one.get("commit"):
        version += f", commit {one['commit'][:12]}{' with changes' * bool(one.get('changed'))}"
    libraries = " ".join(f"{name} {at}" for name, at in (one.get("libraries") or {}).items())
    rows = [
        ("time", one.get("time")),
        ("version", version),
        ("Python", one.get("python")),
        ("libraries", libraries),
        ("platform", one.get("platform")),
        ("device", _device_in_words(one)),
        ("command", one.get("command")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _device_in_words(one: Mapping[str, Any]) -> str | None:
    """``8 x TPU v4, 2 processes``."""
    if not one.get("device"):
        return None
    processes = one.get("processes") or 1
    return f"{one['devices']} x {one['device']}" + f", {processes} processes" * (processes > 1)


@functools.cache
def _software() -> Stamp:
    """Once in a process: what was loaded stays, even if the checkout moves on under a long run."""
    commit, changed = _checkout(PACKAGE)
    return {
        "version": _version("yolor-jax"),
        "commit": commit,
        "changed": changed,
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _checkout(folder: pathlib.Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout that a folder of code belongs to, and whether it has changes.

    A folder that merely lies in one, such as that of a virtual environment, is not tracked there.
    """
    tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
    commit = tracked and _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None, None
    return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))


def _git(folder: pathlib.Path, *words: str) -> str | None:
    """What git says; None where it is not installed, or refuses."""
    import subprocess

    # A hook of git's own sets GIT_DIR, which would send this one to that hook's repository.
    environment = {name: at for name, at in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _devices() -> Stamp:
    """The devices of all processes; JAX is asked where it is at work, and not imported for it."""
    nothing = {"device": None, "devices": None, "processes": None}
    if "jax" not in sys.modules:
        return nothing
    import jax

    try:
        devices = jax.devices()
    except RuntimeError:  # none that JAX_PLATFORMS allows; what needs one says so by itself
        return nothing
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
    }
