"""A virtual environment for a library that is not installed beside us, made where somebody asks.

It holds the libraries of one extra, and sees all that this Python has. Nothing is installed where
nobody names a folder for it.

    return environment.run_in(folder, "tf", ["export", "runs/first", "--format", "savedmodel"])
"""

import importlib.metadata
import pathlib
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence

import yolor_jax
from yolor_jax.errors import InputError

MARK = "yolor_jax_extra.txt"
"""Names the extra, in an environment of ours; ends in `UNFINISHED` until pip is done."""
UNFINISHED = " (unfinished)"


def is_this(folder: pathlib.Path) -> bool:
    """Whether this Python runs in the environment."""
    return pathlib.Path(sys.prefix).resolve() == folder.resolve()


def run_in(folder: pathlib.Path, extra: str, words: Sequence[str]) -> int:
    """Runs ``yolor WORDS...`` in an environment, which is made if it is not there.

    Args:
        folder: of the environment.
        extra: of this package, whose libraries it has beyond ours.
        words: the command.

    Returns:
        The exit code of the command.

    Raises:
        InputError: the folder holds something else.
        OSError: pip cannot install the libraries; what it says stands above.
    """
    python = _inside(folder, "scripts") / f"python{sysconfig.get_config_var('EXE') or ''}"
    mark = folder / MARK
    if not mark.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} holds something else, which stays; name a folder that is not there, or "
                "one that --environment made"
            )
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(extra + UNFINISHED)
    holds = mark.read_text().strip()
    if holds.removesuffix(UNFINISHED) != extra:
        raise InputError(f"{folder} is an environment for {holds}; choose another for {extra}")
    if holds.endswith(UNFINISHED):
        _make(folder, python, extra)
        mark.write_text(extra)
    return subprocess.run([python, "-m", "yolor_jax", *words]).returncode


def _make(folder: pathlib.Path, python: pathlib.Path, extra: str) -> None:
    """Again and again with the same result, wherever it was broken off."""
    libraries = [
        text.split(";")[0].strip()
        for text in importlib.metadata.requires("yolor-jax") or ()
        if text.replace("'", '"').endswith(f'extra == "{extra}"')
    ]
    print(f"making an environment in {folder} with {', '.join(libraries)}", flush=True)
    venv.create(folder, with_pip=True)
    ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    lines = [f"import site; site.addsitedir({path!r})" for path in sorted(ours)]
    lines.append(str(pathlib.Path(yolor_jax.__file__).parents[1]))  # where it is not installed
    beside = _inside(folder, "purelib") / "beside.pth"
    beside.write_text("\n".join(lines) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *libraries]
    if subprocess.run(pip).returncode:
        raise OSError(f"pip could not install {', '.join(libraries)} in {folder}; see above")


def _inside(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """A path of an environment by its name in `sysconfig`."""
    return pathlib.Path(sysconfig.get_path(kind, "venv", {"base": str(folder)}))
