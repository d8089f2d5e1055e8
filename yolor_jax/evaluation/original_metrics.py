"""Precision, recall, mAP and F1 as the original YOLOR computes them: not COCO's numbers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class OriginalMetrics:
    """The original's numbers, means over classes with objects; None where no class has any.

    Attributes:
        precision: at confidence 0.1, IoU 0.5.
        recall: at confidence 0.1, IoU 0.5.
        f1: of the two, by class, at confidence 0.1, IoU 0.5.
        map50: the mean of AP at IoU 0.5.
        map: the mean of AP over IoU 0.50:0.95.
        fitness: 0.1 map50 + 0.9 map, by which the original chooses its best checkpoint.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    map50: float | None
    map: float | None
    fitness: float | None
