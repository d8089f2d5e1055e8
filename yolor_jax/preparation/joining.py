"""One TFDS directory out of directories of one split each, resumable after a kill at any moment.

Files are moved, not copied. The new `dataset_info.json` is written first: from then on all splits
are known to be whole, and what is left to do is to move them up.

    records.write(partial / "train", ...), records.write(partial / "val", ...)
    join(partial, ["train", "val"], directory)
"""

import json
import os
import pathlib
import shutil

from yolor_jax.whole_file import whole_file

_INFO = "dataset_info.json"


def has_begun(partial: pathlib.Path) -> bool:
    """Whether `join` was at work on a directory when it was killed."""
    return (partial / _INFO).exists()


def join(partial: pathlib.Path, splits: list[str], directory: pathlib.Path) -> None:
    """Joins splits, or goes on with it.

    Args:
        partial: holds what `records.write` made of each split, in a folder of the split's name;
            all of one data set, with the same classes.
        splits: in their order.
        directory: new name of `partial`.
    """
    if not has_begun(partial):
        infos = [json.loads((partial / split / _INFO).read_text()) for split in splits]
        merged = infos[0] | {"splits": [split for info in infos for split in info["splits"]]}
        with whole_file(partial / _INFO) as info:
            info.write_text(json.dumps(merged, indent=2))
    for part in [path for path in partial.iterdir() if path.is_dir()]:
        for file in part.iterdir():
            if file.name != _INFO:
                os.replace(file, partial / file.name)
        shutil.rmtree(part)
    for log in partial.glob(".*"):
        log.unlink()
    os.rename(partial, directory)
