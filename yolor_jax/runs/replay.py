"""What went wrong in the step that stopped a run: its batch once more, looked at number by number.

    replayed = replay("runs/csp/bad_batch_1234.npz")
    print(describe(replayed))
    draw("bad_batch_1234.png", replayed)

The network has the parameters of the last checkpoint before that step, or those of the start: the
parameters of the step itself are gone. What is not finite with them is the batch's own doing; where
all is finite, the parameters went wrong in between. An image of a mosaic goes by the id of its
first part.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from yolor_jax.augment.resize import resize
from yolor_jax.data.example import Batch
from yolor_jax.paths import Path, user_path
from yolor_jax.pictures.drawing import contact_sheet, draw_boxes, save_image
from yolor_jax.runs import programs, start
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import open_sources
from yolor_jax.table import text_table
from yolor_jax.training import bad_batch
from yolor_jax.training import mesh as meshes
from yolor_jax.training.bad_batch import BadBatch
from yolor_jax.training.checkpoints import folder as checkpoint_folder
from yolor_jax.training.checkpoints.loading import load_trained
from yolor_jax.training.diagnosis import Diagnosis, diagnose
from yolor_jax.training.learner import learner
from yolor_jax.training.learnt import identities_of
from yolor_jax.training.multi_scale import drawn_size
from yolor_jax.training.optim import RunLength

MARK = (220, 38, 38)  # red


class Replayed(NamedTuple):
    """A bad batch with other parameters.

    Attributes:
        path: of the file.
        bad: what it holds; ``image_ids`` has one id for each augmented image.
        batch: as the step saw it, augmented.
        origin: the step of the checkpoint whose parameters it met; 0 for the start of the run.
        found: what is not finite, image by image.
        class_names: of the run.
    """

    path: Path
    bad: BadBatch
    batch: Batch
    origin: int
    found: Diagnosis
    class_names: Sequence[str]


def replay(path: str | os.PathLike) -> Replayed:
    """Augments a bad batch as its step did, and runs network and loss.

    Args:
        path: a file ``bad_batch_STEP.npz`` in the workdir of its run.

    Raises:
        FileNotFoundError: there is no such file or run.
        InputError: the file or the recipe is damaged.
        OSError: the checkpoint is damaged.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no bad batch {path}; expected a file bad_batch_STEP.npz in the workdir of a run"
        )
    bad = bad_batch.load(path)
    recipe = recipes.load(path.parent)
    origin, variables, class_names, run = _before(recipe, path.parent, bad.step)
    module = recipe.network(len(class_names))
    known = identities_of(variables["params"]) or int(bad.batch.identity.max(initial=-1)) + 1
    module = learner(module, recipe.task_loss, known)
    batch = augmented(recipe, run, bad)
    found = diagnose(module, programs.loss_of(recipe, module), variables, batch)
    # Partners of a mosaic may come from the data set, behind the image that they belong to.
    bad = bad._replace(image_ids=bad.image_ids[:: len(bad.image_ids) // len(found.boxes)])
    return Replayed(path, bad, batch, origin, found, class_names)


def augmented(recipe: Recipe, run: RunLength, bad: BadBatch) -> Batch:
    """A bad batch as its step saw it.

    Args:
        recipe: of the run.
        run: its length.
        bad: the batch.
    """
    before = bad.step - 1  # the number of the state that the step began with
    side = recipe.image_size
    if recipe.multi_scale:
        side = drawn_size(recipe.multi_scale, recipe.seed, before)
    augment = programs.augmentation(recipe, run)
    key = jax.random.fold_in(jax.random.wrap_key_data(bad.key_data), before)
    as_trained = jax.jit(lambda *arguments: resize(augment(*arguments), side))
    return as_trained(key, bad.batch, np.int32(before))


def _before(
    recipe: Recipe, workdir: Path, bad_step: int
) -> tuple[int, dict, Sequence[str], RunLength]:
    """The last checkpoint before a step, or 0; its variables; the run's classes and length."""
    folder = checkpoint_folder.absolute(workdir) / checkpoint_folder.FOLDER
    before = [step for step in checkpoint_folder.steps(folder) if step < bad_step]
    if before:
        variables, meta = load_trained(workdir, before[-1])
        return before[-1], variables, meta["class_names"], recipe.length(meta["train_images"])
    sources = open_sources(recipe.data)
    module = recipe.network(len(sources.class_names))
    module = learner(module, recipe.task_loss, sources.identities)
    run = recipe.length(len(sources.train))
    first = start.first_state(recipe, module, run, meshes.make_mesh(jax.devices()[:1]))
    variables = {"params": first.params, "batch_stats": first.batch_stats}
    return 0, variables, sources.class_names, run


def describe(replayed: Replayed) -> str:
    """What the step had, a line for each image, and a verdict."""
    bad, found = replayed.bad, replayed.found
    suspects = found.suspects()
    return "\n".join(
        [
            _opening(replayed.path, bad, replayed.origin),
            _table(found, bad.image_ids, suspects),
            _verdict(found, bad, replayed.origin, suspects),
        ]
    )


def draw(path: Path, replayed: Replayed) -> None:
    """Draws the augmented images with their boxes; those at fault in a red frame."""
    suspects = replayed.found.suspects()
    sheet = _sheet(replayed.batch, replayed.bad.image_ids, suspects, replayed.class_names)
    save_image(path, sheet)


def _opening(path: Path, bad: BadBatch, step: int) -> str:
    recorded = ", ".join(
        f"{name} {value:.6g}"
        for name, value in bad.terms.items()
        if name.startswith("loss/") or not np.isfinite(value)
    )
    origin = f"the checkpoint of step {step}" if step else "the start"
    return f"{path}: step {bad.step} had {recorded}\nreplayed with the parameters of {origin}:"


def _table(found: Diagnosis, image_ids: Sequence[int], suspects: Sequence[int]) -> str:
    """A line for each image: its targets and the terms of its loss."""
    columns = ["", "place", "image id", "boxes", "odd boxes", *found.terms, "gradient"]
    rows = [
        [
            "*" if place in suspects else "",
            str(place),
            str(image_id),
            str(found.boxes[place]),
            str(found.odd_boxes[place]),
            *(f"{values[place]:.4g}" for values in found.terms.values()),
            f"{found.gradient_norm[place]:.4g}",
        ]
        for place, image_id in enumerate(image_ids)
    ]
    return text_table([columns, *rows], left=())


def _verdict(found: Diagnosis, bad: BadBatch, step: int, suspects: Sequence[int]) -> str:
    ids = [bad.image_ids[place] for place in suspects]
    if first := found.first_not_finite():
        return f"The first output that is not finite is that of {first[0]}, for the images {ids}."
    if found.losses_not_finite():
        return f"The network's outputs are finite; the loss or its gradient is not, for {ids}."
    odd = f" Boxes without area or with odd corners are in the images {ids}." if ids else ""
    between = bad.step - 1 - step
    return (
        f"All is finite with these parameters: they went wrong in the {between} steps from {step} "
        f"to {bad.step - 1}, or a gradient inside the network overflowed.{odd} Lower the learning "
        "rate, clip the gradient, or train in float32."
    )


def _sheet(
    batch: Batch, image_ids: Sequence[int], suspects: Sequence[int], class_names: Sequence[str]
) -> np.ndarray:
    """The augmented images with their boxes; those at fault in a red frame."""
    batch = jax.tree.map(np.asarray, batch)
    pictures, titles = [], []
    for place, image_id in enumerate(image_ids):
        finite = np.isfinite(batch.boxes_xyxy[place]).all(-1)  # [T]
        shown = batch.mask[place] & finite
        picture = draw_boxes(
            batch.image[place], batch.boxes_xyxy[place][shown], batch.labels[place][shown],
            class_names=class_names,
        )  # fmt: skip
        if place in suspects:
            width = max(4, len(picture) // 60)
            for edge in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
                picture[edge] = MARK
        titles.append(f"{place}: image {image_id}" + ", look here" * (place in suspects))
        pictures.append(picture)
    return contact_sheet(pictures, titles=titles)
