"""Find objects in pictures with a trained checkpoint.

Writes a copy of each picture with boxes drawn on it, and one detections.json with the boxes in
pixels of the pictures (turned upright where a camera says so). Both grow picture by picture: what
was found stays, whatever ends the command. Nothing that exists is overwritten: a.jpg becomes
a-2.jpg where a.jpg is taken.

    yolor detect photos/ "more/*.png" --checkpoint runs/first --output found
"""

import argparse
import collections
import glob
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from yolor_jax import paths
from yolor_jax.cli.arguments import add_step_argument, any_path, local_path
from yolor_jax.errors import InputError, sentence

if TYPE_CHECKING:
    import numpy as np

    from yolor_jax.inference.predictor import Prediction, Predictor

KEPT_ENDINGS = {".jpg", ".jpeg", ".png"}  # others are drawn as .jpg


class Inputs(NamedTuple):
    """The files that were asked for.

    Attributes:
        files: each once.
        problems: a sentence for each argument that names none.
        passed_over: a sentence for each folder that holds others.
    """

    files: list[pathlib.Path]
    problems: list[str]
    passed_over: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor detect``."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file, folder or glob")
    parser.add_argument(
        "--checkpoint",
        type=any_path,
        required=True,
        metavar="PATH",
        help="folder of a training run, or a file of weights",
    )
    add_step_argument(parser)
    parser.add_argument(
        "--output",
        type=local_path,
        default=pathlib.Path("detections"),
        metavar="DIR",
        help="where to write (%(default)s)",
    )
    parser.add_argument(
        "--score", type=_fraction, default=0.25, help="least score of a box, 0..1 (%(default)s)"
    )
    parser.add_argument(
        "--iou",
        type=_fraction,
        default=0.45,
        help="a box goes if a better one of its class overlaps it by more, 0..1 (%(default)s)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="side of the network's input in pixels (that of the training)",
    )
    parser.add_argument(
        "--fold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="merge implicit knowledge and batch norm into the convolutions: same boxes, faster",
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor detect``.

    Returns:
        0; or 1 if some of the inputs could not be read.

    Raises:
        InputError: nothing could be read, or the checkpoint is of no use.
    """
    files, problems, passed_over = find_files(args.images)
    if not files:
        raise InputError("; ".join(problems))
    predictor, meta = _load(args)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {args.output}: {error.strerror}") from error

    report = None
    for file in files:
        try:
            picture = read_picture(file)
        except ValueError as error:
            problems.append(str(error))
            continue
        [prediction] = predictor([picture.image])
        record = _save(file, picture.image, prediction, meta["class_names"], args.output)
        report = report or GrowingReport(
            unused(args.output / "detections.json"), _settings(args, meta, predictor)
        )
        report.add(record)
        note = f" (the first of {picture.frames} frames)" if picture.frames > 1 else ""
        print(f"{file}{note}: {_counts(record['detections'])}", flush=True)
    if report is None:
        raise InputError("; ".join(problems))
    print(f"{report.length} annotated and their boxes listed in {report.path}")
    for said in [*passed_over, *(f"left out: {problem}" for problem in problems)]:
        print(f"yolor detect: {said}", file=sys.stderr)
    return 1 if problems else 0


class GrowingReport:
    """A JSON file of settings and a list of images, whole after each image that is added."""

    END = b"\n]}\n"

    def __init__(self, path: pathlib.Path, settings: Mapping[str, Any]):
        """Begins the file.

        Args:
            path: where nothing is yet.
            settings: stand before the images.
        """
        self.path = path
        self.length = 0
        start = f'{json.dumps(settings)[:-1]}, "images": ['
        path.write_bytes(start.encode() + self.END)

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one image, on a line of its own."""
        line = ("," if self.length else "") + "\n" + json.dumps(record)
        with open(self.path, "r+b") as file:
            file.seek(-len(self.END), os.SEEK_END)
            file.write(line.encode() + self.END)
        self.length += 1


def _settings(
    args: argparse.Namespace, meta: Mapping[str, Any], predictor: "Predictor"
) -> dict[str, Any]:
    """What detections.json says before the images."""
    return {
        "checkpoint": str(args.checkpoint),
        "model": meta["model"],
        "image_size": predictor.size[0],
        "score_threshold": args.score,
        "iou_threshold": args.iou,
        "class_names": meta["class_names"],
    }


def find_files(arguments: list[str]) -> Inputs:
    """The image files that arguments stand for, each once, in order.

    Args:
        arguments: files (of any name), folders (the images directly in them) or globs.

    Returns:
        ``Inputs``.
    """
    from yolor_jax.data.encoded import SUFFIXES

    files: dict[pathlib.Path, pathlib.Path] = {}
    problems, passed_over = [], []
    for argument in arguments:
        found, others = [], []
        try:
            found, others = _matches(argument)
        except (OSError, ValueError) as error:
            problems.append(f"{argument}: {error}")
        for file in found:
            files.setdefault(file.resolve(), file)
        if others:
            names = ", ".join(path.name for path in others[:3]) + ", ..." * (len(others) > 3)
            passed_over.append(
                f"{argument}: passed over {len(others)} files that are no images of a known kind "
                f"({names}); expected {', '.join(SUFFIXES)}"
            )
    return Inputs(list(files.values()), problems, passed_over)


def _matches(argument: str) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The files that one argument stands for, and the others of a folder.

    Raises:
        InputError: there are none.
    """
    from yolor_jax.data.encoded import SUFFIXES

    path = paths.local_path(argument)
    if path.is_file():
        return [path], []
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        found = [file for file in files if file.suffix.lower() in SUFFIXES]
        if not found:
            raise InputError(f"no image in this folder (endings: {', '.join(SUFFIXES)})")
        return found, [file for file in files if file.suffix.lower() not in SUFFIXES]
    matches = map(pathlib.Path, sorted(glob.glob(str(path), recursive=True)))
    found = [match for match in matches if match.is_file()]
    if not found:
        raise InputError("no such file")
    return found, []


class Picture(NamedTuple):
    """An image and the number of its frames, of which it is the first."""

    image: "np.ndarray"
    frames: int


def read_picture(path: pathlib.Path) -> Picture:
    """Reads a picture as RGB uint8 [H, W, 3], upright.

    Raises:
        InputError: it is not a complete image; the message has the path.
    """
    from yolor_jax.data import encoded

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(sentence(error)) from error
    try:
        return Picture(encoded.upright(data), encoded.read_header(data).frames)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def unused(path: pathlib.Path) -> pathlib.Path:
    """The path itself if nothing is there, else the first free one of name-2, name-3 and so on."""
    return next(candidate for candidate in _candidates(path) if not candidate.exists())


def _candidates(path: pathlib.Path) -> Iterator[pathlib.Path]:
    yield path
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}")


def _load(args: argparse.Namespace) -> tuple["Predictor", Mapping[str, Any]]:
    """The network of the checkpoint, ready to predict, and what the checkpoint says of it."""
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.inference.predictor import NmsConfig, Predictor
    from yolor_jax.runs.trained import load

    quiet_libraries()
    use_compilation_cache()
    checkpoint = load(args.checkpoint, args.step)
    if args.fold and not checkpoint.fused:
        checkpoint = checkpoint.folded()
    meta = checkpoint.meta
    predictor = Predictor(
        checkpoint.module,
        checkpoint.variables,
        image_size=meta["image_size"] if args.image_size is None else args.image_size,
        nms=NmsConfig(score_threshold=args.score, iou_threshold=args.iou),
    )
    return predictor, meta


def _save(
    file: pathlib.Path,
    image: "np.ndarray",
    prediction: "Prediction",
    class_names: Sequence[str],
    output: pathlib.Path,
) -> dict[str, Any]:
    """Writes the annotated copy; returns what detections.json says of the picture."""
    from yolor_jax.pictures.drawing import draw_boxes, save_image

    boxes_xyxy, scores, labels = prediction
    ending = file.suffix if file.suffix.lower() in KEPT_ENDINGS else ".jpg"
    copy = unused(output / (file.stem + ending))
    try:
        save_image(copy, draw_boxes(image, boxes_xyxy, labels, scores, class_names=class_names))
    except OSError as error:
        raise InputError(str(error)) from error
    height, width = image.shape[:2]
    detections = [
        {
            "name": class_names[label],
            "label": label,
            "score": round(score, 4),
            "box_xyxy": [round(v, 2) for v in box_xyxy],
        }
        for label, score, box_xyxy in zip(
            labels.tolist(), scores.tolist(), boxes_xyxy.tolist(), strict=True
        )
    ]
    return {
        "file": str(file),
        "annotated": copy.name,
        "height": height,
        "width": width,
        "detections": detections,
    }


def _counts(detections: list[dict]) -> str:
    """For the terminal, for instance ``2 person, 1 dog``."""
    names = collections.Counter(detection["name"] for detection in detections)
    return ", ".join(f"{number} {name}" for name, number in names.most_common()) or "nothing found"


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number from 0 to 1")
    return value
