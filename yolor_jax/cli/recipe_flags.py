"""A recipe on the command line of ``yolor``: the same flags as those of ``train_main.py``.

    yolor doctor --config configs/coco640.py:yolor_csp --config.batch_size=128

argparse leaves ``--config.NAME=VALUE`` alone (`main` passes them on as ``args.settings``); absl and
ml_collections read them.
"""

import argparse
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from yolor_jax.cli import launch


def add_recipe_argument(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declares ``--config``, and lets ``--config.NAME=VALUE`` follow."""
    parser.add_argument(
        "--config",
        metavar="FILE[:ROW]",
        required=required,
        help="the recipe, such as configs/coco640.py:yolor_csp; its settings are changed as in "
        "training, --config.NAME=VALUE",
    )
    parser.set_defaults(takes_settings=True)


def read_recipe(args: argparse.Namespace) -> ConfigDict:
    """The recipe of ``args.config`` with the settings of ``args.settings``.

    Raises:
        CommandError: there is no such file.
    """
    path = launch.recipe_file(args.config)
    above = str(path.resolve().parent.parent)
    if above not in sys.path:
        sys.path.append(above)  # recipes begin with `from configs import base`
    argv = ["yolor", f"--config={args.config}", *args.settings]
    values = flags.FlagValues()
    recipe = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    launch.parse_flags(argv, values)
    return recipe.value
