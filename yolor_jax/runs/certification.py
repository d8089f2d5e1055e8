"""The certificate of an exported file: made, written beside the file, and read again.

```python
certificate = certify(trained, file, pictures_of("photos"), recipe=recipe)
write(certificate, file.path)            # yolor_csp.onnx.certificate.json
read(file.path)["ok"]
```
"""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from yolor_jax import bucket
from yolor_jax.data import encoded
from yolor_jax.data.letterbox import letterbox
from yolor_jax.errors import InputError
from yolor_jax.exports.certificate import compare, row_of_ap
from yolor_jax.exports.exported import Exported
from yolor_jax.inference.frame import Encoded, decode_picture
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.inference.sources import find
from yolor_jax.paths import Path
from yolor_jax.preparation import shapes
from yolor_jax.progress import Say, silent
from yolor_jax.runs import evaluation, exported
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.trained import Trained
from yolor_jax.stamp import stamp
from yolor_jax.whole_file import whole_file

SUFFIX = ".certificate.json"
PAINTED = 4
"""Pictures of the built-in data set that are looked at where nobody gives any."""

Picture = tuple[str, UInt8[np.ndarray, "_ _ 3"]]
Certificate = dict[str, Any]


def painted_pictures() -> Iterator[Picture]:
    """Names and pixels of pictures that the package paints itself."""
    for index in range(PAINTED):
        jpeg = shapes.draw(seed=0, split="validation", index=index).jpeg
        yield f"shapes {index}", encoded.decode(jpeg)


def pictures_of(folder: str, option: str = "--verify", say: Say = silent) -> Iterator[Picture]:
    """Names and pixels of the pictures in a folder, or of one picture, each read as it is needed.

    Args:
        folder: or a picture.
        option: that named it, for the error.
        say: takes a sentence on each that cannot be read, which is left out.

    Raises:
        InputError: there is none, or none that can be decoded.
        OSError: one cannot be read from the disk.
    """
    found = find([folder])
    if problems := [*found.problems, *(f"{one.name} is a film" for one in found.films)]:
        raise InputError(f"{'; '.join(problems)}; {option} needs pictures")
    files = [path for source in found.sources for path in source.files]
    readable = _readable(files, say)
    first = next(readable, None)  # before any work that would be lost
    if first is None:
        raise InputError(f"{folder} has no picture that can be read; {option} needs one")
    return itertools.chain([first], readable)


def _readable(files: Sequence[pathlib.Path], say: Say) -> Iterator[Picture]:
    for path in files:
        picture = Encoded(str(path), path.read_bytes())
        try:
            image = decode_picture(picture).image
        except InputError as error:
            say(f"left out {error}")
            continue
        yield path.name, image


def certify(
    trained: Trained,
    file: Exported,
    pictures: Iterator[Picture],
    *,
    nms: NmsConfig | None = None,
    recipe: Recipe | None = None,
    progress: bool = False,
) -> Certificate:
    """Runs a file and compares it with the network that it was made of.

    Args:
        trained: the network.
        file: exported from it.
        pictures: names and pixels.
        nms: what is a detection, where the file leaves that open; `NmsConfig` if None.
        recipe: of an evaluation whose AP is compared too; None for none.
        progress: whether the evaluation shows bars.

    Returns:
        JSON values: ``ok``, ``borders``, ``detections``, ``ap`` and what all of it is of.

    Raises:
        InputError: the data of the recipe do not fit.
    """
    network = trained if trained.fused else trained.folded()
    canvases: dict[str, str] = {}

    def canvases_of() -> Iterator[np.ndarray]:
        for number, (name, image) in enumerate(pictures):
            canvas, _ = letterbox(image, file.form.image_size)
            name = f"{name} ({number})" if name in canvases else name  # of several folders
            canvases[name] = hashlib.sha256(canvas.tobytes()).hexdigest()
            yield canvas

    nms = nms or NmsConfig()
    rows, pairs = compare(file, network.module, network.variables, canvases_of(), nms)
    metrics = None if recipe is None else _both(network, file, recipe, progress)
    if metrics and metrics["network"]["AP"] is not None:
        rows.append(row_of_ap(metrics["network"]["AP"], metrics["file"]["AP"] or 0.0))
    return {
        "file": file.path.name,
        "sha256": checksum(file.path),
        "runtime": file.runtime,
        "about": dict(file.metadata),
        "ok": all(row.ok for row in rows),
        "borders": [row._asdict() | {"ok": row.ok} for row in rows],
        "detections": pairs._asdict(),
        "nms": vars(file.form.nms or nms),
        "canvases_sha256": canvases,
        "ap": metrics,
        "stamp": stamp(),
    }


def _both(network: Trained, file: Exported, recipe: Recipe, progress: bool) -> dict[str, Any]:
    """The twelve numbers of the network and of the file."""
    height, _ = file.form.image_size
    recipe = evaluation.of_network(recipe, network).with_changes(image_size=height)
    recipe = exported.with_nms_of(file, recipe)  # or AP would be that of other thresholds
    return {
        "data": f"{recipe.data.path}, {recipe.data.eval_split}",
        "network": evaluation.evaluate(network, recipe, progress=progress).metrics,
        "file": exported.evaluate(file, recipe, progress=progress).metrics,
    }


def path_of(file: Path) -> Path:
    """Where the certificate of a file lies."""
    return file.with_name(file.name + SUFFIX)


def write(certificate: Certificate, file: Path) -> Path:
    """Writes a certificate beside its file and returns the path."""
    path = path_of(file)
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(certificate, indent=1) + "\n")
    return path


def read(file: Path) -> Certificate:
    """The certificate of a file.

    Raises:
        InputError: there is none, it is damaged, or it is of a file with other contents.
    """
    path = path_of(file)
    try:
        with bucket.as_os_error(path):
            certificate = json.loads(path.read_text())
        of = certificate["sha256"]
    except FileNotFoundError as error:
        raise InputError(f"{file} has no certificate; `yolor export --verify` makes one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); verify the export again") from error
    if of != checksum(file):
        raise InputError(f"{path} is of another file than {file.name}; verify the export again")
    return certificate


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes; of a folder, that of the names and checksums of its files."""
    if file.is_dir():
        inside = sorted(one for one in file.rglob("*") if one.is_file())
        rows = [f"{checksum(one)}  {one.relative_to(file).as_posix()}\n" for one in inside]
        return hashlib.sha256("".join(rows).encode()).hexdigest()
    with bucket.on_disk(file) as local, local.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def lines(certificate: Certificate) -> Sequence[tuple[str, ...]]:
    """The borders as rows of a table, with a heading."""
    heading = ("border", "largest difference", "allowed", "", "values", "")
    return [heading] + [
        (
            row["border"],
            f"{row['largest']:.1e}",
            "-" if row["allowed"] is None else f"{row['allowed']:.1e}",
            row["unit"],
            f"{row['values']:,}",
            _verdict(row),
        )
        for row in certificate["borders"]
    ]


def _verdict(row: dict[str, Any]) -> str:
    if not row["ok"]:
        return "NOT ok"
    return "shown" if row["allowed"] is None else "ok"
