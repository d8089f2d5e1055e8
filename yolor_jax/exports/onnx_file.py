"""A network as ONNX, for onnxruntime and what else reads it.

One graph holds all stages (`exports.stages`); its metadata are the description of the file, each
entry as JSON under its own key.

    write("yolor_csp.onnx", stages_of(module, variables, form), metadata, form)
    write_int8("small.onnx", stages_of(module, variables, form), metadata, form, batches)
    OnnxFile(user_path("yolor_csp.onnx")).compute(images, ["boxes", "scores"])
"""

import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.exports.exported import Exported, needing
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import DECODED, DETECTED, Stages, level_names
from yolor_jax.paths import Path
from yolor_jax.stamp import STAMPS
from yolor_jax.whole_file import whole_file

if TYPE_CHECKING:
    import onnx

IMAGES = "images"
"""Name of the input."""
LIBRARIES = ("onnx and onnxruntime", "onnx")


def write(path: Path, stages: Stages, metadata: Mapping[str, Any], form: Form) -> None:
    """Exports a network to a file that appears whole or not at all.

    Args:
        path: the file; replaced if there is one.
        stages: of the network.
        metadata: of the file.
        form: likewise.

    Raises:
        ImportError: onnx is not installed.
        InputError: a dtype or an operation that ONNX or this converter lacks.
        OSError: the file cannot be written.
    """
    _save(_model(stages, metadata, form), path)


def write_int8(
    path: Path,
    stages: Stages,
    metadata: Mapping[str, Any],
    form: Form,
    batches: Iterable[np.ndarray],
) -> None:
    """As `write`, with the network in int8 (`exports.int8`).

    Args:
        path: the file; replaced if there is one.
        stages: of the network, in float32.
        metadata: of the file.
        form: likewise.
        batches: images as the file takes them, on which activations are seen.
    """
    model = _model(stages, metadata, form)
    from yolor_jax.exports.int8 import quantised

    feeds = ({IMAGES: images} for images in batches)
    _save(quantised(model, level_names(len(metadata["strides"])), feeds), path)


def _save(model: "onnx.ModelProto", path: Path) -> None:
    import onnx

    onnx.checker.check_model(model)
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _model(stages: Stages, metadata: Mapping[str, Any], form: Form) -> "onnx.ModelProto":
    """The graph of all stages; raises as `write` does."""
    if form.dtype == "bfloat16":
        raise InputError(
            "ONNX has no convolution in bfloat16 before opset 22, and CPUs none at all; "
            "use float16, or export to stablehlo"
        )
    with needing(*LIBRARIES):
        import onnx  # noqa: F401

        from yolor_jax.exports.onnx_graph.convert import convert
        from yolor_jax.exports.onnx_graph.graph import Graph
        from yolor_jax.exports.onnx_graph.suppress import suppress

    graph = Graph(dynamic_batch=form.batch is None)
    images = graph.input(IMAGES, form.image_shape(form.batch or 1), np.dtype(form.pixels))
    levels = convert(graph, stages.network, images)
    names = level_names(len(levels))
    levels = [graph.name_output(*pair) for pair in zip(levels, names, strict=True)]
    decoded = convert(graph, lambda *levels: stages.decode(levels), *levels)
    decoded = [graph.name_output(*pair) for pair in zip(decoded, DECODED, strict=True)]
    outputs = dict(zip(DECODED, decoded, strict=True))
    if form.nms is not None:
        found = suppress(graph, *decoded, form.nms)
        outputs = {
            name: graph.name_output(x, name) for name, x in zip(DETECTED, found, strict=True)
        }
    described = {name: json.dumps(value) for name, value in metadata.items()}
    version = metadata[STAMPS][-1]["version"] or ""
    return graph.model(outputs, metadata=described, producer=version)


class OnnxFile(Exported):
    """A file of `write`, run by onnxruntime on the CPU."""

    def __init__(self, path: Path):
        """Reads the file.

        Raises:
            ImportError: onnx or onnxruntime is not installed.
            InputError: it is damaged or of another kind.
            OSError: it cannot be read.
        """
        with needing(*LIBRARIES):
            import onnx
            import onnxruntime
            from google.protobuf.message import DecodeError
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        with bucket.on_disk(path) as local:
            data = local.read_bytes()
        try:
            self._model = onnx.load_from_string(data)
        except DecodeError as error:
            raise InputError(f"{path} is no whole ONNX file ({error}); export it again") from error
        entries = {one.key: one.value for one in self._model.metadata_props}
        try:
            metadata = {name: json.loads(value) for name, value in entries.items()}
        except json.JSONDecodeError:
            metadata = {}  # of another program
        super().__init__(path, metadata)
        self._session = functools.cache(self._open)

    def compute(self, images: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """See `Exported.compute`."""
        outputs = {one.name for one in self._model.graph.output}
        inner = tuple(name for name in names if name not in outputs)
        arrays = self._session(inner).run([*names], {IMAGES: images})
        return dict(zip(names, arrays, strict=True))

    def _open(self, inner: tuple[str, ...]) -> Any:
        """A session that gives some values from inside the graph too."""
        import onnx
        import onnxruntime

        model = self._model
        if inner:
            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        options.intra_op_num_threads = len(os.sched_getaffinity(0))  # not all that the machine has
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
