"""How work tells that it goes on: a bar, and sentences.

```python
with progress(total=4000, unit="step") as bar:   # drawn in place on a terminal, and a line now
    bar.update()                                 # and then in a log file
train(recipe, workdir, say=to_stderr)            # `silent` by default: a library prints nothing
```
"""

import io
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

Say = Callable[[str], None]
"""What takes a sentence on how work goes."""

SECONDS_BETWEEN_LINES = 30.0
"""In a log file, where a bar that is drawn anew ten times a second is one endless line."""


def progress(iterable: Iterable | None = None, **options: Any) -> "tqdm":
    """A bar of tqdm on stderr.

    Args:
        iterable: what to go through, if not by ``update``.
        **options: of tqdm, such as ``total``, ``unit``, ``desc``, ``initial``, ``disable``.
    """
    from tqdm import tqdm  # slow to import, and no part of `yolor --help`

    if not sys.stderr.isatty():
        options |= {
            "file": _Lines(sys.stderr),
            "mininterval": SECONDS_BETWEEN_LINES,
            "maxinterval": SECONDS_BETWEEN_LINES,
            "ascii": True,
            "ncols": 0,  # counts and times, without a drawn bar
        }
    return tqdm(iterable, **({"dynamic_ncols": True} | options))


def silent(sentence: str) -> None:
    """Says nothing."""


def to_stderr(sentence: str) -> None:
    """Says it beside what a command prints."""
    print(sentence, file=sys.stderr, flush=True)


class _Lines:
    """Turns what would be drawn in place into lines."""

    def __init__(self, stream: io.TextIOBase):
        self._stream = stream

    def write(self, text: str) -> None:
        """Writes a line, unless it would be empty: tqdm blanks out a bar that it draws anew."""
        if line := text.strip("\r\n "):
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Flushes the stream below."""
        self._stream.flush()
