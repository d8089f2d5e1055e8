"""A network as StableHLO for CPU, CUDA and TPU: one file, which JAX runs without this package.

The file is a zip: ``metadata.json``, and each stage (`exports.stages`) as `jax.export` serialises
it. ``network.bin`` holds the weights.

    write("yolor_csp.zip", stages_of(module, variables, form), metadata, form)
    StableHlo(user_path("yolor_csp.zip")).compute(images, ["boxes", "scores"])
"""

import functools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.exports.exported import Exported, needing
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import DECODED, DETECTED, Stages
from yolor_jax.paths import Path
from yolor_jax.whole_file import whole_file

PLATFORMS = ("cpu", "cuda", "tpu")
METADATA = "metadata.json"
LIBRARIES = ("flatbuffers", "export")


def write(path: Path, stages: Stages, metadata: Mapping[str, Any], form: Form) -> None:
    """Exports a network to a file that appears whole or not at all.

    Args:
        path: the file; replaced if there is one.
        stages: of the network.
        metadata: of the file.
        form: likewise.

    Raises:
        ImportError: flatbuffers is not installed.
        OSError: the file cannot be written.
    """
    with needing(*LIBRARIES):
        import flatbuffers  # noqa: F401
    batch = form.batch or jax.export.symbolic_shape("batch")[0]
    images = jax.ShapeDtypeStruct(form.image_shape(batch), jnp.dtype(form.pixels))
    levels = jax.eval_shape(stages.network, images)
    programs = {
        "network": _export(stages.network, images),
        "decode": _export(stages.decode, levels),
    }
    if stages.suppress is not None:
        programs["suppress"] = _export(stages.suppress, *jax.eval_shape(stages.decode, levels))
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr(METADATA, json.dumps(metadata, indent=1))
        for name, program in programs.items():
            file.writestr(f"{name}.bin", bytes(program))


def _export(stage: Callable, *arguments: Any) -> bytearray:
    """A stage for all platforms; its results are a plain tuple, which needs no class of ours."""
    function = jax.jit(lambda *operands: tuple(stage(*operands)))
    return jax.export.export(function, platforms=PLATFORMS)(*arguments).serialize()


class StableHlo(Exported):
    """A file of `write`, run by JAX."""

    runtime = f"jax {jax.__version__}"

    def __init__(self, path: Path):
        """Reads the file; its stages are compiled when they are used first.

        Raises:
            ImportError: flatbuffers is not installed.
            InputError: it is damaged or of another kind.
            OSError: it cannot be read.
        """
        with needing(*LIBRARIES):
            import flatbuffers  # noqa: F401
        try:
            with bucket.on_disk(path) as local, zipfile.ZipFile(local) as file:
                metadata = json.loads(file.read(METADATA))
                super().__init__(path, metadata)
                names = ["network", "decode", *["suppress"] * (self.form.nms is not None)]
                blobs = [bytearray(file.read(f"{name}.bin")) for name in names]
        except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
            raise InputError(
                f"{path} is no whole StableHLO file of `yolor export` ({error}); export it again"
            ) from error
        self._programs = [jax.export.deserialize(blob) for blob in blobs]
        self._compute = functools.cache(self._compiled)

    def compute(self, images: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """See `Exported.compute`."""
        return self._compute(tuple(names))(images)

    def _compiled(self, names: tuple[str, ...]) -> Callable[[np.ndarray], dict[str, Any]]:
        """One program that gives what is asked for and nothing else."""
        network, decode, *suppress = self._programs

        @jax.jit
        def compute(images: Any) -> dict[str, Any]:
            levels = network.call(images)
            decoded = decode.call(levels)
            given = dict(zip((*self.level_names, *DECODED), (*levels, *decoded), strict=True))
            for program in suppress:
                given |= zip(DETECTED, program.call(*decoded), strict=True)
            return {name: given[name] for name in names}

        return compute
