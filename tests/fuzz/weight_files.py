"""Sound files of weights of each kind, of the smallest network."""

import dataclasses
import pathlib

import jax
import numpy as np
import safetensors.numpy

from tests.support import torch_archives
from tests.support.leaves import random_state_dict
from tests.support.saved_run import META
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.weights.convert import from_torch
from yolor_jax.weights.darknet_file import conv_sections, write_darknet
from yolor_jax.weights.store import save_variables


def sound_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """One of ours, one with the original's names, a PyTorch checkpoint and a darknet file.

    Darknet has no implicit knowledge. The zoo of this process becomes a small model with and one
    without it, for the shapes of all others take half a minute.
    """
    spec, num_classes = MODELS[META["model"]], META["num_classes"]
    plain = dataclasses.replace(with_implicit(spec, {}), name="plain")
    MODELS.clear()
    MODELS.update({spec.name: spec, plain.name: plain})
    tensors = random_state_dict(spec, num_classes)
    variables = jax.tree.map(np.asarray, from_torch(spec, tensors)[0])
    files = [folder / name for name in ("a.safetensors", "b.safetensors", "c.pt", "d.weights")]
    save_variables(files[0], variables, META | {"fused": False})
    safetensors.numpy.save_file(tensors, files[1])
    _write_torch(files[2], tensors)
    tensors = random_state_dict(plain, 80)
    sections = conv_sections({name: array.shape for name, array in tensors.items()})
    write_darknet(files[3], tensors, sections)
    return files


def _write_torch(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    value = torch_archives.mapping(
        {
            name: torch_archives.tensor(
                array.shape,
                [stride // array.itemsize for stride in array.strides],
                key=str(number),
                size=array.size,
            )
            for number, (name, array) in enumerate(tensors.items())
        }
    )
    torch_archives.save(path, value, {str(i): array for i, array in enumerate(tensors.values())})
