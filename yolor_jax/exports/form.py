"""What an exported file is like: sizes, dtypes, layout of its images, and whether NMS is inside.

```python
form = Form(image_size=(640, 640), batch=None, nms=NmsConfig())
form.image_shape(8)     # (8, 640, 640, 3)
```
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from yolor_jax.errors import InputError
from yolor_jax.inference.prediction import NmsConfig

DTYPES = ("float32", "bfloat16", "float16", "int8")
LAYOUTS = ("nhwc", "nchw")
PIXELS = ("uint8", "float32")


@dataclasses.dataclass(frozen=True)
class Form:
    """How a network is exported.

    Attributes:
        image_size: height and width of the images in pixels.
        batch: images that go through together; None for any number.
        nms: what is a detection, where NMS is in the file; None where the file ends with the
            decoded boxes.
        dtype: of the activations; decoding and NMS are float32. "int8" for the network in integers
            up to its last convolutions (`exports.int8`), and all else in float32.
        layout: of the images: "nhwc", as image libraries have them, or "nchw".
        pixels: dtype of the images: "uint8" for 0..255, or "float32" for 0..1.
    """

    image_size: tuple[int, int]
    batch: int | None = 1
    nms: NmsConfig | None = None
    dtype: str = "float32"
    layout: str = "nhwc"
    pixels: str = "uint8"

    def __post_init__(self):
        for name, allowed in (("dtype", DTYPES), ("layout", LAYOUTS), ("pixels", PIXELS)):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"got {name}={getattr(self, name)!r}; expected one of {', '.join(allowed)}"
                )
        if self.batch is not None and self.batch < 1:
            raise InputError(f"got batch={self.batch}; expected at least 1, or None for any number")

    @property
    def float_dtype(self) -> str:
        """Of what is not an integer."""
        return "float32" if self.dtype == "int8" else self.dtype

    def image_shape(self, batch: Any) -> tuple:
        """Of a batch of images, as the file takes them."""
        height, width = self.image_size
        return (batch, height, width, 3) if self.layout == "nhwc" else (batch, 3, height, width)

    def as_taken(self, canvases: UInt8[np.ndarray, "B H W 3"]) -> np.ndarray:
        """Letterboxed images as the file takes them."""
        images = canvases if self.layout == "nhwc" else canvases.transpose(0, 3, 1, 2)
        if self.pixels == "float32":
            return images.astype(np.float32) / 255
        return np.ascontiguousarray(images)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = dataclasses.asdict(self)
        return values | {"image_size": list(self.image_size), "batch": self.batch or "dynamic"}

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> "Form":
        """The form of what `to_dict` gave; further entries are left out."""
        given = {field.name: entries[field.name] for field in dataclasses.fields(cls)}
        return cls(
            **given
            | {
                "image_size": tuple(given["image_size"]),
                "batch": None if given["batch"] == "dynamic" else given["batch"],
                "nms": None if given["nms"] is None else NmsConfig(**given["nms"]),
            }
        )
