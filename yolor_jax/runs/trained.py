"""Opens what the commands call a checkpoint: the workdir of a run, or a file of ours."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from yolor_jax.models.anchors import with_anchors
from yolor_jax.models.detector import Detector, build, find_spec
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import ModelSpec, with_implicit, with_tasks
from yolor_jax.training.checkpoints import loading
from yolor_jax.weights import store


class Checkpoint(NamedTuple):
    """A network and what is known of it.

    Attributes:
        spec: its model, with the tasks, implicit knowledge and anchors that it was trained with.
        variables: for ``module.apply``; of a run, the moving average.
        meta: model, implicit, num_classes, class_names, image_size; tasks, if it has any beyond
            detection; anchors, if they are not the model's own; and of a file also fused.
    """

    spec: ModelSpec
    variables: Mapping[str, Any]
    meta: Mapping[str, Any]

    @property
    def fused(self) -> bool:
        """The variables are folded."""
        return self.meta.get("fused", False)

    def module(self) -> Detector:
        """The network that these variables belong to."""
        return build(self.spec, self.meta["num_classes"], fused=self.fused)

    def folded(self) -> "Checkpoint":
        """The same network, folded.

        Raises:
            InputError: it is folded already.
        """
        variables = fold(self.spec, self.variables)
        return Checkpoint(self.spec, variables, {**self.meta, "fused": True})


def open_checkpoint(path: str | pathlib.Path, step: int | None = None) -> Checkpoint:
    """Opens the workdir of a run, or a file written by `weights.store`.

    Args:
        path: folder or file.
        step: of a run's checkpoint; the latest if None.

    Raises:
        InputError: the file is damaged or of another kind.
        OSError: there is no checkpoint there, or it cannot be read.
    """
    if pathlib.Path(path).is_file():
        variables, meta = store.load_variables(path)
    else:
        variables, meta = loading.load_variables(path, step)
    spec = with_tasks(find_spec(meta["model"]), meta.get("tasks", ()))
    spec = with_anchors(with_implicit(spec, meta["implicit"]), meta.get("anchors"))
    return Checkpoint(spec, variables, meta)
