"""Names of new files that take the place of none.

```python
places = Places(pathlib.Path("found"))
places.take("a.jpg")  # found/a.jpg; found/a-2.jpg the next time, or where a.jpg is
```
"""

import itertools
import pathlib
from collections.abc import Iterator


class Places:
    """Hands out the free names of a folder, each once."""

    def __init__(self, folder: pathlib.Path):
        """Of a folder that is there."""
        self._folder = folder
        self._candidates: dict[str, Iterator[pathlib.Path]] = {}
        self._taken: set[str] = set()

    def take(self, name: str) -> pathlib.Path:
        """The path of this name, or the first free one of name-2, name-3 and so on."""
        untried = self._candidates.setdefault(name, candidates(self._folder / name))
        path = next(p for p in untried if p.name not in self._taken and not p.exists())
        self._taken.add(path.name)
        return path


def candidates(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The path, then with -2, -3 and so on before its ending."""
    yield path
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}")
