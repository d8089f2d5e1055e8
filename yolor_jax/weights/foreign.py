"""What all readers of foreign weight files share: their one error and the look at the first bytes.

```python
with naming(path), path.open("rb") as file:
    refuse_downloads_gone_wrong(file.read(16))
```
"""

import contextlib
import os
from collections.abc import Iterator

from yolor_jax.errors import InputError


class WeightsError(InputError):
    """A file of weights that cannot be used: what was found, what was expected, what to do."""


@contextlib.contextmanager
def naming(path: os.PathLike) -> Iterator[None]:
    """Puts the path in front of the sentence of a `WeightsError`."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def refuse_downloads_gone_wrong(head: bytes) -> None:
    """Raises a `WeightsError` for an empty file and for a web page.

    Args:
        head: the first bytes of the file, at least nine if it has them.
    """
    if not head:
        raise WeightsError("is empty, expected weights; download it again")
    safetensors = head[8:9] == b"{"  # behind the length of its header, which may look like " <"
    if head.lstrip().startswith(b"<") and not safetensors:
        raise WeightsError(
            "is a web page (HTML or XML), expected weights: "
            "the download failed, fetch the file itself"
        )
