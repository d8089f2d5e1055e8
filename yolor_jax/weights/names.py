"""Parameter names and layouts: ours against those of the original's checkpoints.

    torch_names(MODELS["yolor_csp"])["module_list.0.Conv2d.weight"]
    # ("params", "backbone/stem/conv/kernel")
    torch_names(MODELS["yolor_p6_paper"])["model.1.conv.weight"]
    # ("params", "backbone/stem/conv/kernel")

The original's state dicts come in two forms: `darknet_names`, and `paper_names` for the models
with a joint batch norm.
"""

import dataclasses

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.models.spec import Implicits, ModelSpec
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.weights.darknet_names import darknet_names
from yolor_jax.weights.paper_names import paper_constants, paper_names


def torch_names(spec: ModelSpec) -> dict[str, tuple[str, str]]:
    """The original's tensor names of a model to (collection, path) in our variables.

    Raises:
        InputError: the model has parts for which the original has no name.
    """
    if spec.tasks:
        raise InputError(
            f"{spec.name} has the tasks {', '.join(spec.tasks)}, for whose parameters the "
            "original's checkpoints have no name; they know detection only"
        )
    if not _knows_implicit(spec.implicit):
        raise InputError(
            f"{spec.name} has implicit knowledge for which the original's checkpoints have no "
            "name; they know vectors only, added before the prediction and multiplied behind it"
        )
    if not _knows_blocks(spec):
        raise InputError(
            f"{spec.name} has blocks for which the original's checkpoints have no name: with a "
            "joint norm it knows CSP stages and one bottleneck in the SPP block, without one a "
            "convolution as stem and 3x3 down-sampling"
        )
    return paper_names(spec) if spec.joint_norm else darknet_names(spec)


def _knows_blocks(spec: ModelSpec) -> bool:
    """Whether one of the original's two forms has the blocks of a model."""
    if spec.joint_norm:
        return spec.spp_repeats == 1 and all(stage.csp for stage in spec.stages)
    return spec.stem_width is not None and spec.down == "conv"


def _knows_implicit(implicit: Implicits) -> bool:
    """Whether the original has this implicit knowledge, whatever it starts from."""
    alignment, refinement = implicit.alignment, implicit.refinement
    pairs = ((alignment, "add"), (refinement, "multiply"))
    return (
        implicit.pyramid is None
        and implicit.branch is None
        and all(
            one is None or dataclasses.replace(one, std=0.02) == Knowledge(operator)
            for one, operator in pairs
        )
    )


def torch_constants(spec: ModelSpec) -> dict[str, np.ndarray]:
    """The tensors of the original's state dict that are no parameters, float32."""
    return paper_constants(spec) if spec.joint_norm else {}


def from_torch_layout(path: str, array: np.ndarray) -> np.ndarray:
    """A tensor in PyTorch's layout to ours: kernels OIHW to HWIO, implicits [1, C, 1, 1] to [C]."""
    if path.endswith("conv/kernel"):
        return array.transpose(2, 3, 1, 0)
    return array.reshape(-1)


def to_torch_layout(path: str, array: np.ndarray) -> np.ndarray:
    """The inverse of `from_torch_layout`."""
    if path.endswith("conv/kernel"):
        return array.transpose(3, 2, 0, 1)
    return array.reshape(1, -1, 1, 1) if "implicit" in path else array
