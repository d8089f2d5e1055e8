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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import any_path
from yolor_jax.cli.detection_network import add_network_arguments, network_options, settings
from yolor_jax.cli.detection_words import Words
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.inference.carried import Carried, OnDisk
    from yolor_jax.inference.sources import Sources
    from yolor_jax.runs.exported import ExportedNetwork
    from yolor_jax.runs.finder import ObjectFinder
    from yolor_jax.runs.trained import Trained


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
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="of a Ray cluster that shares the pictures; or local"
    )
    add_network_arguments(parser)
    output = parser.add_argument_group("what is written")
    output.add_argument(
        "--output", type=any_path, default=pathlib.Path("detections"), metavar="DIR",
        help="where to write, on a disk or in a bucket (%(default)s)",
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


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor detect``.

    Returns:
        0; 1 if some of the sources could not be read; 130 if it was interrupted.

    Raises:
        InputError: there is nothing to look at, none of the pictures can be read, or the checkpoint
            is of no use.
    """
    from yolor_jax.inference.carried import output_folder
    from yolor_jax.inference.sources import find

    if args.embed and args.format not in ("json", "jsonl"):
        raise InputError(f"--format {args.format} has no place for vectors; expected json or jsonl")
    if args.scaled_decode and args.pictures != "none":
        raise InputError(
            "--scaled-decode leaves no pixels to draw on; expected --pictures none beside it"
        )
    if args.ray and args.pictures != "none":
        raise InputError("--ray draws no pictures; expected --pictures none beside it")
    if args.ray and args.exported:
        raise InputError("--ray sends weights to its workers; use --checkpoint, not --exported")
    found = find(args.sources, recursive=args.recursive)
    if not found.sources:
        raise InputError("; ".join(found.problems))
    if args.ray and found.films:
        raise InputError(f"--ray looks at pictures only; leave out {found.films[0].name}")
    if args.shard:
        found = found.share(*args.shard)
        args.output = args.output / "shard-{}-of-{}".format(*args.shard)
    trained = _load(args)
    finder = None
    if not args.ray:  # refuses before anything is made
        finder = trained.predictor(**network_options(args, found, trained))
    with _interruption() as interrupted, output_folder(args.output, resume=args.resume) as output:
        return _detect(args, found, trained, finder, output, interrupted)


def _load(args: argparse.Namespace) -> "Trained | ExportedNetwork":
    """The network of the checkpoint, or the exported file."""
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.runs.opening import load

    quiet_libraries()
    use_compilation_cache()
    if args.exported is not None:
        from yolor_jax.runs.exported import ExportedNetwork

        for name in ("step", "knowledge"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name} is fixed in an exported file; export it anew")
        return ExportedNetwork(args.exported)
    return load(args.checkpoint, args.step, knowledge=args.knowledge)


def _detect(
    args: argparse.Namespace,
    found: "Sources",
    trained: "Trained | ExportedNetwork",
    finder: "ObjectFinder | None",
    output: "OnDisk | Carried",
    interrupted: Callable[[], bool],
) -> int:
    """Looks at everything, and says what was found and what was left out; the exit code."""
    from yolor_jax.inference.frame import Unread
    from yolor_jax.inference.writers import open_writer
    from yolor_jax.runs.detection import Detection
    from yolor_jax.runs.many import ManyDetection

    folder = output.folder
    writer = open_writer(args.format, folder, settings(args, trained), resume=args.resume)
    threads = args.threads or len(os.sched_getaffinity(0))
    if finder is None:
        options = network_options(args, found, trained) | {"threads": args.threads}
        work = ManyDetection(trained, writer, args.ray, options, stop=interrupted)
    else:
        work = Detection(
            finder.predictor,
            trained.class_names,
            writer,
            folder,
            pictures=args.pictures,
            threads=threads,
            stop=interrupted,
        )
    left_out = list(found.problems)
    words = Words(found, output.place_of(writer.path), args)
    try:
        for one in work.each(found.sources):
            if isinstance(one, Unread):
                left_out.append(one.reason)
            else:
                words.say(one)
                output.carry()
    except (KeyboardInterrupt, OSError):
        words.end(work.speed(), left_out, finished=False)
        raise
    nothing = not (words.frames or writer.done or found.films or interrupted())
    if left_out and nothing:
        raise InputError("; ".join(left_out))
    words.end(work.speed(), left_out, finished=not interrupted())
    if interrupted():
        raise KeyboardInterrupt
    return 1 if left_out else 0


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


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"got {text}, expected I/N, such as 1/8")
    return int(match[1]), int(match[2])
