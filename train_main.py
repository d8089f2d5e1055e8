"""Trains a detector, evaluates and folds it, and draws what it finds.

    python train_main.py                                    # the quickstart, minutes on a CPU
    python train_main.py --config=configs/coco128.py --config.data.path=FOLDER
    python train_main.py --config=configs/coco640.py:yolor_csp --workdir=runs/csp

The same command with the same workdir continues a run that was stopped.
"""

import functools
import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

from yolor_jax.cli import launch

_QUICKSTART = pathlib.Path(__file__).parent / "configs" / "quickstart.py"
_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe; the quickstart by default.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/RECIPE[/ROW].")


def main(_):
    """Runs the recipe; wrong input ends with one sentence and exit code 2."""
    from yolor_jax.runs import training

    file, _, row = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs", pathlib.Path(file).stem, row))
    settings = {"config": _CONFIG.value.to_dict(), "workdir": str(workdir)}
    sys.exit(launch.command(lambda group: training.run(_CONFIG.value, workdir, group), settings))


if __name__ == "__main__":
    app.run(main, flags_parser=functools.partial(launch.parse_recipe_flags, default=_QUICKSTART))
