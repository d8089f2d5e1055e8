"""Turn a data set into the files that training reads.

SRC is a folder of COCO (annotations/instances_SPLIT.json, images in SPLIT/ or images/SPLIT/; or its
zip files, which are read without unpacking), YOLO text labels (data.yaml, images/, labels/), Pascal
VOC (Annotations/, JPEGImages/), MOTChallenge (SEQUENCE/gt/gt.txt), or COCO as Roboflow, CVAT and
Label Studio export it; or a coco/2017 that somebody prepared with TFDS as TFRecord, which is read
without TensorFlow. DST becomes a TFDS directory of array_record files. Every image is decoded and
every annotation checked. Killed in the middle, the same command goes on.

    yolor prepare data/coco
    yolor prepare data/pets.yaml
    yolor prepare data/coco data/prepared/coco --splits val2017
    yolor prepare bucket/coco/2017
    yolor prepare --verify data/prepared/coco
    yolor prepare --verify data/coco data/prepared/coco
"""

import argparse
import os
import pathlib
import shlex
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import local_path
from yolor_jax.errors import InputError
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.preparation.coco_files import Original
    from yolor_jax.preparation.report import Report

_FAULTS_SHOWN = 10
LIKE_COCO = 50_000
"""Images to train on; fewer get the recipe of one's own data proposed, not that of COCO."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor prepare``."""
    parser.add_argument("source", metavar="SRC", type=local_path, help="the data set")
    parser.add_argument(
        "target", metavar="DST", type=local_path, nargs="?",
        help="folder to make (data/prepared/NAME, by the name of SRC)",
    )  # fmt: skip
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="only these (all)")
    parser.add_argument(
        "--skip-broken", action="store_true",
        help="leave out what is broken, and count it, instead of stopping",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N",
        help="processes that read and write (%(default)s); the files are the same for any number",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="ADDRESS",
        help="work on a Ray cluster that reaches SRC and DST, or on one started here: local",
    )  # fmt: skip
    parser.add_argument(
        "--verify", action="store_true",
        help="make nothing: decode and count all that is in SRC, a prepared data set; or in DST, "
        "and compare it with SRC to the byte",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor prepare``.

    Returns:
        0; of ``--verify``, 1 if something is wrong with the data.

    Raises:
        InputError: the data set cannot be used as it is, or DST not be written.
    """
    if args.verify:
        return _verify(args)
    from yolor_jax.preparation.dataset import BUILT_IN
    from yolor_jax.preparation.parallel import Workers
    from yolor_jax.preparation.prepare import prepare_splits

    if args.workers < 1:
        raise InputError(f"--workers is {args.workers}; expected at least 1")
    if str(args.source) in BUILT_IN:
        raise InputError(f"the built-in {args.source} are drawn on first use; nothing to prepare")
    name, originals = _open(args.source.resolve(), args.splits)
    target = args.target or pathlib.Path("data/prepared") / name
    workers = Workers(args.workers, args.ray)
    reports = prepare_splits(originals, target, skip_broken=args.skip_broken, workers=workers)
    print(_table(reports))
    print(f"{target} is ready. Next:\n  {_next(target, reports)}")
    return 0


def _open(source: pathlib.Path, splits: list[str] | None) -> tuple[str, list["Original"]]:
    """Name of the data set, and the splits that were asked for, or all."""
    from yolor_jax.data import stored
    from yolor_jax.preparation import formats, tfrecord_split

    if formats.of(source) or not stored.holds_info(source):
        format_ = formats.require(source)
        splits = splits or format_.find_splits(source)
        originals = [format_.open_split(source, split) for split in splits]
        print(f"data: {format_.NAME} ({format_.recognises(source)}); splits: {', '.join(splits)}")
        return (source.stem if source.is_file() else source.name), originals
    splits = splits or stored.find_splits(source)
    print(f"data: TFDS directory; splits: {', '.join(splits)}")
    builders = [stored.open_builder(source, split)[1] for split in splits]
    if stored.is_array_record(builders[0]):
        raise InputError(
            f"{source} holds array_record files, which training reads as they are "
            f"(--config.data.path={source}); to look through them: yolor prepare --verify {source}"
        )
    originals = [tfrecord_split.open_split(source, split, progress=True) for split in splits]
    return builders[0].info.name, originals


def _table(reports: dict[str, "Report"]) -> str:
    """A line for each split."""
    rows = [("split", "images", "annotations", "targets", "left out")]
    for split, report in reports.items():
        counts = report.images, report.annotations, report.targets, report.broken
        rows.append((split, *(f"{count:,}" for count in counts)))
    return text_table(rows)


def _next(target: pathlib.Path, reports: dict[str, "Report"]) -> str:
    """The command that uses what was made."""
    from yolor_jax.data import split_names

    splits = list(reports)
    data = ["--data", str(target)]
    train = split_names.for_training(splits)
    if train is None:
        split = split_names.for_evaluation(splits)
        return shlex.join(["yolor", "eval", "--workdir", "WORKDIR", *data, "--split", split])
    recipe = ["coco640:yolor_csp"] if reports[train].images >= LIKE_COCO else []
    command = shlex.join(["yolor", "train", *recipe, *data, *split_names.flags(splits)])
    if train == split_names.for_evaluation(splits):
        command += "  # with one split, evaluation is of the images of training"
    return command


def _verify(args: argparse.Namespace) -> int:
    """Looks through a prepared data set, prints what is in it, and compares it with its source."""
    from yolor_jax.data.sources import open_source
    from yolor_jax.data.stored import find_splits
    from yolor_jax.preparation.verify import compare, verify

    if args.skip_broken:
        raise InputError("--verify makes nothing; leave out --skip-broken")
    prepared = args.target or args.source
    splits = args.splits or find_splits(prepared)
    sources = {split: open_source(prepared, split) for split in splits}
    originals = _open(args.source.resolve(), splits)[1] if args.target else []
    faults = []
    rows = [("split", "images", "targets", "faults")]
    for split, source in sources.items():
        found = verify(source)
        differences = [d for o in originals if o.split == split for d in compare(source, o)]
        faults += [f"{split}: {fault}" for fault in (*found.faults, *differences)]
        count = len(found.faults) + len(differences)
        rows.append((split, f"{found.images:,}", f"{found.targets:,}", f"{count:,}"))
    print(text_table(rows))
    for fault in faults[:_FAULTS_SHOWN]:
        print(fault)
    if len(faults) > _FAULTS_SHOWN:
        print(f"... {len(faults)} in all")
    return 1 if faults else 0
