"""How prepared data lies on disk: a TFDS directory with two sidecars.

TFDS stores what it always stores of COCO (`shards.coco_features`), in array_record files, so any
TFDS reader understands it. It cuts `area` to an integer and boxes to normalised float32, therefore
each split has two files beside it: `ground_truth_{split}.json`, COCO format with every number as it
was (for evaluation), and `targets_{split}.npz`, the exact boxes in pixels (for training). Records
stand in the order in which they were given.

A directory appears under its name when it is complete: its shards are written into `partial_path`,
and what was written there once is not written again.

    categories = [{"id": 1, "name": "disc"}]
    write(directory, name="shapes", categories=categories, splits={"train": records})
"""

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from yolor_jax.data.targets import Targets, ground_truth_path, targets_path
from yolor_jax.errors import InputError
from yolor_jax.preparation.identities import numbered
from yolor_jax.preparation.shards import (
    EXAMPLES_PER_SHARD,
    Record,
    coco_features,
    shard_path,
    shards,
    write_shard,
)


@contextlib.contextmanager
def lock(directory: pathlib.Path) -> Iterator[None]:
    """Lets one process of a machine prepare `directory`; others wait. A killed one lets go."""
    with open(directory.with_name(f".{directory.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def partial_path(directory: pathlib.Path) -> pathlib.Path:
    """Where the files of a directory lie until it is complete."""
    return directory.with_name(f".{directory.name}.partial")


def write(
    directory: pathlib.Path,
    *,
    name: str,
    categories: list[dict],
    splits: Mapping[str, Iterable[Record]],
) -> None:
    """Writes a TFDS directory with its sidecars, in this process, one record after the other.

    Args:
        directory: what to write; its parent must exist.
        name: name of the data set, lower case with underscores.
        categories: COCO's entries (id, name), in the order of the labels.
        splits: records of each split; none may be empty.

    Raises:
        InputError: if a split is empty or a name does not suit TFDS.
        OSError: if it cannot be written.
    """
    partial = partial_path(directory)
    partial.mkdir(exist_ok=True)
    class_names = [category["name"] for category in categories]
    written = {}
    for split, records in splits.items():
        records, written[split] = iter(records), []
        for number in itertools.count():
            chunk = list(itertools.islice(records, EXAMPLES_PER_SHARD))
            if not chunk:
                break
            write_shard(shard_path(partial, split, number), class_names, chunk)
            written[split] += [record._replace(jpeg=b"") for record in chunk]
    finish(directory, name=name, categories=categories, splits=written)


def finish(
    directory: pathlib.Path,
    *,
    name: str,
    categories: list[dict],
    splits: Mapping[str, Sequence[Record]],
    extra_files: Mapping[str, str] | None = None,
) -> None:
    """Makes a directory of the shards in its `partial_path`, which are all there.

    Args:
        directory: to make.
        name: of the data set, lower case with underscores.
        categories: COCO's entries (id, name), in the order of the labels.
        splits: what is in them, in its order, without the encoded images; none may be empty.
        extra_files: further text files to lay into the directory, by name.

    Raises:
        InputError: if a split is empty or a name does not suit TFDS.
        OSError: if it cannot be written.
    """
    partial = partial_path(directory)
    for half in partial.glob(".*.shard"):  # of a process that was killed
        half.unlink()
    names = [category["name"] for category in categories]
    infos = []
    for split, records in splits.items():
        if not records:
            raise InputError(f"split {split!r} has no image; a data set needs at least one")
        infos.append(_name_shards(partial, name, split, len(records)))
        _write_sidecars(partial, split, categories, records)
    identity = tfds.core.DatasetIdentity(
        name=name, version=tfds.core.Version("1.0.0"), data_dir=str(partial), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{name}, with the features of coco/2017",
        features=coco_features(names),
        disable_shuffling=True,
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(partial)
    for file_name, text in (extra_files or {}).items():
        (partial / file_name).write_text(text)
    _compare(partial, names, {split: len(records) for split, records in splits.items()})
    os.rename(partial, directory)


def _name_shards(partial: pathlib.Path, name: str, split: str, size: int) -> tfds.core.SplitInfo:
    """Gives the shards of a split the names by which TFDS knows them."""
    lengths = [len(positions) for positions in shards(size)]
    template = tfds.core.ShardedFileTemplate(
        data_dir=partial, dataset_name=name, split=split, filetype_suffix="array_record"
    )
    size_bytes = 0
    for number in range(len(lengths)):
        path = pathlib.Path(template.sharded_filepath(shard_index=number, num_shards=len(lengths)))
        if not path.exists():  # it was named before the process was killed
            os.rename(shard_path(partial, split, number), path)
        size_bytes += path.stat().st_size
    return tfds.core.SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=size_bytes, filename_template=template
    )


def _write_sidecars(
    directory: pathlib.Path, split: str, categories: list[dict], records: Sequence[Record]
) -> None:
    """Writes the exact targets and the ground truth of a split."""
    targets = Targets(
        category_ids=np.array([category["id"] for category in categories], np.int64),
        image_ids=np.array([record.image["id"] for record in records], np.int64),
        start=np.cumsum([0, *(len(record.labels) for record in records)], dtype=np.int64),
        boxes_xyxy=np.concatenate([record.boxes_xyxy for record in records]).astype(np.float32),
        labels=np.concatenate([record.labels for record in records]).astype(np.int32),
        is_crowd=np.array(
            [
                bool(record.annotations[row]["iscrowd"])
                for record in records
                for row in record.annotation_rows
            ],
            bool,
        ),
        size_hw=np.array([[r.image["height"], r.image["width"]] for r in records], np.int32),
        identity=numbered(
            [r.annotations[row].get("identity") for r in records for row in r.annotation_rows]
        ),
    )
    known = {name: array for name, array in targets._asdict().items() if array is not None}
    np.savez(targets_path(directory, split), **known)
    ground_truth = {
        "images": [record.image for record in records],
        "annotations": [annotation for record in records for annotation in record.annotations],
        "categories": categories,
    }
    ground_truth_path(directory, split).write_text(json.dumps(ground_truth))


def _compare(directory: pathlib.Path, names: Sequence[str], sizes: Mapping[str, int]) -> None:
    """Reads again what TFDS wrote; raises an InputError if names or counts did not survive."""
    info = tfds.builder_from_directory(directory).info
    if info.features["objects"]["label"].names != names:
        raise InputError(
            f"the class names {names} do not survive in the text file in which TFDS keeps them; "
            "give them other ones"
        )
    found = {split: info.splits[split].num_examples for split in sizes}
    if found != sizes:
        raise OSError(f"{directory} holds {found} images instead of {sizes}")
