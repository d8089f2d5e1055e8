"""A trained network is opened: a run, a checkpoint of it, a file of weights, or one on the hub.

```python
trained = load("runs/quickstart")                  # or load(..., step="best")
trained = load("hf://ORG/NAME", knowledge="night")
meta = load_meta("runs/quickstart")                # what is known of it, without its weights
```
"""

import errno
import os
from typing import Any

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.exports.exported import Exported
from yolor_jax.paths import Path, user_path
from yolor_jax.runs import knowledge as knowledges
from yolor_jax.runs.trained import Trained, spec_of
from yolor_jax.training.checkpoints import folder as folders
from yolor_jax.training.checkpoints import loading
from yolor_jax.trees import require_finite
from yolor_jax.weights import hub, store
from yolor_jax.weights.knowledge_set import read_set


def load(
    path: str | os.PathLike, step: int | str | None = None, *, knowledge: str | None = None
) -> Trained:
    """Opens a run, one of its checkpoints, or a file that `weights.store` wrote.

    Args:
        path: a workdir, the folder of a step in it, or a .safetensors file; or on the hub
            ``hf://ORG/NAME``, with ``@REVISION`` and ``/FILE`` if wanted (`weights.hub`).
        step: of a run's checkpoint, a number, "best" or "latest"; the latest if None.
        knowledge: name of a z that lies beside it (`runs.knowledge`); its own if None.

    Raises:
        InputError: the file is damaged or of another kind, a weight is not finite, or the z is not
            there or not of these weights.
        OSError: there is no checkpoint there, or it cannot be read.
    """
    path, step, is_file = _place(path, step)
    if is_file:
        variables, meta = store.load_variables(path)
    else:
        variables, meta = loading.load_variables(path, step)
    require_finite(variables, str(path))
    trained = Trained(spec_of(meta), variables, meta)
    if knowledge is None:
        return trained
    file = knowledges.find(path, knowledge)
    found = read_set(file)
    require_finite(found.leaves, str(file))
    return trained.with_knowledge(found, knowledge)


def keep_knowledge(
    path: str | os.PathLike, name: str, tuned: Trained, step: int | str | None = None
) -> Path:
    """Keeps the z of a tuned network beside the one that it was tuned from.

    Args:
        path: of the latter, as `load` takes it.
        name: by which `load` finds it again; one of this name that is there is replaced.
        tuned: of the same weights but for its implicit knowledge.
        step: as `load` takes it.

    Returns:
        The file.

    Raises:
        InputError: the z does not belong to these weights.
        OSError: it cannot be read or written.
    """
    knowledge = tuned.knowledge()
    load(path, step).with_knowledge(knowledge, name)  # which refuses what does not fit
    return knowledges.write(_place(path, step)[0], name, knowledge)


def knowledge_beside(path: str | os.PathLike) -> list[str]:
    """The names that ``load(path, knowledge=...)`` takes."""
    return knowledges.names(_place(path, None)[0])


def export(path: str | os.PathLike, output: str | os.PathLike, **settings: Any) -> Exported:
    """Exports a run or a file of weights; see `Trained.export` for arguments and errors."""
    return load(path).export(output, **settings)


def load_meta(path: str | os.PathLike, step: int | str | None = None) -> dict[str, Any]:
    """What is known of a network (`Trained.meta`), without its weights; arguments as of `load`.

    Raises:
        InputError: the file is damaged or of another kind.
        OSError: there is no checkpoint there, or it cannot be read.
    """
    path, step, is_file = _place(path, step)
    return store.load_meta(path) if is_file else loading.load_meta(path, step)


def _place(path: str | os.PathLike, step: int | str | None) -> tuple[Path, int | str | None, bool]:
    """The file, or the folder of a run with the step that its path may end in; whether a file."""
    path = hub.fetch(path) if hub.is_address(path) else user_path(path)
    with bucket.as_os_error(path):
        is_there, is_file = path.exists(), path.is_file()
    if not is_there:
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(path))
    if is_file and step is not None:
        raise InputError(f"{path} is a file of weights, in which there is no step {step}")
    at_step = not is_file and path.parent.name == folders.FOLDER and path.name.isdecimal()
    if step is None and at_step:
        path, step = path.parent.parent, int(path.name)
    return path, step, is_file
