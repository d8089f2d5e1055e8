"""Decodes all images of a split; what was found is kept on disk, so that none is read twice.

```python
found = check_images(original, names, pathlib.Path("verified.jsonl"), True, Workers())
found["000000000139.jpg"]  # height, width, orientation, or problem
```
"""

import json
import os
import pathlib
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

import cv2

from yolor_jax.data.encoded import check
from yolor_jax.preparation.coco_files import File, Original
from yolor_jax.preparation.parallel import Workers, run
from yolor_jax.progress import progress as progress_bar

_PER_TASK = 128  # images; also what is lost at most by a kill
_WORTH_PROCESSES = 1000  # images, which take as long as the start of a process


def check_images(
    original: Original, names: Set[str], log: pathlib.Path, progress: bool, workers: Workers
) -> dict[str, dict]:
    """Reads and decodes images.

    Args:
        original: the split.
        names: of the images; those that the split lacks are passed over.
        log: results are added to it as they come, and those in it are taken where the file is
            still the same.
        progress: whether to show a bar.
        workers: who does it; a few images are not worth a process.

    Returns:
        By file name: height, width, orientation, frames, or problem.
    """
    files = original.files
    present = sorted(names & files.keys())
    found = _logged(log, files)
    remaining = [name for name in present if name not in found]
    chunks = [remaining[i : i + _PER_TASK] for i in range(0, len(remaining), _PER_TASK)]
    if len(remaining) <= _WORTH_PROCESSES and workers.ray is None:
        workers = Workers(processes=1)
    bar = progress_bar(
        desc=f"verifying {original.split}", unit="image", total=len(present),
        initial=sum(name in found for name in present), disable=not progress,
    )  # fmt: skip
    with bar, open(log, "a") as file:
        file.write("\n")
        for results in run(check_chunk, [(original.read, chunk) for chunk in chunks], workers):
            for name, result in results.items():
                found[name] = result
                line = {"name": name, **files[name]._asdict(), **result}
                file.write(json.dumps(line) + "\n")
            file.flush()
            bar.update(len(results))
    return found


def check_chunk(read: Callable[[str], bytes], names: Sequence[str]) -> dict[str, dict]:
    """What is found in some images, by their name."""
    cv2.setNumThreads(0)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(lambda name: _check(read, name), names), strict=True))


def _logged(log: pathlib.Path, files: dict[str, File]) -> dict[str, dict]:
    """What was found before in files that are still the same."""
    found = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # half a line: the process was killed while it wrote
            continue
        # Older versions wrote other entries; their images are checked anew.
        same = files.get(result["name"]) == (result.get("size"), result.get("stamp"))
        if same and ("problem" in result or "frames" in result):
            found[result["name"]] = result
    return found


def _check(read: Callable[[str], bytes], name: str) -> dict:
    """What the header of an image says that can be read and decoded, or the problem."""
    try:
        return check(read(name))._asdict()
    except ValueError as error:
        return {"problem": str(error)}
