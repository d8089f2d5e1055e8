"""Random networks whose batch norms have seen a picture: signals of order one at any depth.

Their scores are of all sizes and their boxes overlap, so that a small difference anywhere is seen.
"""

import dataclasses

import jax
import numpy as np

from yolor_jax.models.detector import Detector, build, find_spec, variable_shapes
from yolor_jax.models.spec import ModelSpec
from yolor_jax.trees import flatten_by_path


def moderate_network(
    model: str | ModelSpec, num_classes: int = 3, side: int = 64
) -> tuple[Detector, dict]:
    """A module as in training, and its variables.

    Args:
        model: a name of the zoo, or a spec.
        num_classes: K.
        side: pixels of the picture.
    """
    spec = find_spec(model)
    generator = np.random.default_rng(0)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if path.endswith("kernel"):
            gain = 4.0 if path.startswith("params/head") else 1.0
            return generator.normal(size=shape) * np.sqrt(gain / np.prod(shape[:-1]))
        if path.endswith("bias") and path.startswith("params/head"):
            return generator.normal(-1, 0.5, shape)
        around = 1 if path.endswith(("scale", "var", "implicit_after/z")) else 0
        return around + 0.1 * generator.normal(size=shape)

    learning = build(dataclasses.replace(spec, bn_momentum=1.0), num_classes)  # the last one counts
    shapes = variable_shapes(learning)
    leaves = [
        draw(path, leaf.shape).astype(np.float32) for path, leaf in flatten_by_path(shapes).items()
    ]
    variables = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    picture = np.float32(generator.uniform(size=(1, side, side, 3)))

    @jax.jit
    def see(variables, picture):
        return learning.apply(variables, picture, train=True, mutable=["batch_stats"])[1]

    statistics = jax.device_get(see(variables, picture))
    return build(spec, num_classes), {"params": variables["params"], **statistics}
