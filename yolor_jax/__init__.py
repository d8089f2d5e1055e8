"""YOLOR (You Only Learn One Representation) in JAX and Flax: detection with implicit knowledge.

    import yolor_jax
    trained = yolor_jax.load("runs/quickstart")
    found = trained.predict("photo.jpg")
    found[0].boxes_xyxy, found[0].scores, found[0].names

The names below are imported when they are used first, so that this import starts nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolor_jax.detection.decode import decode
    from yolor_jax.detection.losses import detection_loss
    from yolor_jax.detection.nms import non_max_suppression
    from yolor_jax.inference.predictor import Predictor
    from yolor_jax.models.detector import build
    from yolor_jax.models.fold import fold
    from yolor_jax.nn.implicit import Implicit
    from yolor_jax.reports.after_training import train
    from yolor_jax.runs.opening import export, load
    from yolor_jax.runs.recipe import Recipe
    from yolor_jax.runs.recipe_files import recipe
    from yolor_jax.runs.trained import Trained

    __version__: str

_HOMES = {
    "Implicit": "nn.implicit",
    "Predictor": "inference.predictor",
    "Recipe": "runs.recipe",
    "Trained": "runs.trained",
    "build": "models.detector",
    "decode": "detection.decode",
    "detection_loss": "detection.losses",
    "export": "runs.opening",
    "fold": "models.fold",
    "load": "runs.opening",
    "non_max_suppression": "detection.nms",
    "recipe": "runs.recipe_files",
    "train": "reports.after_training",
}

__all__ = [
    "Implicit",
    "Predictor",
    "Recipe",
    "Trained",
    "__version__",
    "build",
    "decode",
    "detection_loss",
    "export",
    "fold",
    "load",
    "non_max_suppression",
    "recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a name of the front door from where it lives."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("yolor-jax")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
