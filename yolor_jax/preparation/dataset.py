"""Opens any data set by its name or path, and prepares it where that has not been done.

`open_dataset` takes the name of a built-in data set (`BUILT_IN`), a folder in one
of the `formats`, or a TFDS directory with the features of coco/2017 in array_record files. The
first two are prepared into a TFDS directory once.

    source = open_dataset("shapes", "train", "prepared")
"""

import functools
import pathlib

from yolor_jax.data import split_names, stored
from yolor_jax.data.sources import Path, Source, open_source
from yolor_jax.paths import is_local, local_path, user_path
from yolor_jax.preparation import (
    annotations,
    fetched,
    films,
    formats,
    painting,
    prepare,
    shapes,
)

BUILT_IN = {
    "shapes": shapes.prepare,
    "shapes_night": functools.partial(shapes.prepare, name="shapes_night"),
    "shapes_film": films.prepare,
}
"""What draws a built-in data set, by its name."""


def open_dataset(
    path: Path,
    split: str,
    prepared_dir: Path,
    *,
    skip_broken: bool = False,
    shapes_sizes: dict[str, int] | None = None,
    progress: bool = True,
) -> Source:
    """Opens any data set, preparing it on first use.

    Args:
        path: one of `BUILT_IN`, a folder in one of the `formats`, or a TFDS directory; one of the
            last may lie in a bucket, and is copied.
        split: name of the split, as its files call it (``train2017``; shapes: ``train``).
        prepared_dir: where prepared data sets are kept.
        skip_broken: of a folder in one of the `formats`: leave out what is broken instead of
            stopping.
        shapes_sizes: of a built-in one: number of images of each split (its ``SIZES`` by default).
        progress: whether to show progress bars and the table of a preparation.

    Raises:
        InputError: if there is no such data set or split, or it is broken; the message says how.
    """
    if built_in := BUILT_IN.get(str(path)):
        directory = built_in(prepared_dir, sizes=shapes_sizes, progress=progress)
        return open_source(directory, split)
    path = user_path(path)
    if not is_local(path):
        return open_source(fetched.fetch(path, prepared_dir, progress=progress), split)
    if not is_prepared(path):
        report = prepare.prepare(
            path, split, prepared_dir, skip_broken=skip_broken, progress=progress
        )
        return open_source(report.directory, split)
    return open_source(path, split)


def find_splits(path: Path, prepared_dir: Path, *, progress: bool = True) -> list[str]:
    """Names of the splits of any data set; the arguments are those of `open_dataset`.

    Raises:
        InputError: there is no such data set, or it has no split.
    """
    if str(path) in BUILT_IN:
        return list(shapes.SIZES)
    path = user_path(path)
    if not is_local(path):
        return stored.find_splits(fetched.fetch(path, prepared_dir, progress=progress))
    if is_prepared(path):
        return stored.find_splits(path)
    return formats.require(path).find_splits(path)


def count_classes(path: Path, split: str) -> int:
    """K of a data set that need not be prepared, and is not for this.

    Args:
        path: as `open_dataset` takes it.
        split: name of one of its splits.

    Raises:
        InputError: there is no such data set or split.
    """
    if str(path) in BUILT_IN:
        return len(painting.CLASS_NAMES)
    path = local_path(path)
    if not is_prepared(path):
        original = formats.require(path).open_split(path, split)
        coco = annotations.parse(original.annotations(), original.where)
        return len(annotations.categories(coco, original.where))
    return len(open_source(path, split).class_names)


def read_ground_truth(path: Path, split: str | None) -> tuple[dict, str]:
    """What is in the images of a data set, which need not be there.

    Args:
        path: as `open_dataset` takes it, but local and not built in; or a file of annotations in
            COCO's format.
        split: name of the split; of a folder the one for evaluation if None. A file has none.

    Returns:
        images, annotations and categories in COCO's format, and the name of the split (of a file,
        its stem).

    Raises:
        InputError: there is no such data set or split, or an entry is broken.
    """
    path = local_path(path)
    if is_prepared(path):
        split = split or split_names.for_evaluation(stored.find_splits(path))
        return open_source(path, split).ground_truth(), split
    if path.is_file():
        return annotations.sound(path.read_bytes(), str(path)), path.stem
    kind = formats.require(path)
    split = split or split_names.for_evaluation(kind.find_splits(path))
    original = kind.open_split(path, split)
    return annotations.sound(original.annotations(), original.where), split


def is_prepared(path: pathlib.Path) -> bool:
    """Whether a data set is read as it is; if it is none at all, preparing it says so."""
    return formats.of(path) is None and stored.holds_info(path)
