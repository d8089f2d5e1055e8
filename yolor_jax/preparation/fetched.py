"""A prepared data set in a bucket, copied to a disk once: its records are read at random.

    directory = fetch(user_path("gs://bucket/prepared/coco"), "data/prepared")

The copy goes on where it was interrupted, holds what the store says by size and MD5, and has its
name only when it is complete. What changes in the bucket is another copy.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping

from yolor_jax import bucket
from yolor_jax.bucket import Object
from yolor_jax.errors import InputError
from yolor_jax.paths import Path, local_path
from yolor_jax.preparation import records
from yolor_jax.progress import progress as progress_bar
from yolor_jax.whole_file import whole_file


def fetch(path: Path, prepared_dir: str | os.PathLike, *, progress: bool = True) -> pathlib.Path:
    """Copies a TFDS directory out of a bucket, unless that has been done.

    One process of a machine copies, others wait for it.

    Args:
        path: in the bucket.
        prepared_dir: where prepared data sets are kept on this machine.
        progress: whether to show a bar.

    Returns:
        The copy.

    Raises:
        InputError: there is no TFDS directory, or no room for it.
        OSError: it cannot be read, written, or is not what the store says.
    """
    objects = bucket.objects(path)
    if not any(name.rpartition("/")[2] == "dataset_info.json" for name in objects):
        raise InputError(
            f"{path} is no prepared data set: expected a TFDS directory (with dataset_info.json), "
            "as yolor prepare writes it; copy other data to a disk and prepare them there"
        )
    state = hashlib.sha256(json.dumps([str(path), objects], sort_keys=True).encode()).hexdigest()
    directory = local_path(prepared_dir) / f"{path.name}-{state[:12]}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with records.lock(directory):
        if not directory.exists():
            partial = directory.with_name(f".{directory.name}.partial")
            _copy(path, objects, partial, progress)
            partial.rename(directory)
    return directory


def _copy(path: Path, objects: Mapping[str, Object], partial: pathlib.Path, progress: bool) -> None:
    """Copies the objects that are not there yet."""
    lacking = {
        name: expected
        for name, expected in objects.items()
        if not _is_there(partial / name, expected)
    }
    _require_room(path, sum(expected.size for expected in lacking.values()), partial.parent)
    with progress_bar(
        total=sum(expected.size for expected in objects.values()),
        initial=sum(objects[name].size for name in objects.keys() - lacking.keys()),
        desc=f"copying {path}", unit="B", unit_scale=True, disable=not progress,
    ) as bar:  # fmt: skip
        for name, expected in lacking.items():
            file = partial / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as temporary:
                bucket.get(path / name, temporary)
                if not _is_there(temporary, expected):
                    raise OSError(
                        f"{path / name} came with other bytes than the store says: give the same "
                        "command again"
                    )
            bar.update(expected.size)


def _is_there(file: pathlib.Path, expected: Object) -> bool:
    """Whether a file holds what the store says of an object."""
    if not file.exists() or file.stat().st_size != expected.size:
        return False
    return expected.md5 in (None, bucket.as_object(file).md5)


def _require_room(path: Path, needed: int, folder: pathlib.Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{path} needs {needed / 1e9:.1f} GB more in {folder}, which has {free / 1e9:.1f} GB "
            "free; name a folder with room as --config.data.prepared"
        )
