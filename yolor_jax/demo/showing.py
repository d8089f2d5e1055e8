"""What the page shows for a picture and thresholds, without a server.

```python
showing = Showing(load("runs/quickstart"))
shown = showing.show(data, score=0.25, iou=0.45, classes=[])  # the network sees the picture
shown = showing.show(data, score=0.5, iou=0.45, classes=[])   # NMS alone
```
"""

import functools
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolor_jax.data.encoded import read_image
from yolor_jax.demo import markup
from yolor_jax.demo.finder import Finder, Seen, found_by_one
from yolor_jax.runs.trained import Trained

SCORE, IOU = 0.25, 0.45
KEPT = 4
"""Pictures whose predictions are kept; the network sees others anew."""
TITLES = {True: "with implicit knowledge", False: "without"}
PIECES = 4
"""Of a side: caption, picture, overlay, table."""


class Looked(NamedTuple):
    """A picture as HTML, and what the network saw in it in each of its states."""

    picture: str
    seen: tuple[Seen, ...]


class Shown(NamedTuple):
    """What there is to be shown.

    Attributes:
        height: of the picture in pixels.
        width: of it.
        pieces: HTML, `PIECES` for each side.
    """

    height: int
    width: int
    pieces: list[str]


class Showing:
    """A network, and what it sees in the pictures of late.

    Attributes:
        states: of its implicit knowledge, on and off, or on alone; a side of the page for each.
        nothing: pieces of a page without a picture.
        moving: positions of the pieces that thresholds change.
    """

    def __init__(self, trained: Trained):
        """Puts the network on the device and compiles it.

        Args:
            trained: folded or not.
        """
        self._finder = Finder(trained)
        self._look = functools.lru_cache(maxsize=KEPT)(self._look_anew)
        self.states = (True, False) if self._finder.has_implicit else (True,)
        self.nothing = [""] * PIECES * len(self.states)
        self.moving = [i for i in range(len(self.nothing)) if i % PIECES != 1]
        grey = np.full((8, 8, 3), 114, np.uint8)
        self._finder.find(self._finder.look(grey), score=SCORE, iou=IOU)

    def show(self, data: bytes, score: float, iou: float, classes: Sequence[int]) -> Shown:
        """The picture with the boxes of each side.

        Args:
            data: an encoded picture. One of the last `KEPT` is not shown to the network again.
            score: least score of a box, 0..1.
            iou: a box goes if a better one of its class overlaps it by more, 0..1.
            classes: numbers of those to look for; all if there are none.

        Raises:
            InputError: it is no complete image, or a threshold is outside 0..1.
        """
        picture, looks = self._look(data)
        height, width = looks[0].original_size[0].tolist()
        found, seconds = [], []
        for seen in looks:
            started = time.perf_counter()
            found.append(self._finder.find(seen, score=score, iou=iou, classes=classes))
            seconds.append(time.perf_counter() - started)
        pieces = []
        for state, one, other, seen, took in zip(
            self.states, found, reversed(found), looks, seconds, strict=True
        ):
            alone = found_by_one(one, other)
            facts = (
                "1 object" if len(one) == 1 else f"{len(one)} objects",
                f"network {1e3 * seen.seconds:.0f} ms",
                f"NMS {1e3 * took:.0f} ms",
            )
            pieces += [
                markup.caption(TITLES[state], *facts),
                picture,
                markup.overlay(one, height, width, alone),
                markup.table(one),
            ]
        return Shown(height, width, pieces)

    def _look_anew(self, data: bytes) -> Looked:
        image = read_image(data)
        seen = tuple(self._finder.look(image, implicit=implicit) for implicit in self.states)
        return Looked(markup.picture(image), seen)
