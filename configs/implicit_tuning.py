"""A trained detector on other data, by its implicit knowledge alone: implicit tuning.

python train_main.py --config=configs/implicit_tuning.py:implicits --config.init=runs/quickstart \
    --workdir=runs/night
yolor ablate implicit_tuning --config.init=runs/quickstart --rows implicits,head   # over five seeds

All else stays as it was, batch norm's statistics too, so that several such trainings are one
network with several z (docs/implicit_tuning.md). ROWS has what to compare it with. On data with
other classes the head is new and must be trained: begin at `new_head`.
"""

from ml_collections.config_dict import placeholder

from yolor_jax.configs import quickstart

RELEASE = {"alignment": "add", "refinement": "multiply"}
# At places that the given weights lack, z begins without any effect.
PYRAMID = {
    operator: RELEASE | {"pyramid": {"operator": operator, "std": 0.0}}
    for operator in ("add", "multiply")
}


def _row(freeze, implicit=RELEASE):
    """What stays as it is (a regular expression over parameter paths), and where z stands."""
    return {"optim.freeze": freeze, "model.implicit": implicit}


ROWS = {
    "implicits": _row("^(?!.*implicit_)"),
    "add_pyramid": _row("^(?!.*implicit_)", PYRAMID["add"]),
    "multiply_pyramid": _row("^(?!.*implicit_)", PYRAMID["multiply"]),
    "head": _row("^(?!head/.*/conv/)"),
    "norms": _row("^(?!.*/bn/)"),
    "everything": _row(""),
    # With classes of its own the head is new and trained too: z changes what it sees.
    "new_head": _row("^(?!head/)"),
    "new_head_add_pyramid": _row("^(?!head/|.*implicit_)", PYRAMID["add"]),
    "new_head_multiply_pyramid": _row("^(?!head/|.*implicit_)", PYRAMID["multiply"]),
}
RECIPE, BASELINE = "implicit_tuning", "everything"


def get_config(row="implicits"):
    """The settings of `quickstart` on given weights and `shapes_night`, for 300 steps."""
    if row not in ROWS:
        raise ValueError(f"no row {row!r}; expected one of {', '.join(ROWS)}")
    config = quickstart.get_config()
    config.init = placeholder(str)  # must be given
    config.update_from_flattened_dict(ROWS[row])
    config.data.path = "shapes_night"
    config.epochs = 0.6
    config.optim.warmup_min_steps = 30
    config.eval.every_epochs = 0.3
    return config
