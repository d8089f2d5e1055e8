"""Who has worked on a run: ``stamp.json`` in its workdir, one stamp for each start.

```python
starts = [*read(workdir), stamp()]
write(workdir, starts)
```
"""

import json
from collections.abc import Sequence

from yolor_jax import bucket
from yolor_jax.paths import Path
from yolor_jax.stamp import Stamp
from yolor_jax.whole_file import whole_file

FILE = "stamp.json"


def read(workdir: Path) -> list[Stamp]:
    """The stamps of a run, oldest first; none if there is no file that has them.

    Raises:
        OSError: a bucket cannot be read.
    """
    try:
        with bucket.as_os_error(workdir):
            stamps = json.loads((workdir / FILE).read_text())
        return stamps if isinstance(stamps, list) else []
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no run stops for want of a stamp
        return []


def write(workdir: Path, starts: Sequence[Stamp]) -> None:
    """Writes the stamps of a run.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(workdir / FILE) as file:
        file.write_text(json.dumps(list(starts), indent=1) + "\n")
