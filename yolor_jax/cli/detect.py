"""Find objects in pictures, films, cameras and streams with a trained checkpoint.

A SOURCE is an image, a folder, a glob, a list of files (.txt, one a line; - reads it from standard
input), a film, the number of a camera, or the URL of a stream.

Writes what was found to one file (detections.json by default), with boxes in pixels of the pictures
(turned upright where a camera says so), and a copy of each picture or film with boxes drawn on it.
The file grows as pictures are done: what was found stays, whatever ends the command, and --resume
goes on. Nothing that exists is overwritten: a.jpg becomes a-2.jpg where a.jpg is taken.

    yolor detect photos/ "more/*.png" --checkpoint runs/first --output found
    yolor detect film.mp4 --checkpoint runs/first
    find /data -name "*.jpg" | yolor detect - --checkpoint runs/first --pictures none
"""

import argparse
import contextlib
import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from yolor_jax.cli.arguments import add_step_argument, any_path, local_path
from yolor_jax.cli.detection_words import Words
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.inference.sources import Sources
    from yolor_jax.runs.trained import ObjectFinder, Trained

BATCH_SIZE = 8
"""Pictures that go through the network together, if there are so many and nobody says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor detect``."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to look at")
    parser.add_argument(
        "--recursive", action="store_true", help="look through the folders in folders too"
    )
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N",
        help="do the I-th of N shares of the pictures, in a folder of its own below --output",
    )  # fmt: skip
    _add_network_arguments(parser)
    output = parser.add_argument_group("what is written")
    output.add_argument(
        "--output", type=local_path, default=pathlib.Path("detections"), metavar="DIR",
        help="where to write (%(default)s)",
    )  # fmt: skip
    output.add_argument(
        "--format", choices=("json", "jsonl", "coco", "yolo", "csv"), default="json",
        help="of what was found (%(default)s)",
    )  # fmt: skip
    output.add_argument(
        "--pictures", choices=("none", "drawn", "crops"), default="drawn",
        help="copies with boxes drawn on them, or each object alone (%(default)s)",
    )  # fmt: skip
    output.add_argument(
        "--resume", action="store_true",
        help="go on with the file of before, and pass over what it lists",
    )  # fmt: skip


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares which network, and how it looks."""
    network = parser.add_argument_group("network")
    network.add_argument(
        "--checkpoint", type=any_path, required=True, metavar="PATH",
        help="folder of a training run, or a file of weights",
    )  # fmt: skip
    add_step_argument(network)
    network.add_argument(
        "--score", type=_fraction, default=0.25, help="least score of a box, 0..1 (%(default)s)"
    )
    network.add_argument(
        "--iou", type=_fraction, default=0.45,
        help="a box goes if a better one of its class overlaps it by more, 0..1 (%(default)s)",
    )  # fmt: skip
    network.add_argument(
        "--class-agnostic", action="store_true", help="... if a better one of any class does"
    )
    network.add_argument(
        "--classes", nargs="+", metavar="CLASS", help="names or numbers of those to look for (all)"
    )
    network.add_argument(
        "--max", type=_positive, default=300, metavar="N",
        help="boxes of a picture at most, best first (%(default)s)",
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
        "--batch-size", type=_positive, metavar="N",
        help=f"pictures that go through the network together ({BATCH_SIZE}; of a camera 1)",
    )  # fmt: skip
    network.add_argument(
        "--threads", type=_positive, metavar="N",
        help="that read pictures, and as many that draw (one a core)",
    )  # fmt: skip
    network.add_argument(
        "--fold", action=argparse.BooleanOptionalAction, default=True,
        help="merge implicit knowledge and batch norm into the convolutions: same boxes, faster",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor detect``.

    Returns:
        0; 1 if some of the sources could not be read; 130 if it was interrupted.

    Raises:
        InputError: there is nothing to look at, none of the pictures can be read, or the checkpoint
            is of no use.
    """
    from yolor_jax.inference.sources import find

    if args.embed and args.format not in ("json", "jsonl"):
        raise InputError(f"--format {args.format} has no place for vectors; expected json or jsonl")
    found = find(args.sources, recursive=args.recursive)
    if not found.sources:
        raise InputError("; ".join(found.problems))
    if args.shard:
        found = found.share(*args.shard)
        args.output = args.output / "shard-{}-of-{}".format(*args.shard)
    trained, finder = _load(args, found)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {args.output}: {error.strerror}") from error
    with _interruption() as interrupted:
        return _detect(args, found, trained, finder, interrupted)


def _load(args: argparse.Namespace, found: "Sources") -> tuple["Trained", "ObjectFinder"]:
    """The network of the checkpoint, and it ready to find objects."""
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.runs.trained import load

    quiet_libraries()
    use_compilation_cache()
    trained = load(args.checkpoint, args.step)
    finder = trained.predictor(
        batch_size=args.batch_size or _batch_size(found),
        score=args.score,
        iou=args.iou,
        classes=args.classes and [_class(name, trained.class_names) for name in args.classes],
        class_agnostic=args.class_agnostic,
        max_detections=args.max,
        tta=args.tta,
        rect=args.rect,
        embed=args.embed,
        fold=args.fold,
        image_size=args.image_size,
        dtype=args.dtype,
    )
    return trained, finder


def _batch_size(found: "Sources") -> int:
    """No more than there are pictures; one where pictures come as somebody waits for them."""
    from yolor_jax.inference.film import Film

    films = [source for source in found.sources if isinstance(source, Film)]
    if any(film.is_live for film in films):
        return 1
    return BATCH_SIZE if films else min(BATCH_SIZE, max(found.pictures, 1))


def _class(name: str, class_names: Sequence[str]) -> str | int:
    """A class by its name; by its number if none has that name."""
    return int(name) if name.isdecimal() and name not in class_names else name


def _detect(
    args: argparse.Namespace,
    found: "Sources",
    trained: "Trained",
    finder: "ObjectFinder",
    interrupted: Callable[[], bool],
) -> int:
    """Looks at everything, and says what was found and what was left out; the exit code."""
    from yolor_jax.inference.frame import Unread
    from yolor_jax.inference.sources import Pictures
    from yolor_jax.inference.writers import open_writer
    from yolor_jax.runs.detection import Detection

    writer = open_writer(
        args.format, args.output, _settings(args, trained, finder), resume=args.resume
    )
    work = Detection(
        finder.predictor,
        trained.class_names,
        writer,
        args.output,
        pictures=args.pictures,
        threads=args.threads or len(os.sched_getaffinity(0)),
        stop=interrupted,
    )
    left_out = list(found.problems)
    left_out = list(found.problems)
    words = Words(found, writer.path, args)
    try:
        for one in work.each(found.sources):
            if isinstance(one, Unread):
                left_out.append(one.reason)
            else:
                words.say(one)
    except (KeyboardInterrupt, OSError):
        words.end(work.speed(), left_out)
        raise
    pictures_only = all(isinstance(source, Pictures) for source in found.sources)
    if left_out and pictures_only and not words.frames and not writer.done and not interrupted():
        raise InputError("; ".join(left_out))
    words.end(work.speed(), left_out)
    if interrupted():
        raise KeyboardInterrupt
    return 1 if left_out else 0


def _settings(
    args: argparse.Namespace, trained: "Trained", finder: "ObjectFinder"
) -> dict[str, Any]:
    """What the file of detections says before the pictures."""
    asked = {
        "classes": args.classes,
        "class_agnostic": args.class_agnostic,
        "max_detections": args.max,
        "rect": args.rect,
        "tta": args.tta,
        "embed": args.embed,
        "dtype": args.dtype,
    }
    return {
        "checkpoint": str(args.checkpoint),
        "step": trained.meta.get("step"),
        "model": trained.meta["model"],
        "image_size": finder.image_size,
        "score_threshold": args.score,
        "iou_threshold": args.iou,
        **asked,
        "class_names": list(trained.class_names),
    }


@contextlib.contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Makes Ctrl-C a question, so that what was begun is finished; a second one ends at once."""
    arrived = False

    def arrive(*_) -> None:
        nonlocal arrived
        arrived = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, arrive)
    try:
        yield lambda: arrived
    finally:
        signal.signal(signal.SIGINT, before)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number from 0 to 1")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number from 1 on")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"got {text}, expected I/N, such as 1/8")
    return int(match[1]), int(match[2])
