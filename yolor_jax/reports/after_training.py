"""Training from Python as ``yolor train`` does it: to the end, and then the page on the run.

    outcome = train(recipe, "runs/quickstart")    # or goes on with the run that is there
    outcome.folded.metrics["AP50"]                # runs/quickstart/report.html has the rest

`runs.training` trains; it lies below the pages, and knows nothing of them.
"""

import os

from yolor_jax.errors import MENDABLE, sentence
from yolor_jax.paths import Path
from yolor_jax.progress import Say, silent
from yolor_jax.reports import page
from yolor_jax.runs import training
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.training import Outcome


def train(
    recipe: Recipe,
    workdir: str | os.PathLike,
    *,
    say: Say = silent,
    progress: bool = False,
) -> Outcome:
    """Trains as the recipe says, or continues the run in the workdir, and writes ``report.html``.

    Args:
        recipe: what is asked for.
        workdir: of the run; created if need be.
        say: takes what the run tells on its way, a sentence at a time; what hinders the page too.
        progress: whether to show progress bars.

    Returns:
        What it came to. A run that SIGTERM ended has no page yet.

    Raises:
        InputError: the recipe, the data or the workdir cannot be used.
        FloatingPointError: the loss is not finite; the message says what is left and how to look.
        OSError: something could not be written; of the page it is said instead.
    """
    outcome = training.train(recipe, workdir, say=say, progress=progress)
    if not outcome.preempted:
        leave_page(outcome.workdir, say)
    return outcome


def leave_page(workdir: Path, say: Say) -> Path | None:
    """Writes the page on a run; what hinders that is said, and takes no number away.

    Args:
        workdir: of a run that is at its end.
        say: takes a sentence for each thing that is not on the page.

    Returns:
        The page; None if it could not be written.
    """
    try:
        written = page.write_report([workdir])
    except MENDABLE as error:
        say(f"the report could not be written: {sentence(error)}")
        return None
    for doubt in written.doubts:
        say(f"not in the report: {doubt}")
    return written.path
