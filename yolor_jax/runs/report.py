"""What a training run tells its user: where it starts, what it made, what to type next."""

import pathlib
import shlex
import sys
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict

from yolor_jax.data.encoded import decode
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.inference.predictor import Predictor
from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.pictures.drawing import contact_sheet, draw_pair, save_image
from yolor_jax.runs import recipe
from yolor_jax.training import freeze

PICTURES = 12


def opening(
    config: ConfigDict, sources: recipe.Sources, module: Detector, workdir: pathlib.Path
) -> str:
    """Says what will be trained on what.

    Raises:
        InputError: ``config.optim.freeze`` matches no parameter, or all.
    """
    params = variable_shapes(module)["params"]
    parameters = f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters"
    if config.optim.freeze:
        parameters += f", {freeze.count(params, config.optim.freeze):,} of them frozen"
    devices = jax.devices()
    return (
        f"{network(config)}, {parameters}, {config.image_size} pixels, on "
        f"{len(devices)} {devices[0].platform} device{'s' * (len(devices) > 1)}\n"
        f"{len(sources.train):,} images to train on, {len(sources.evaluation):,} to evaluate on, "
        f"{len(sources.class_names)} classes; results go to {workdir}"
    )


def network(config: ConfigDict) -> str:
    """The model by its name, and what the recipe changes of it."""
    said = [config.model.name]
    if tasks := recipe.tasks(config):
        said.append(f"also to {' and '.join(tasks)}")
    implicit = recipe.implicit(config)
    if implicit is not None:
        said.append(f"implicit knowledge {implicit}" if implicit else "no implicit knowledge")
    return ", ".join(said)


def draw_validation(
    folder: pathlib.Path,
    module: Detector,
    variables: Mapping,
    source: recipe.Split,
    image_size: int,
) -> None:
    """Draws the first images of a split, predicted boxes beside true ones, and a sheet of them."""
    folder.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(module, variables, image_size=image_size)
    examples = [source[i] for i in range(min(PICTURES, len(source)))]
    images = [decode(example.jpeg) for example in examples]
    pictures = [
        draw_pair(
            image, *_boxes_labels_scores(prediction),
            example.boxes_xyxy, example.labels, class_names=source.class_names,
        )
        for image, prediction, example in zip(images, predictor(images), examples, strict=True)
    ]  # fmt: skip
    for i, picture in enumerate(pictures):
        save_image(folder / f"{pathlib.Path(source.name(i)).stem}.png", picture)
    columns = min(3, len(pictures))
    save_image(folder / "validation.png", contact_sheet(pictures, columns=columns, cell=800))


def _boxes_labels_scores(prediction):
    return prediction.boxes_xyxy, prediction.labels, prediction.scores


def closing(config: ConfigDict, workdir: pathlib.Path, metrics: Metrics, took: str) -> str:
    """Says what was made, where, in what time, and what to type next."""
    made = {
        "pictures": workdir / "pictures" / "validation.png",
        "boxes": workdir / "detections.json",
        "metrics": workdir / "metrics.jsonl",
        "curves": workdir / "curves.png",
        "checkpoints": workdir / "checkpoints",
    }
    lines = [
        f"{config.model.name} is trained ({took}): "
        f"AP {_percent(metrics['AP'])}, AP50 {_percent(metrics['AP50'])} "
        f"on {config.data.eval_split}.",
        *(f"  {name:<12} {path}" for name, path in made.items()),
        "Next:",
        f"  yolor detect IMAGE... --checkpoint {workdir}",
        f"  python eval_main.py --workdir={workdir}",
    ]
    if config.data.path == "shapes":
        lines.append("  python train_main.py --config=configs/coco128.py --config.data.path=FOLDER")
    return "\n".join(lines)


def preempted(workdir: pathlib.Path, step: int) -> str:
    """Says that SIGTERM ended the run, what there is of it, and the command to continue."""
    left = f"step {step} is saved in {workdir}" if step else "before the first step"
    return f"stopped by SIGTERM: {left}. Continue with\n  {shlex.join(['python', *sys.argv])}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
