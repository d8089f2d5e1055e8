"""What is fuzzed: for each kind of input a way to make it, and the command that reads it.

subject = SUBJECTS["annotations"](folder)
subject(rng)  # writes a spoilt input and runs the command; returns its exit code
"""

import io
import json
import pathlib
import shutil
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.fuzz.mutate import spoilt_bytes, spoilt_json
from tests.support.coco_folder import write
from yolor_jax.cli.main import main

Subject = Callable[[np.random.Generator], int]
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF")


def annotations(folder: pathlib.Path) -> Subject:
    """A COCO-format folder whose annotations are spoilt, with and without --skip-broken."""
    pets = write(folder / "pets", images=3)
    path = pets / "annotations" / "instances_val.json"
    document = json.loads(path.read_text())

    def prepare(rng: np.random.Generator) -> int:
        path.write_bytes(spoilt_json(document, rng))
        return _prepare(pets, folder / "out", rng)

    return prepare


def images(folder: pathlib.Path) -> Subject:
    """A COCO-format folder in which one image, of any format, is spoilt."""
    pets = write(folder / "pets", images=2)
    sound = [_encoded(format_, mode) for format_ in FORMATS for mode in ("RGB", "L", "P", "I;16")]
    sound = [data for data in sound if data]

    def prepare(rng: np.random.Generator) -> int:
        (pets / "val" / "002.jpg").write_bytes(spoilt_bytes(sound[rng.integers(len(sound))], rng))
        return _prepare(pets, folder / "out", rng)

    return prepare


def zips(folder: pathlib.Path) -> Subject:
    """COCO's zip files, one of which is spoilt."""
    pets = write(folder / "pets", images=3)
    packed = folder / "packed"
    packed.mkdir()
    sound = {}
    for name, inside in (("val.zip", "val"), ("annotations_val.zip", "annotations")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((pets / inside).iterdir()):
                archive.write(file, f"{inside}/{file.name}")
        sound[name] = stream.getvalue()

    def prepare(rng: np.random.Generator) -> int:
        spoilt = list(sound)[rng.integers(2)]
        for name, data in sound.items():
            (packed / name).write_bytes(spoilt_bytes(data, rng) if name == spoilt else data)
        return _prepare(packed, folder / "out", rng)

    return prepare


def prepared(folder: pathlib.Path) -> Subject:
    """A prepared directory, one file of which is spoilt, looked through."""
    sound = folder / "sound"
    assert main(["prepare", str(write(folder / "pets", images=3)), str(sound)]) == 0
    names = [path.name for path in sorted(sound.iterdir())]
    spoilt = folder / "spoilt"

    def verify(rng: np.random.Generator) -> int:
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(sound, spoilt)
        path = spoilt / names[rng.integers(len(names))]
        if path.suffix == ".json" and rng.random() < 0.7:
            path.write_bytes(spoilt_json(json.loads(path.read_text()), rng))
        else:
            path.write_bytes(spoilt_bytes(path.read_bytes(), rng))
        return main(["prepare", "--verify", str(spoilt)])

    return verify


def weights(folder: pathlib.Path) -> Subject:
    """A file of weights of any of the four kinds, spoilt and converted."""
    from tests.fuzz.weight_files import sound_files

    sound = sound_files(folder)

    def convert(rng: np.random.Generator) -> int:
        file = sound[rng.integers(len(sound))]
        path = folder / f"spoilt{file.suffix}"
        path.write_bytes(spoilt_bytes(file.read_bytes(), rng))
        return main(["convert", str(path), str(folder / "out.safetensors"), "--overwrite"])

    return convert


SUBJECTS = {
    "annotations": annotations,
    "images": images,
    "weights": weights,
    "zips": zips,
    "prepared": prepared,
}


def _prepare(source: pathlib.Path, target: pathlib.Path, rng: np.random.Generator) -> int:
    shutil.rmtree(target, ignore_errors=True)
    skip = ["--skip-broken"] if rng.random() < 0.5 else []
    return main(["prepare", str(source), str(target), *skip])


def _encoded(format_: str, mode: str) -> bytes:
    """A small picture; nothing where the format has no such pixels."""
    rng = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (48, 64), dtype=np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {} if format_ in ("BMP", "GIF") else {"exif": exif}
    if format_ == "GIF":
        more = {"save_all": True, "append_images": [image.copy()]}
    stream = io.BytesIO()
    try:
        image.save(stream, format_, **more)
    except (OSError, KeyError, ValueError):
        return b""
    return stream.getvalue()
