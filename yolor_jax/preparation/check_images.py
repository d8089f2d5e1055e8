"""Decodes all images of a split; what was found is kept on disk, so that none is read twice.

found = check_images(original, names, pathlib.Path("verified.jsonl"), progress=True)
found["000000000139.jpg"]  # height, width, orientation, or problem
"""

import itertools
import json
import os
import pathlib
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

import cv2

from yolor_jax.data.encoded import check
from yolor_jax.preparation.coco_files import Original
from yolor_jax.progress import progress as progress_bar

_PER_FLUSH = 128


def check_images(
    original: Original, names: Set[str], log: pathlib.Path, progress: bool
) -> dict[str, dict]:
    """Reads and decodes images.

    Args:
        original: the split.
        names: of the images; those that the split lacks are passed over.
        log: results are added to it as they come, and those in it are taken where the file is
            still the same.
        progress: whether to show a bar.

    Returns:
        By file name: height, width, orientation, or problem.
    """
    files = original.files
    present = sorted(names & files.keys())
    found = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # half a line: the process was killed while it wrote
            continue
        # Older versions wrote other entries; their images are checked anew.
        if files.get(result["name"]) == (result.get("size"), result.get("stamp")):
            found[result["name"]] = result
    remaining = iter([name for name in present if name not in found])
    bar = progress_bar(
        desc=f"verifying {original.split}", unit="image", total=len(present),
        initial=sum(name in found for name in present), disable=not progress,
    )  # fmt: skip
    cv2.setNumThreads(0)
    with bar, open(log, "a") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        file.write("\n")
        while chunk := list(itertools.islice(remaining, _PER_FLUSH)):
            results = pool.map(lambda name: _check(original, name), chunk)
            for name, result in zip(chunk, results, strict=True):
                found[name] = result
                line = {"name": name, **files[name]._asdict(), **result}
                file.write(json.dumps(line) + "\n")
            file.flush()
            bar.update(len(chunk))
    return found


def _check(original: Original, name: str) -> dict:
    """Height, width and orientation of an image that can be read and decoded, or the problem."""
    try:
        return check(original.read(name))._asdict()
    except ValueError as error:
        return {"problem": str(error)}
