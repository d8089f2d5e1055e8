"""An exported file in the place of a trained network: for `yolor detect` and `yolor eval`.

```python
network = ExportedNetwork(user_path("yolor_csp.onnx"))
network.predictor(batch_size=8)(["photo.jpg"])
evaluate(network.file, recipe)
```
"""

import functools
from typing import Any

from yolor_jax.data.pipeline import eval_batches
from yolor_jax.errors import InputError
from yolor_jax.evaluation import evaluate as coco
from yolor_jax.evaluation.coco import require_backend
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.files import open_exported
from yolor_jax.exports.predicting import make_predict, make_predictor, require_nms
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import build
from yolor_jax.paths import Path
from yolor_jax.runs import preflight
from yolor_jax.runs.batches import reading
from yolor_jax.runs.evaluation import Evaluated, require_classes
from yolor_jax.runs.evaluation_mode import PLAIN, Mode
from yolor_jax.runs.finder import ObjectFinder
from yolor_jax.runs.recipe import Recipe
from yolor_jax.training.processes.group import ALONE


class ExportedNetwork:
    """What of `runs.trained.Trained` detection needs, by an exported file.

    Attributes:
        file: opened by its runtime.
        meta: what it says of itself.
        class_names: of the K classes.
    """

    def __init__(self, path: Path):
        """Opens a file; raises as `open_exported`."""
        self.file = open_exported(path)
        self.meta = self.file.metadata
        self.class_names = self.file.class_names

    @property
    def image_size(self) -> int:
        """Of the network's input in pixels, the longer side."""
        return max(self.file.form.image_size)

    @functools.cached_property
    def nms(self) -> NmsConfig:
        """What is a detection where nobody says: as the file has it inside, or the usual."""
        return self.file.form.nms or NmsConfig()

    def predictor(
        self,
        *,
        batch_size: int = 1,
        score: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
        image_size: int | None = None,
        scaled_decode: bool = False,
        **settings: Any,
    ) -> ObjectFinder:
        """As `Trained.predictor`; what is fixed in the file cannot be asked for.

        Raises:
            InputError: a setting that the file cannot follow.
        """
        usual = {"dtype": "float32", "fold": True}
        asked = {n: v for n, v in settings.items() if v != usual.get(n) and (v or n in usual)}
        if asked:
            raise InputError(
                f"an exported file looks at images as it was made to, and {next(iter(asked))!r} is "
                "a setting of the network itself; use the run or its weights for that"
            )
        if image_size not in (None, *self.file.form.image_size):
            raise InputError(
                f"{self.file.path} takes {self.file.form.image_size} pixels, got {image_size}; "
                "export it again for another size"
            )
        thresholds = {
            "score_threshold": score,
            "iou_threshold": iou,
            "max_detections": max_detections,
        }
        given = {name: value for name, value in thresholds.items() if value is not None}
        nms = NmsConfig(**vars(self.nms) | given)
        require_nms(self.file, nms)
        predictor = make_predictor(
            self.file, nms, batch_size=batch_size, scaled_decode=scaled_decode
        )
        return ObjectFinder(predictor, self.class_names)


def require_square(image_size: tuple[int, int]) -> None:
    """Raises an InputError if a file of this size cannot be evaluated, which is done on squares."""
    height, width = image_size
    if height != width:
        raise InputError(
            "a file is evaluated at one square size, and this one takes "
            f"{height} x {width} pixels; export it with --image-size N"
        )


def with_nms_of(file: Exported, recipe: Recipe) -> Recipe:
    """A recipe whose evaluation takes for a detection what a file does that has NMS inside."""
    return recipe.with_changes(eval={"nms": file.form.nms}) if file.form.nms else recipe


def evaluate(
    file: Exported, recipe: Recipe, *, mode: Mode = PLAIN, progress: bool = False
) -> Evaluated:
    """Evaluates a file by the COCO protocol, by its own runtime.

    Args:
        file: of a square size.
        recipe: says data and backend, and what is a detection where the file leaves that open.
        mode: what is scored; the file looks at images in the plain way.
        progress: whether to show a bar.

    Raises:
        InputError: the data cannot be used or have other classes, or the mode or the size is one
            that the file cannot follow.
    """
    require_backend(recipe.eval.backend)
    require_square(file.form.image_size)
    if mode != Mode(classes=mode.classes):
        raise InputError(
            f"an exported file is evaluated in the plain way, for how it looks is fixed; asked for "
            f"was: {', '.join(mode.words())}"
        )
    recipe, side = with_nms_of(file, recipe), file.form.image_size[0]
    changes = {"model": {"name": file.metadata["model"]}, "image_size": side, "multi_scale": ()}
    recipe = recipe.with_changes(**changes)
    source = preflight.open_evaluation(recipe.data, ALONE, progress=progress)
    require_classes(source, file.class_names)
    mode.require_classes(source.class_names)
    batches = eval_batches(
        source,
        image_size=side,
        batch_size=file.form.batch or recipe.eval.batch_size,
        max_targets=0,
        scaled_decode=recipe.data.scaled_decode,
        reading=reading(recipe, workers=recipe.data.workers),
    )
    evaluation = coco.evaluate(
        make_predict(file, recipe.eval.nms),
        {},
        batches,
        source,
        backend=recipe.eval.backend,
        scored=mode.scored,
        progress=progress,
    )
    module = build(file.metadata["model"], len(file.class_names), fused=True)
    step = file.metadata["step"]
    return Evaluated(evaluation, module, source, recipe, mode, step, runtime=file.runtime)
