"""What a file says of itself: enough to use it without this package.

```python
described = describe(spec, meta, form, licence="CC-BY-4.0")
json.loads(session.get_modelmeta().custom_metadata_map["class_names"])     # of an ONNX file
```
"""

from collections.abc import Mapping
from typing import Any

from yolor_jax.data.letterbox import BORDER
from yolor_jax.errors import InputError
from yolor_jax.exports.form import Form
from yolor_jax.models.spec import ModelSpec
from yolor_jax.stamp import STAMPS, stamp

VERSION = 1
"""Of this description; files of a later one are refused."""
KEY = "yolor_jax_export"
"""The entry that has the version, by which a file is known as ours."""
LETTERBOX = {
    "rule": "scale = min(height / image height, width / image width); both sides times scale, "
    "rounded half to even, at least 1; resized if that changes them; centred on the canvas, an odd "
    "row or column at the bottom or on the right",
    "resize": "bilinear, as cv2.INTER_LINEAR",
    "border": BORDER,
    "back": "image x = (x - pad_x) / scale with pad_x = (width - scaled width) / 2, likewise y",
    "channels": "RGB",
}
UNSTATED = "not stated by whoever exported it"


def describe(
    spec: ModelSpec, meta: Mapping[str, Any], form: Form, *, licence: str | None
) -> dict[str, Any]:
    """The description of a file, as JSON values.

    Args:
        spec: the model.
        meta: what is known of the network (`runs.trained.Trained.meta`).
        form: of the file.
        licence: of the weights, in words; None for that of ``meta``, if it has one.
    """
    return {
        KEY: VERSION,
        "model": spec.name,
        "class_names": list(meta["class_names"]),
        **form.to_dict(),
        "strides": list(spec.strides),
        "anchors": [[list(anchor) for anchor in level] for level in spec.anchors],
        "letterbox": LETTERBOX,
        "boxes": "left, top, right, bottom in pixels of the canvas, not clipped",
        "scores": "objectness times probability of the class, 0..1",
        "step": meta.get("step"),
        "licence": licence or meta.get("licence") or UNSTATED,
        STAMPS: [*meta.get(STAMPS, ()), stamp()],
    }


def require_ours(metadata: Mapping[str, Any], path: Any) -> None:
    """Raises an InputError unless a description is one that this version understands."""
    version = metadata.get(KEY)
    if version is None:
        raise InputError(f"{path} was not exported by yolor_jax; expected a file of `yolor export`")
    if version > VERSION:
        raise InputError(
            f"{path} is described in version {version}, and this yolor_jax knows {VERSION}; "
            "use the version that exported it"
        )
