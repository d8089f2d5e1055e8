"""One picture that a network is to look at, and where it is from.

```python
frame = read_picture(pathlib.Path("photo.jpg"))
frame.source, frame.image.shape
```
"""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import UInt8

from yolor_jax.data.scaled import Scaled, upright_scaled, whole
from yolor_jax.errors import InputError, sentence


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A picture, or a frame of a film.

    Attributes:
        source: the path of a file, or the name of a camera or a stream.
        image: RGB, upright.
        number: of a film, from 0; None for a picture.
        seconds: since the film began; None for a picture.
        frames: of an animated picture, of which this is the first; 1 as a rule.
        rate: frames per second of the film.
        scaled: how it was decoded, perhaps smaller than it is; None: `image` is all of it.
    """

    source: str
    image: UInt8[np.ndarray, "h w 3"]
    number: int | None = None
    seconds: float | None = None
    frames: int = 1
    rate: float | None = None
    scaled: Scaled | None = None

    @property
    def picture(self) -> Scaled:
        """The image, and how much of the picture it is."""
        return self.scaled or whole(self.image, self.frames)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        return self.picture.size_hw


@dataclasses.dataclass(frozen=True)
class Unread:
    """What could not be read.

    Attributes:
        reason: a sentence with the name of the file, camera or stream.
        source: that name.
    """

    reason: str
    source: str


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A picture that somebody else has read.

    Attributes:
        source: its path.
        data: what such a file holds.
    """

    source: str
    data: bytes


def read_picture(path: pathlib.Path, enough_hw: tuple[int, int] | None = None) -> Frame:
    """Reads a picture, upright.

    Args:
        path: of the file.
        enough_hw: height and width of the letterbox that it is for, if no more pixels are wanted
            than that takes (`data.scaled`); None for all.

    Raises:
        InputError: it is not a complete image; the message has the path.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(sentence(error)) from error
    return decode_picture(Encoded(str(path), data), enough_hw)


def decode_picture(picture: Encoded, enough_hw: tuple[int, int] | None = None) -> Frame:
    """Decodes a picture, upright; ``enough_hw`` as of `read_picture`.

    Raises:
        InputError: it is not a complete image; the message has the path.
    """
    try:
        scaled = upright_scaled(picture.data, enough_hw)
    except InputError as error:
        raise InputError(f"{picture.source}: {error}") from error
    return Frame(picture.source, scaled.image, frames=scaled.frames, scaled=scaled)
