"""What a network finds in the first images of a split, beside what is there."""

import pathlib
from collections.abc import Mapping

from yolor_jax.data.encoded import decode
from yolor_jax.inference.predictor import Predictor
from yolor_jax.models.detector import Detector
from yolor_jax.paths import Path
from yolor_jax.pictures.drawing import contact_sheet, draw_pair, save_image
from yolor_jax.runs.sources import Split

PICTURES = 12


def draw_validation(
    folder: Path,
    module: Detector,
    variables: Mapping,
    source: Split,
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
