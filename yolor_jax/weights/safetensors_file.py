"""A state dict from a safetensors file of any program, such as a converted PyTorch checkpoint.

    tensors = read_safetensors("yolor_p6.safetensors")   # {'module_list.0.Conv2d.weight': array}

Our own files, which know their model too, are read by `store`.
"""

import os
import pathlib

import numpy as np
import safetensors

from yolor_jax.weights.foreign import WeightsError, naming, refuse_downloads_gone_wrong


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a file by name, in its own dtypes and layout.

    Args:
        path: the file.

    Raises:
        WeightsError: it is damaged, of another kind, without tensors, or of a dtype that NumPy
            does not have.
        OSError: it cannot be opened.
    """
    path = pathlib.Path(path)
    with naming(path):
        with path.open("rb") as file:
            refuse_downloads_gone_wrong(file.read(16))
        try:  # an unknown dtype is looked up in NumPy: AttributeError
            with safetensors.safe_open(path, framework="np") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (safetensors.SafetensorError, AttributeError) as error:
            raise WeightsError(
                f"is no safetensors file that NumPy can hold ({str(error)[:200]!a}); "
                "fetch or write it again, in float32, float16 or bfloat16"
            ) from error
        if not tensors:
            raise WeightsError("holds no tensors, expected a state dict")
    return tensors
