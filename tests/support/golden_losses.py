"""The golden loss cases as our functions take them: padded corner boxes, channels last."""

import functools
import json
import pathlib
import zlib
from typing import NamedTuple

import numpy as np

from yolor_jax.detection.losses import LossConfig

MAX_TARGETS = 32
CASES = (
    "nl3_nc80_unique", "nl3_nc80_crowd", "nl3_nc1_unique", "nl3_nc1_crowd", "nl3_nc3_unique",
    "nl3_nc3_crowd", "nl3_nc3_empty", "nl3_nc3_edge", "nl4_nc80_unique", "nl4_nc80_crowd",
    "nl4_nc1_unique", "nl4_nc1_crowd", "nl4_nc3_unique", "nl4_nc3_crowd", "nl4_nc3_empty",
    "nl4_nc3_edge", "nl5_nc3_crowd", "nl3_nc3_crowd_focal", "nl3_nc3_unique_focal",
    "nl3_nc3_unique_posweight", "nl3_nc3_unique_gr05", "tiny_nl3_nc3_unique",
)  # fmt: skip


class Case(NamedTuple):
    """One stored case; ``static`` are the keyword arguments of ``detection_loss``."""

    facts: dict
    stored: dict[str, np.ndarray]
    predictions: tuple[np.ndarray, ...]  # [B, h, w, A, 5 + K]
    targets: tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes_xyxy, labels, mask
    static: dict


@functools.cache
def load(folder: pathlib.Path, name: str) -> Case:
    """Reads one case, and draws its predictions, which are stored as a seed only."""
    facts = json.loads((folder / "cases.json").read_text())[name]
    stored = dict(np.load(folder / f"{name}.npz"))
    rng = np.random.Generator(np.random.PCG64(facts["pred_seed"]))
    predictions = []
    for shape, checksum in zip(stored["shapes"], facts["pred_crc32"], strict=True):
        drawn = 1.2 * rng.standard_normal((*shape[:4], facts["nc"] + 5))
        drawn = drawn.astype(np.float32)
        assert zlib.crc32(drawn.tobytes()) == checksum
        predictions.append(drawn.transpose(0, 2, 3, 1, 4))
    hyp = facts["hyp"]
    static = {
        "anchors": tuple(
            tuple((float(w), float(h)) for w, h in level * stride)
            for level, stride in zip(stored["anchors"], stored["strides"], strict=True)
        ),
        "strides": tuple(int(stride) for stride in stored["strides"]),
        "config": LossConfig(
            box=hyp["box"],
            objectness=hyp["obj"],
            classification=hyp["cls"],
            ratio_threshold=hyp["anchor_t"],
            iou_objectness=facts["gr"],
            class_pos_weight=hyp["cls_pw"],
            objectness_pos_weight=hyp["obj_pw"],
            focal_gamma=hyp["fl_gamma"],
        ),
    }
    return Case(facts, stored, tuple(predictions), _pad(stored["targets"], facts), static)


def _pad(rows: np.ndarray, facts: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of image, class, x, y, w, h; padding is garbage, for it must not matter."""
    batch = facts["B"]
    boxes_xyxy = np.full((batch, MAX_TARGETS, 4), np.nan, np.float32)
    boxes_xyxy[:, ::2] = [3e38, -3e38, -np.inf, np.inf]
    labels = np.full((batch, MAX_TARGETS), 10**6, np.int32)
    labels[:, ::3] = -7
    mask = np.zeros((batch, MAX_TARGETS), bool)
    wh = np.float32(facts["image_hw"][::-1])
    corners = corners_around(rows[:, 2:4] * wh, rows[:, 4:] * wh)
    for image in range(batch):
        of_image = rows[:, 0] == image
        number = of_image.sum()
        boxes_xyxy[image, :number] = corners[of_image]
        labels[image, :number] = rows[of_image, 1]
        mask[image, :number] = True
    return boxes_xyxy, labels, mask


def corners_around(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """float32 corners whose float32 centre is exactly ``centre``, and whose size is closest.

    The cases with centres on grid lines need them: rounding the two corners independently may
    move a centre by one unit in the last place, into another cell.
    """
    steps = np.arange(-4, 5)
    if not len(centre):
        return np.zeros((0, 4), np.float32)
    centre64, size64 = centre.astype(np.float64), size.astype(np.float64)
    unit = np.spacing(centre)[..., None]
    low = (centre64 - size64 / 2)[..., None].astype(np.float32) + steps * unit  # [n, 2, 9]
    high = (centre64 + size64 / 2)[..., None].astype(np.float32) + steps * unit
    low = low[..., :, None].astype(np.float32)
    high = high[..., None, :].astype(np.float32)
    exact = (low + high) / 2 == centre[..., None, None]
    miss = np.abs(high.astype(np.float64) - low - size64[..., None, None])
    miss = np.where(exact, miss, np.inf).reshape(*centre.shape, -1)
    best = miss.argmin(axis=-1)[..., None]
    assert np.isfinite(np.take_along_axis(miss, best, axis=-1)).all()
    low, high = (
        np.take_along_axis(np.broadcast_to(side, exact.shape).reshape(miss.shape), best, axis=-1)
        for side in (low, high)
    )
    return np.concatenate([low[..., 0], high[..., 0]], axis=-1)
