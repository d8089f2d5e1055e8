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

READY = "yolor_jax_extra.txt"
"""Names the extra, in an environment that is whole."""


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
    python = _scripts(folder) / f"python{sysconfig.get_config_var('EXE') or ''}"
    ready = folder / READY
    if not ready.exists():
        _make(folder, python, extra)
        ready.write_text(f"{extra}\n")
    if (holds := ready.read_text().strip()) != extra:
        raise InputError(f"{folder} is an environment for {holds}; choose another for {extra}")
    return subprocess.run([python, "-m", "yolor_jax", *words]).returncode


def _make(folder: pathlib.Path, python: pathlib.Path, extra: str) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise InputError(f"{folder} is no virtual environment; choose a folder that is not there")
    libraries = [
        text.split(";")[0].strip()
        for text in importlib.metadata.requires("yolor-jax") or ()
        if text.replace("'", '"').endswith(f'extra == "{extra}"')
    ]
    print(f"making an environment in {folder} with {', '.join(libraries)}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    lines = [f"import site; site.addsitedir({path!r})" for path in sorted(ours)]
    lines.append(str(pathlib.Path(yolor_jax.__file__).parents[1]))  # where it is not installed
    [packages] = folder.glob("[Ll]ib/**/site-packages")
    (packages / "beside.pth").write_text("\n".join(lines) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *libraries]
    if subprocess.run(pip).returncode:
        raise OSError(f"pip could not install {', '.join(libraries)} in {folder}; see above")


def _scripts(folder: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(sysconfig.get_path("scripts", "venv", {"base": str(folder)}))
