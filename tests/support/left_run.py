"""A workdir as a finished run leaves it, without the run: nothing is trained or compiled for it."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from tests.support.leaves import random_leaves
from tests.support.saved_run import META, save_run
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.evaluation.coco import coco_metrics
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.runs import evaluation_folder, recipe, stamps
from yolor_jax.runs.evaluation_mode import PLAIN, Mode
from yolor_jax.stamp import stamp

STEPS = 40
PATHS = [f"head/level{level}/implicit_{side}" for level in range(3) for side in ("before", "after")]


class Results(NamedTuple):
    """What an evaluation is of, as `evaluation_folder.write` wants it."""

    metrics: dict
    results: list
    truth: dict
    data: str
    split: str
    step: int | None
    mode: Mode

    @property
    def curves(self) -> None:
        return None

    @property
    def name(self) -> str:
        return f"{pathlib.Path(self.data).name}-{self.split}-step{self.step}{self.mode.suffix()}"

    def about(self) -> dict[str, Any]:
        """What was evaluated, and how."""
        how = {"image_size": 64, "folded": True, **self.mode.to_dict(), "backend": "by hand"}
        return {
            "data": self.data, "split": self.split, "step": self.step,
            "images": len(self.truth["images"]), "model": "yolor_test", "mode": how,
        }  # fmt: skip

    def compared(self) -> tuple[dict, list]:
        return self.mode.scored(self.truth, self.results)


def found(truth: dict, *, seed: int) -> list[dict]:
    """Detections as a middling network has them: moved, mistaken, missed, and some of nothing."""
    rng = np.random.default_rng(seed)
    ids = [category["id"] for category in truth["categories"]]
    boxes = []
    for annotation in truth["annotations"]:
        if rng.random() < 0.2:
            continue
        side = max(annotation["bbox"][2:])
        box = np.array(annotation["bbox"]) + rng.normal(size=4) * 0.06 * side
        label = annotation["category_id"] if rng.random() < 0.85 else int(rng.choice(ids))
        boxes.append((annotation["image_id"], label, box, rng.uniform(0.2, 0.98)))
    for image in truth["images"]:
        box = rng.uniform(4, 40, 4)
        boxes.append((image["id"], int(rng.choice(ids)), box, rng.uniform(0.01, 0.6)))
    return [
        {"image_id": image_id, "category_id": label, "score": float(score),
         "bbox": [*box[:2].tolist(), *np.maximum(box[2:], 1).tolist()]}
        for image_id, label, box, score in boxes
    ]  # fmt: skip


def leave_evaluation(
    root: pathlib.Path, data: Any, *, seed: int = 0, step: int | None = STEPS, mode: Mode = PLAIN
) -> pathlib.Path:
    """Writes the folder of an evaluation on the validation split of a data set; gives it."""
    source = open_dataset(str(data), "validation", data)
    truth = source.ground_truth()
    results = found(truth, seed=seed)
    metrics = coco_metrics(*mode.scored(truth, results))
    evaluated = Results(metrics, results, truth, str(data), "validation", step, mode)
    return evaluation_folder.write(root, evaluated)[0]


def leave_run(workdir: pathlib.Path, data: Any, *, seed: int = 0, drift: bool = True) -> None:
    """Writes recipe, stamp, metrics, a checkpoint and an evaluation.

    Args:
        workdir: of the run.
        data: a TFDS directory with shapes.
        seed: of the recipe and of all that is drawn.
        drift: whether the metrics tell how far implicit knowledge has moved.
    """
    workdir.mkdir(parents=True)
    config = small_recipe(data)
    config.seed = seed
    recipe.save(typed(config), workdir)
    stamps.write(workdir, [stamp()])
    rng = np.random.default_rng(seed)
    with (workdir / "metrics.jsonl").open("w") as file:
        for step in range(1, STEPS + 1):
            row = {"step": step, "learning_rate": 0.01, "images_per_second": 40 + step % 7}
            row |= {f"loss/{n}": 3 / step + 0.1 * rng.random() for n in ("box", "total")}
            if step % 20 == 0:
                row |= {"eval/AP": step / 100, "eval/AP50": step / 80, "eval/AP75": step / 120}
                if drift:
                    row |= {f"implicit/{path}": step / 50 for path in PATHS}
                    row |= {f"implicit_rank/{path}": 60 / step for path in PATHS[1::2]}
            file.write(json.dumps(row) + "\n")
    names = open_dataset(str(data), "validation", data).class_names
    variables = random_leaves(variable_shapes(build("yolor_test", len(names))), seed=seed)
    meta = META | {"num_classes": len(names), "class_names": list(names)}
    save_run(workdir, variables, step=STEPS, meta=meta)
    leave_evaluation(workdir / evaluation_folder.FOLDER, data, seed=seed)
