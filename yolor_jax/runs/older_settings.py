"""Settings of runs that were started before some of today's existed, or under another name.

    recipe = typed(Recipe, with_older(json.loads(path.read_text())))

A setting that is added to a recipe gets a line in `OLDER`, with the value that runs had until then,
and its name in `LATER` unless it is free: then they open as before, and go on.
"""

from collections.abc import Mapping
from typing import Any

OLDER = {
    "init": "",
    "multi_scale": (),
    "remat": "",
    "batch_norm": "global",
    "close_mosaic": 0.0,
    "trackers": (),
    "profile": "",
    "model": {"tasks": (), "anchors": None},
    "mesh": {"fsdp": 1},
    "data": {"image_weights": False, "workers": 0, "scaled_decode": False},
    "augment": {
        **dict.fromkeys(("mosaic", "mosaic_nine", "mixup", "flip_vertical"), 0.0),
        **dict.fromkeys(("degrees", "translate", "scale", "shear", "perspective"), 0.0),
        **{"group": 8, "partners": "batch", "max_targets": 0, "sampling": "auto"},
    },
    "task_loss": {
        **{"classify": 0.3, "embed": 0.05, "temperature": 0.1},
        **{"identities": "contrast", "weights": "fixed"},
    },
    "eval": {"recalibrate": 0, "best_by": "AP", "patience": 0},
    "optim": {"clip_norm": 0.0, "freeze": ""},
}
"""Settings that did not exist when older runs were started, with the values that they ran by."""

LATER = {"data": ("scaled_decode",), "task_loss": ("identities", "weights")}
"""Settings by section that are younger than some identities (`Recipe.identity`)."""

OLDER_NAMES = {"augment": {"flip_probability": "flip_horizontal"}}
"""Settings that had another name in older runs."""


def with_older(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an older run under today's names, with those that it lacks."""
    filled = dict(settings)
    for name, default in OLDER.items():
        if not isinstance(default, dict):
            filled.setdefault(name, default)
        elif isinstance(filled.get(name, {}), dict):
            names = OLDER_NAMES.get(name, {})
            part = {names.get(key, key): value for key, value in filled.get(name, {}).items()}
            filled[name] = default | part
    return filled


def without_later(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as a run has it that is older than some settings, where they are as it ran."""
    kept = dict(identity)
    for section, names in LATER.items():
        older = {name for name in names if identity[section][name] == OLDER[section][name]}
        kept[section] = {n: value for n, value in identity[section].items() if n not in older}
    return kept
