"""Runs of an ablation, planned, and left as finished ones are, without a training."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from tests.support.small_recipe import small_recipe, typed
from yolor_jax.ablation.plan import Planned
from yolor_jax.runs import recipe as recipes


def planned(folder: pathlib.Path, row: str = "baseline", seed: int = 0, **settings) -> Planned:
    """A run on no data.

    Args:
        folder: of the ablation.
        row: its name.
        seed: of its recipe.
        **settings: of its model.
    """
    config = small_recipe("shapes")
    config.seed = seed
    config.model.update(settings)
    return Planned(row, seed, folder / row / f"seed{seed}", typed(config), [])


def leave(run: Planned, ap: Sequence[float] | None) -> None:
    """Writes what a run leaves; AP 0..1 of its evaluations, one an epoch; None: not finished."""
    (run.workdir / "pictures").mkdir(parents=True)
    recipes.save(run.recipe, run.workdir)
    if ap is None:
        return
    rows: list[Mapping] = [{"step": 5, "epoch": 0.5, "loss/total": 1.0}]
    rows += [{"step": 10 * (number + 1), "eval/AP": value} for number, value in enumerate(ap)]
    (run.workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run.workdir / "pictures" / "validation.png").touch()
