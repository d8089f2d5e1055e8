"""The sets of implicit knowledge that lie beside a network, one file for each domain.

```python
runs/first/knowledge/night.safetensors      # of a run
p6.knowledge/night.safetensors              # of the file of weights p6.safetensors
```

```python
names(user_path("runs/first"))                  # ["night"]
find(user_path("runs/first"), "night")          # the file
```
"""

import re

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.weights.knowledge_set import KnowledgeSet, write_set

FOLDER = "knowledge"
SUFFIX = ".safetensors"


def file_of(place: Path, name: str) -> Path:
    """Where the set of a name belongs.

    Args:
        place: workdir of a run, or file of weights.
        name: of the set, letters, digits, - and _.

    Raises:
        InputError: it is no such name.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise InputError(f"got {name!r} as a name of knowledge; expected letters, digits, - and _")
    return _folder(place) / f"{name}{SUFFIX}"


def names(place: Path) -> list[str]:
    """Of all sets beside a workdir or a file of weights, sorted."""
    folder = _folder(place)
    with bucket.as_os_error(folder):
        if not folder.is_dir():
            return []
        return sorted(file.stem for file in folder.iterdir() if _is_set(file))


def write(place: Path, name: str, knowledge: KnowledgeSet) -> Path:
    """Writes a set beside a workdir or a file of weights; the file.

    Raises:
        InputError: the name is none.
        OSError: it cannot be written.
    """
    file = file_of(place, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_set(file, knowledge)
    return file


def find(place: Path, name: str) -> Path:
    """The file of a set that is there.

    Raises:
        InputError: there is none of this name; says which there are.
    """
    file = file_of(place, name)
    if name not in (known := names(place)):
        raise InputError(
            f"{place} has no knowledge {name!r}; expected one of {', '.join(known) or 'none'} "
            "(yolor implicit PATH --add NAME=TUNED adds one)"
        )
    return file


def _folder(place: Path) -> Path:
    with bucket.as_os_error(place):
        return place.with_suffix(f".{FOLDER}") if place.is_file() else place / FOLDER


def _is_set(file: Path) -> bool:
    return file.suffix == SUFFIX and not file.name.startswith(".")
