"""Variables for tests, filled with NumPy values over shapes: nothing is compiled for them."""

import jax
import numpy as np

from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.convert import expected_shapes


def random_leaves(shapes: dict, *, seed: int = 0, dtype: type = np.float32) -> dict:
    """Random variables over a tree of shapes, far from identity: implicits and statistics too."""
    generator = np.random.default_rng(seed)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if path.endswith("kernel"):
            return generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        if path.endswith(("bias", "mean")):
            return 0.3 * generator.normal(size=shape)
        return generator.uniform(0.5, 1.5, size=shape)  # scales, variances, implicits

    leaves = [
        draw(path, leaf.shape).astype(dtype) for path, leaf in flatten_by_path(shapes).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def random_state_dict(spec, num_classes):
    """A state dict of the original with signals of order one."""
    rng = np.random.default_rng(0)

    def tensor(shape):
        if len(shape) == 4 and shape[0] > 1:
            return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return rng.uniform(0.5, 1.5, shape)

    shapes = expected_shapes(spec, num_classes)
    return {name: tensor(leaf.shape).astype(np.float32) for name, leaf in shapes.items()}
