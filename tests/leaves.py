"""Variables for tests, filled with NumPy values over shapes: nothing is compiled for them."""

import jax
import numpy as np

from yolor_jax.trees import flatten_by_path


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
