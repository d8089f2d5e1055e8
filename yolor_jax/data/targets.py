"""The exact boxes and the annotations of a prepared split: two files beside its TFDS records.

`preparation.records` writes them and says why they are there; `data.sources` reads them.
"""

import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64


class Targets(NamedTuple):
    """The exact boxes of ``N`` images; those of image i are rows start[i]:start[i + 1].

    ``size_hw`` is height and width of the images in pixels; None in files of older versions.
    """

    category_ids: Int64[np.ndarray, " K"]
    image_ids: Int64[np.ndarray, " N"]
    start: Int64[np.ndarray, " N+1"]
    boxes_xyxy: Float32[np.ndarray, "M 4"]
    labels: Int32[np.ndarray, " M"]
    is_crowd: Bool[np.ndarray, " M"]
    size_hw: Int32[np.ndarray, "N 2"] | None = None


def ground_truth_path(directory: pathlib.Path, split: str) -> pathlib.Path:
    """Where the COCO-format annotations of a split lie."""
    return directory / f"ground_truth_{split}.json"


def targets_path(directory: pathlib.Path, split: str) -> pathlib.Path:
    """Where the `Targets` of a split lie."""
    return directory / f"targets_{split}.npz"
