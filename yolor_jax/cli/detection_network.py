"""Which network ``yolor detect`` uses, and how it looks: arguments, and what becomes of them."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from yolor_jax.cli.arguments import (
    add_knowledge_argument,
    add_step_argument,
    any_path,
    network_path,
    positive,
)

if TYPE_CHECKING:
    from yolor_jax.inference.prediction import NmsConfig
    from yolor_jax.inference.sources import Sources
    from yolor_jax.runs.exported import ExportedNetwork
    from yolor_jax.runs.trained import Trained

BATCH_SIZE = 8
"""Pictures that go through the network together, if there are so many and nobody says."""
SMALL = 256
"""Side in pixels up to which there are more of them, for so few leave a part of the cores idle."""
BATCH_SIZE_OF_SMALL = 32


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares which network, and how it looks."""
    network = parser.add_argument_group("network")
    which = network.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--checkpoint", type=network_path, metavar="PATH",
        help="folder of a training run, a file of weights, or hf://ORG/NAME",
    )  # fmt: skip
    which.add_argument(
        "--exported", type=any_path, metavar="FILE",
        help="file of `yolor export`, by its own runtime",
    )  # fmt: skip
    add_step_argument(network)
    add_knowledge_argument(network)
    network.add_argument(
        "--score", type=_fraction,
        help="least score of a box, 0..1 (0.25; of a file with NMS inside, its own)",
    )  # fmt: skip
    network.add_argument(
        "--iou", type=_fraction,
        help="a box goes if a better one of its class overlaps it by more, 0..1 (0.45; likewise)",
    )  # fmt: skip
    network.add_argument(
        "--class-agnostic", action="store_true", help="... if a better one of any class does"
    )
    network.add_argument(
        "--classes", nargs="+", metavar="CLASS", help="names or numbers of those to look for (all)"
    )
    network.add_argument(
        "--max", type=positive, metavar="N",
        help="boxes of a picture at most, best first (300; likewise)",
    )  # fmt: skip
    network.add_argument(
        "--image-size", type=int, metavar="N",
        help="side of the network's input in pixels (that of the training)",
    )  # fmt: skip
    network.add_argument(
        "--rect", action="store_true",
        help="canvases that follow the shapes of the pictures: faster, each shape is compiled once",
    )  # fmt: skip
    network.add_argument(
        "--tta", action="store_true",
        help="test-time augmentation: look at three views of each picture",
    )  # fmt: skip
    network.add_argument(
        "--embed", action="store_true",
        help="give each box a vector by which its object is known again (json and jsonl)",
    )  # fmt: skip
    network.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32",
        help="of activations (%(default)s)",
    )  # fmt: skip
    network.add_argument(
        "--batch-size", type=positive, metavar="N",
        help="pictures that go through the network together "
        f"({BATCH_SIZE}; {BATCH_SIZE_OF_SMALL} up to {SMALL} pixels; of a camera 1)",
    )  # fmt: skip
    network.add_argument(
        "--threads", type=positive, metavar="N",
        help="that read pictures, and as many that draw (one a core)",
    )  # fmt: skip
    network.add_argument(
        "--scaled-decode", action="store_true",
        help="decode a JPEG at 1/2, 1/4 or 1/8 of its sides where the network takes no more pixels "
        "than that: faster, boxes differ a little; with --pictures none",
    )  # fmt: skip
    network.add_argument(
        "--fold", action=argparse.BooleanOptionalAction, default=True,
        help="merge implicit knowledge and batch norm into the convolutions: same boxes, faster",
    )  # fmt: skip


def network_options(
    args: argparse.Namespace, found: "Sources", trained: "Trained | ExportedNetwork"
) -> dict[str, Any]:
    """Of `Trained.predictor`."""
    nms = _nms(args, trained)
    return {
        "batch_size": args.batch_size or batch_size(found, args.image_size or trained.image_size),
        "score": nms.score_threshold,
        "iou": nms.iou_threshold,
        "classes": args.classes and [_class(name, trained.class_names) for name in args.classes],
        "class_agnostic": args.class_agnostic,
        "max_detections": nms.max_detections,
        "tta": args.tta,
        "rect": args.rect,
        "embed": args.embed,
        "fold": args.fold,
        "image_size": args.image_size,
        "dtype": args.dtype,
        "scaled_decode": args.scaled_decode,
    }


def batch_size(found: "Sources", image_size: int) -> int:
    """No more than there are pictures; one where pictures come as somebody waits for them.

    Args:
        found: the pictures and films.
        image_size: side of the network's input in pixels.
    """
    if any(film.is_live for film in found.films):
        return 1
    most = BATCH_SIZE_OF_SMALL if image_size <= SMALL else BATCH_SIZE
    return most if found.films else min(most, max(found.pictures, 1))


def settings(args: argparse.Namespace, trained: "Trained | ExportedNetwork") -> dict[str, Any]:
    """What the file of detections says before the pictures."""
    nms = _nms(args, trained)
    asked = {
        "classes": args.classes,
        "class_agnostic": args.class_agnostic,
        "max_detections": nms.max_detections,
        "rect": args.rect,
        "tta": args.tta,
        "embed": args.embed,
        "dtype": trained.meta.get("dtype", args.dtype),  # an exported file has its own
        "scaled_decode": args.scaled_decode,
    }
    return {
        "checkpoint": str(args.exported or args.checkpoint),
        "step": trained.meta.get("step"),
        "knowledge": args.knowledge,
        "model": trained.meta["model"],
        "image_size": args.image_size or trained.image_size,
        "score_threshold": nms.score_threshold,
        "iou_threshold": nms.iou_threshold,
        **asked,
        "class_names": list(trained.class_names),
    }


def _nms(args: argparse.Namespace, trained: "Trained | ExportedNetwork") -> "NmsConfig":
    """What is a detection: as it was asked for, and else as the network has it."""
    asked = {
        "score_threshold": args.score,
        "iou_threshold": args.iou,
        "max_detections": args.max,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return dataclasses.replace(trained.nms, **given)


def _class(name: str, class_names: Sequence[str]) -> str | int:
    """A class by its name; by its number if none has that name."""
    return int(name) if name.isdecimal() and name not in class_names else name


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number from 0 to 1")
    return value
