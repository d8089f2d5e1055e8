"""A trained network: what it is, what it finds, and how it leaves the house.

```python
trained = load("runs/quickstart")                       # `runs.opening`
found = trained.predict("photo.jpg")
found[0].boxes_xyxy, found[0].scores, found[0].names
module, variables = trained.module, trained.variables   # for jax.jit, jax.grad and so on
```
"""

import dataclasses
import functools
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from yolor_jax.data.letterbox import letterbox
from yolor_jax.detection.nms import class_agnostic_nms, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.exports import files as exports
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.form import Form
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.inference.predictor import Predictor
from yolor_jax.inference.views import AS_IT_IS, THREE_VIEWS
from yolor_jax.models.anchors import with_anchors
from yolor_jax.models.detector import Detector, build, find_spec
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import ModelSpec, with_implicit, with_tasks
from yolor_jax.paths import user_path
from yolor_jax.runs.finder import ObjectFinder
from yolor_jax.runs.found import Found
from yolor_jax.training.checkpoints.statistics import EXACT_STATISTICS
from yolor_jax.weights.knowledge_set import KnowledgeSet, knowledge_of, with_set

_lock = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A network and what is known of it.

    Attributes:
        spec: its model, with the tasks, implicit knowledge and anchors that it was trained with.
        variables: for ``module.apply``, as NumPy arrays; of a run, the moving average.
        meta: model, implicit, num_classes, class_names, image_size; tasks, if it has any beyond
            detection; anchors, if they are not the model's own; step, of a checkpoint; of a file
            also fused; exact_statistics, the images that batch norm's were taken from, if they are
            not the running ones; knowledge, the name of a z that is not its own
            (`with_knowledge`); and stamps, of who made it (`stamp`), oldest first, unless it is
            older than these.
    """

    spec: ModelSpec
    variables: Mapping[str, Any]
    meta: Mapping[str, Any]

    @property
    def fused(self) -> bool:
        """The variables are folded."""
        return self.meta.get("fused", False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return tuple(self.meta["class_names"])

    @property
    def image_size(self) -> int:
        """Side of the square network input in pixels that it was trained for."""
        return self.meta["image_size"]

    @functools.cached_property
    def module(self) -> Detector:
        """The Linen module that the variables belong to, in float32."""
        return build(self.spec, self.meta["num_classes"], fused=self.fused)

    @property
    def nms(self) -> NmsConfig:
        """What is a detection where nobody says."""
        return NmsConfig()

    def folded(self) -> "Trained":
        """The same network with implicit knowledge and batch norm folded into its convolutions.

        Raises:
            InputError: it is folded already.
        """
        variables = fold(self.spec, self.variables)
        return Trained(self.spec, variables, {**self.meta, "fused": True})

    def with_statistics(self, batch_stats: Mapping[str, Any], images: int) -> "Trained":
        """The same network with other statistics of batch norm.

        Args:
            batch_stats: exact ones (`training.exact_statistics`).
            images: that they were taken from.
        """
        variables = {**self.variables, "batch_stats": batch_stats}
        return Trained(self.spec, variables, {**self.meta, EXACT_STATISTICS: images})

    def knowledge(self) -> KnowledgeSet:
        """Its implicit knowledge alone, for `with_knowledge` of the network it was learnt on.

        Raises:
            InputError: there is none in it.
        """
        return knowledge_of(self.variables, self.meta)

    def with_knowledge(self, knowledge: KnowledgeSet, name: str) -> "Trained":
        """The same network with another z, to be folded on its own.

        Args:
            knowledge: learnt on these very weights; it may stand in other places.
            name: by which results tell it from the network's own.

        Raises:
            InputError: the network is folded, the set has other leaves than its model, or it was
                learnt on other weights.
        """
        if self.fused:
            raise InputError(
                "this network is folded and takes no other implicit knowledge; give the one that "
                "it was folded from"
            )
        meta = {**self.meta, "implicit": knowledge.implicit, "knowledge": name}
        spec = spec_of(meta)
        return Trained(spec, with_set(self.variables, knowledge, spec), meta)

    def predictor(
        self,
        *,
        batch_size: int = 1,
        score: float = 0.25,
        iou: float = 0.45,
        classes: Sequence[str | int] | None = None,
        class_agnostic: bool = False,
        max_detections: int = NmsConfig.max_detections,
        tta: bool = False,
        rect: bool = False,
        embed: bool = False,
        fold: bool = True,
        image_size: int | None = None,
        dtype: Any = jnp.float32,
        scaled_decode: bool = False,
    ) -> ObjectFinder:
        """What finds objects in many images; compiles at the first one.

        Args:
            batch_size: images that go through the network together.
            score: least score of a box, 0..1.
            iou: a box goes if a better one of its class overlaps it by more, 0..1.
            classes: names or numbers of those to look for; all if None.
            class_agnostic: boxes of different classes suppress each other too.
            max_detections: boxes of an image at most, best first.
            tta: test-time augmentation: three views of each image, see `inference.views`.
            rect: canvases that follow the shapes of the images, see `Predictor`.
            embed: whether what is found has vectors by which it is known again (`Found.vectors`).
            fold: whether implicit knowledge and batch norm are merged into the convolutions, which
                changes nothing but the time it takes.
            image_size: side of the network input in pixels; that of the training if None.
            dtype: of the activations; boxes stay float32.
            scaled_decode: whether a JPEG is decoded at a half, a quarter or an eighth of its sides
                where the network takes no more pixels: faster, with boxes that differ a little.

        Raises:
            InputError: an unknown class, a size or threshold that does not fit, or no embedding.
        """
        network = self.folded() if fold and not self.fused else self
        predictor = Predictor(
            network.module.clone(dtype=jnp.dtype(dtype)),
            network.variables,
            image_size=self.image_size if image_size is None else image_size,
            nms=NmsConfig(score, iou, max_detections=max_detections),
            classes=self.labels(classes),
            suppress=class_agnostic_nms if class_agnostic else non_max_suppression,
            views=THREE_VIEWS if tta else AS_IT_IS,
            rect=rect,
            embed=embed,
            batch_size=batch_size,
            scaled_decode=scaled_decode,
        )
        return ObjectFinder(predictor, self.class_names)

    def predict(self, images: Any) -> list[Found]:
        """Finds the objects in an image, or in several; see `predictor` for other settings.

        Args:
            images: a path, the bytes of a file, an RGB array, an image of PIL, or several of them.

        Returns:
            One result for each image; for one image a list of one.
        """
        with _lock:  # two threads that come first would both compile
            finder = self._finder
        return finder(images)

    @functools.cached_property
    def _finder(self) -> ObjectFinder:
        return self.predictor()

    def export(
        self,
        output: str | os.PathLike,
        *,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = 1,
        nms: NmsConfig | None = None,
        dtype: str = "float32",
        layout: str = "nhwc",
        pixels: str = "uint8",
        licence: str | None = None,
        detection_only: bool = False,
        calibration: Iterable[np.ndarray] | None = None,
    ) -> Exported:
        """Writes the folded network to a file for another runtime, and opens it there.

        Args:
            output: the file: ``.onnx``, ``.zip`` for StableHLO, or the folder ``.savedmodel`` for
                TensorFlow. Replaced if there is one.
            image_size: side in pixels, or (height, width); that of the training if None.
            batch: images that go through together; None for any number.
            nms: what is a detection, to have NMS in the file; None for all boxes.
            dtype: of the activations: float32, bfloat16 or float16, or int8 (ONNX).
            layout: of the images: nhwc or nchw.
            pixels: uint8 for images of 0..255, float32 for 0..1.
            licence: of the weights, in words, for the file's description.
            detection_only: leave out what the network does beyond detection.
            calibration: for int8, RGB images uint8 [h, w, 3] like those that the file will see.

        Raises:
            ImportError: the library of the format is not installed; names the extra.
            InputError: what is asked for does not fit the network or the format.
            OSError: the file cannot be written.
        """
        network = self if self.fused else self.folded()
        size = self.image_size if image_size is None else image_size
        size = (size, size) if isinstance(size, int) else size
        form = Form(size, batch, nms, dtype, layout, pixels)
        path = user_path(output)
        if calibration is not None:
            calibration = (letterbox(image, size)[0] for image in calibration)
        more = {"licence": licence, "detection_only": detection_only, "calibration": calibration}
        exports.write(path, network.spec, network.variables, network.meta, form, **more)
        return exports.open_exported(path)

    def labels(self, classes: Sequence[str | int] | None) -> frozenset[int] | None:
        """The numbers of classes that are given by name or number; None for None.

        Raises:
            InputError: there is no such class.
        """
        if classes is None:
            return None
        known = {name: label for label, name in enumerate(self.class_names)}
        labels = {known.get(one, one) for one in classes}
        if wrong := [one for one in labels if one not in range(len(self.class_names))]:
            raise InputError(
                f"there is no class {wrong[0]!r}; expected some of {', '.join(self.class_names)}"
            )
        return frozenset(labels)


def spec_of(meta: Mapping[str, Any]) -> ModelSpec:
    """The model that ``meta`` describes."""
    spec = with_tasks(find_spec(meta["model"]), meta.get("tasks", ()))
    return with_anchors(with_implicit(spec, meta["implicit"]), meta.get("anchors"))
