"""What went wrong in the step that stopped a run: its batch once more, looked at number by number.

    replay("runs/csp/bad_batch_1234.npz")

The network has the parameters of the last checkpoint before that step, or those of the start: the
parameters of the step itself are gone. What is not finite with them is the batch's own doing; where
all is finite, the parameters went wrong in between. An image of a mosaic goes by the id of its
first part.
"""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from yolor_jax.augment.resize import resize
from yolor_jax.data.example import Batch
from yolor_jax.errors import CommandError, user_errors
from yolor_jax.pictures.drawing import contact_sheet, draw_boxes, save_image
from yolor_jax.runs import recipe, start
from yolor_jax.training import bad_batch
from yolor_jax.training import mesh as meshes
from yolor_jax.training.bad_batch import BadBatch
from yolor_jax.training.checkpoints import folder as checkpoint_folder
from yolor_jax.training.checkpoints.loading import load_trained
from yolor_jax.training.diagnosis import Diagnosis, diagnose
from yolor_jax.training.multi_scale import drawn_size
from yolor_jax.training.optim import RunLength

MARK = (220, 38, 38)  # red


def replay(path: str | pathlib.Path) -> int:
    """Augments a bad batch as its step did, runs network and loss, and says what is not finite.

    Prints a table with a line for each image, and draws the augmented batch beside the file.

    Args:
        path: a file ``bad_batch_STEP.npz`` in the workdir of its run.

    Returns:
        The exit code 0.

    Raises:
        CommandError: there is no such file or run, or its checkpoint is damaged.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise CommandError(
            f"no bad batch {path}; expected a file bad_batch_STEP.npz in the workdir of a run"
        )
    with user_errors():
        bad = bad_batch.load(path)
        config = recipe.load(path.parent)
        step, variables, class_names, run = _before(config, path.parent, bad.step)
        module = recipe.detector(config, len(class_names))
    batch = augmented(config, run, bad)
    loss = recipe.loss(config, module.spec, module.num_classes)
    found = diagnose(module, loss, variables, batch)
    suspects = found.suspects()
    # Partners of a mosaic may come from the data set, behind the image that they belong to.
    bad = bad._replace(image_ids=bad.image_ids[:: len(bad.image_ids) // len(found.boxes)])
    print(_opening(path, bad, step))
    print(_table(found, bad.image_ids, suspects))
    sheet = path.with_suffix(".png")
    save_image(sheet, _sheet(batch, bad.image_ids, suspects, class_names))
    print(f"the augmented images and their boxes: {sheet}")
    print(_verdict(found, bad, step, suspects))
    return 0


def augmented(config: ConfigDict, run: RunLength, bad: BadBatch) -> Batch:
    """A bad batch as its step saw it.

    Args:
        config: the recipe of the run.
        run: its length.
        bad: the batch.
    """
    before = bad.step - 1  # the number of the state that the step began with
    side = config.image_size
    if sizes := recipe.multi_scale_sizes(config):
        side = drawn_size(sizes, config.seed, before)
    augment = recipe.augmentation(config, run)
    key = jax.random.fold_in(jax.random.wrap_key_data(bad.key_data), before)
    as_trained = jax.jit(lambda *arguments: resize(augment(*arguments), side))
    return as_trained(key, bad.batch, np.int32(before))


def _before(
    config: ConfigDict, workdir: pathlib.Path, bad_step: int
) -> tuple[int, dict, Sequence[str], RunLength]:
    """The last checkpoint before a step, or 0; its variables; the run's classes and length."""
    folder = checkpoint_folder.absolute(workdir) / checkpoint_folder.FOLDER
    before = [step for step in checkpoint_folder.steps(folder) if step < bad_step]
    if before:
        variables, meta = load_trained(workdir, before[-1])
        run = recipe.run_length(config, meta["train_images"])
        return before[-1], variables, meta["class_names"], run
    sources = recipe.open_sources(config)
    module = recipe.detector(config, len(sources.class_names))
    run = recipe.run_length(config, len(sources.train))
    first = start.first_state(config, module, run, meshes.make_mesh(jax.devices()[:1]))
    variables = {"params": first.params, "batch_stats": first.batch_stats}
    return 0, variables, sources.class_names, run


def _opening(path: pathlib.Path, bad: BadBatch, step: int) -> str:
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
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [columns, *rows]
    ]
    return "\n".join(lines)


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
        finite = np.isfinite(batch.boxes[place]).all(-1)  # [T]
        shown = batch.mask[place] & finite
        picture = draw_boxes(
            batch.image[place], batch.boxes[place][shown], batch.labels[place][shown],
            class_names=class_names,
        )  # fmt: skip
        if place in suspects:
            width = max(4, len(picture) // 60)
            for edge in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
                picture[edge] = MARK
        titles.append(f"{place}: image {image_id}" + ", look here" * (place in suspects))
        pictures.append(picture)
    return contact_sheet(pictures, titles=titles)
