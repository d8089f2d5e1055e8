"""A network as a TensorFlow SavedModel: a folder that TensorFlow and its servers run.

Each stage (`exports.stages`) is a function of the model: network and decoding by jax2tf as
StableHLO for CPU, CUDA and TPU, NMS by TensorFlow's own operation. The signature
``serving_default`` takes ``images`` and gives what the file is for, ``stages`` all that is computed
on the way. The description lies in ``assets.extra``.

    write("yolor_csp.savedmodel", stages_of(module, variables, form), metadata, form)
    SavedModel(user_path("yolor_csp.savedmodel")).compute(images, ["boxes", "scores"])
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.exports.exported import Exported, needing
from yolor_jax.exports.form import Form
from yolor_jax.exports.stablehlo import PLATFORMS
from yolor_jax.exports.stages import DECODED, DETECTED, Stages, level_names
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.paths import Path, is_local

LIBRARIES = ("tensorflow", "tf")
METADATA = "assets.extra/metadata.json"
IMAGES = "images"
"""Name of the input."""


def write(path: Path, stages: Stages, metadata: Mapping[str, Any], form: Form) -> None:
    """Exports a network to a folder that appears whole or not at all.

    Args:
        path: the folder; replaced if there is one.
        stages: of the network.
        metadata: of the file.
        form: likewise.

    Raises:
        ImportError: TensorFlow is not installed.
        InputError: the folder is to lie in a bucket, or something else is there.
        OSError: it cannot be written.
    """
    tf = _tensorflow()
    _require_local(path)
    if path.exists() and not (path / METADATA).exists():
        raise InputError(f"{path} is no export of ours; delete it, or choose another name")
    model = _model(tf, stages, form)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    before = temporary.with_name(f"{temporary.name}.before")
    try:
        signatures = {"serving_default": model.find, "stages": model.stages}
        tf.saved_model.save(model, str(temporary), signatures=signatures)
        (temporary / METADATA).parent.mkdir()
        (temporary / METADATA).write_text(json.dumps(metadata, indent=1))
        if path.exists():
            path.replace(before)
        temporary.replace(path)
        shutil.rmtree(before, ignore_errors=True)
    except (tf.errors.OpError, OSError) as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _model(tf: ModuleType, stages: Stages, form: Form) -> Any:
    """The functions of the model. Each stage is one, so that its weights are written once."""
    dynamic = form.batch is None
    images = jax.ShapeDtypeStruct(form.image_shape(form.batch or 1), np.dtype(form.pixels))
    levels = jax.eval_shape(stages.network, images)

    def converted(stage: Callable, arguments: Sequence[jax.ShapeDtypeStruct]) -> Callable:
        from jax.experimental import jax2tf

        function = jax2tf.convert(
            lambda *operands: tuple(stage(*operands)),
            polymorphic_shapes=["(batch, ...)"] * len(arguments) if dynamic else None,
            with_gradient=False,
            native_serialization_platforms=PLATFORMS,
        )
        return tf.function(
            function, autograph=False, input_signature=[taken(one) for one in arguments]
        )

    def taken(one: jax.ShapeDtypeStruct, name: str | None = None) -> Any:
        return tf.TensorSpec([None if dynamic else one.shape[0], *one.shape[1:]], one.dtype, name)

    model = tf.Module()
    model.network = converted(stages.network, [images])
    model.decode = converted(lambda *levels: stages.decode(levels), levels)
    given_names = DECODED if form.nms is None else DETECTED

    def all_stages(images: Any) -> dict[str, Any]:
        levels = model.network(images)
        given = dict(zip(level_names(len(levels)), levels, strict=True))
        decoded = model.decode(*levels)
        given |= zip(DECODED, decoded, strict=True)
        if form.nms is not None:
            given |= zip(DETECTED, _suppress(tf, *decoded, form.nms), strict=True)
        return given

    def find(images: Any) -> dict[str, Any]:
        given = all_stages(images)
        return {name: given[name] for name in given_names}

    for name, function in (("stages", all_stages), ("find", find)):
        whole = tf.function(function, autograph=False, input_signature=[taken(images, IMAGES)])
        setattr(model, name, whole)
    return model


def _suppress(tf: ModuleType, boxes_xyxy: Any, scores: Any, nms: NmsConfig) -> tuple:
    """What `stages.Found` has, by TensorFlow.

    JAX's own search for the best is of a later StableHLO than TensorFlow 2.21 reads. IoU does not
    mind which axis comes first; ``max_candidates`` has no place here.
    """
    most = nms.max_detections
    boxes, scores, labels, count = tf.image.combined_non_max_suppression(
        boxes_xyxy[:, :, None],
        scores,
        max_output_size_per_class=most,
        max_total_size=most,
        iou_threshold=nms.iou_threshold,
        score_threshold=nms.score_threshold,
        clip_boxes=False,
    )
    return boxes, scores, tf.cast(labels, tf.int32), count


class SavedModel(Exported):
    """A folder of `write`, run by TensorFlow on the CPU."""

    def __init__(self, path: Path):
        """Reads the folder.

        Raises:
            ImportError: TensorFlow is not installed.
            InputError: it is damaged, of another program, or in a bucket.
            OSError: it cannot be read.
        """
        tf = _tensorflow()
        _require_local(path)
        if not path.exists():
            raise FileNotFoundError(f"no such folder: {path}")
        try:
            metadata = json.loads((path / METADATA).read_text())
            self._model = tf.saved_model.load(str(path))
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise InputError(
                f"{path} is no whole SavedModel of `yolor export` ({error}); export it again"
            ) from error
        self.runtime = f"tensorflow {tf.__version__}"
        super().__init__(path, metadata)

    def compute(self, images: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """See `Exported.compute`."""
        signatures = self._model.signatures
        served = signatures["serving_default"]
        enough = set(names) <= set(served.structured_outputs)
        given = (served if enough else signatures["stages"])(**{IMAGES: images})
        return {name: given[name].numpy() for name in names}


def _tensorflow() -> ModuleType:
    """TensorFlow on the CPU: it would take the memory of a GPU from JAX."""
    with needing(*LIBRARIES), _without_words():
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
    return tf


@contextlib.contextmanager
def _without_words() -> Iterator[None]:
    """Leaves out what TensorFlow's C++ part says of devices that are not there."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _require_local(path: Path) -> None:
    if not is_local(path):
        raise InputError(
            f"a SavedModel is a folder of files that belong together, got {path}; write it to a "
            "local folder, and copy that"
        )
