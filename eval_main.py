"""Evaluates the latest checkpoint of a run, or a file of weights, by the COCO protocol.

python eval_main.py --workdir=runs/quickstart
python eval_main.py --workdir=runs/quickstart --folded --backend=pycocotools
python eval_main.py --checkpoint=p6.safetensors --data=data/coco
"""

import dataclasses
import pathlib
import sys

from absl import app, flags

from configs import base
from yolor_jax.cli import launch

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training run.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "File of weights in the place of a run.")
_DATA = flags.DEFINE_string("data", None, "Data set, if not that of the run (data/coco).")
_SPLIT = flags.DEFINE_string("split", None, "Split, if not that of the run.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "Pixels, if not those of the run.")
_BACKEND = flags.DEFINE_string("backend", None, "faster-coco-eval or pycocotools.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint; the latest if left out.")
_FOLDED = flags.DEFINE_bool("folded", False, "Fold the network first.")


def main(_):
    """Runs the evaluation; wrong input ends with one sentence and exit code 2."""
    from yolor_jax.runs import evaluation

    if (_WORKDIR.value is None) == (_CHECKPOINT.value is None):
        launch.refuse("expected one of --workdir=FOLDER and --checkpoint=FILE")
    options = evaluation.Options(
        checkpoint=pathlib.Path(_WORKDIR.value or _CHECKPOINT.value),
        data=_DATA.value,
        split=_SPLIT.value,
        image_size=_IMAGE_SIZE.value,
        backend=_BACKEND.value,
        step=_STEP.value,
        folded=_FOLDED.value,
    )
    recipe = base.get_config()
    settings = dataclasses.asdict(options) | {
        "checkpoint": str(options.checkpoint),
        "config": recipe.to_dict(),
    }
    sys.exit(launch.command(lambda group: evaluation.run(options, recipe, group), settings))


if __name__ == "__main__":
    app.run(main, flags_parser=launch.parse_flags)
