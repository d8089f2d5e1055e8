"""Settings of runs that were started before some of today's existed, or under another name.

    recipe = typed(Recipe, with_older(json.loads(path.read_text())))

A setting that is added to a recipe gets a line here, with the value that runs had until then.
"""

import dataclasses
from typing import Any

from yolor_jax.training.task_losses import TaskLossConfig

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
    "task_loss": dataclasses.asdict(TaskLossConfig()),
    "eval": {"recalibrate": 0, "best_by": "AP", "patience": 0},
    "optim": {"clip_norm": 0.0, "freeze": ""},
}
"""Settings that did not exist when older runs were started, with the values that they ran by."""

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
