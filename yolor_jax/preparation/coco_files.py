"""A split in COCO format as it lies on disk: in folders, or in the zip files that COCO publishes.

The annotations are ``annotations/instances_{split}.json``, in the folder or in a zip file of it
whose name begins with ``annotations``; of a test split, whose objects are not published, its
``image_info_{split}.json`` names the images. These are in ``{split}/``, ``images/{split}/`` or
``{split}.zip``, or all in ``images/``, as CVAT exports them. What is in a zip file is read without
unpacking it.

    original = open_split(pathlib.Path("coco"), "val2017")
    original.read("000000000139.jpg")  # bytes
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from yolor_jax.data import split_names
from yolor_jax.errors import InputError


class File(NamedTuple):
    """What tells an image file from one that took its place.

    Attributes:
        size: bytes.
        stamp: time of change in nanoseconds, or the checksum where there is one.
    """

    size: int
    stamp: int


@dataclasses.dataclass(frozen=True)
class Original:
    """A split before it is prepared.

    Attributes:
        split: its name.
        where: where its annotations are, for messages.
        annotations: reads them: JSON, COCO's instances format.
        files: all images that are there, by the name that annotations use.
        read: reads one of them, also from several threads and, by pickle, from other processes;
            InputError if it is damaged there.
        findings: kind and example of what its reader noted, for the `Report`.
    """

    split: str
    where: str
    annotations: Callable[[], bytes]
    files: dict[str, File]
    read: Callable[[str], bytes]
    findings: Callable[[], list[tuple[str, str]]] = list

    @classmethod
    def converted(
        cls,
        split: str,
        where: str,
        convert: Callable[[], tuple[bytes, list[tuple[str, str]]]],
        files: dict[str, File],
        read: Callable[[str], bytes],
    ) -> "Original":
        """One whose annotations and findings are made of other files, when they are asked for."""
        once = functools.cache(convert)  # for the fingerprint, and once more to be prepared
        return cls(split, where, lambda: once()[0], files, read, lambda: once()[1])


NAME = "COCO"
LOOKS_FOR = (
    "annotations/instances_SPLIT.json or annotations*.zip, and images in SPLIT/, images/SPLIT/, "
    "images/ or SPLIT.zip"
)


def recognises(folder: pathlib.Path) -> str | None:
    """The first file of annotations, in a folder or a zip file."""
    places = "annotations/instances_*.json", "annotations/image_info_*.json", "annotations*.zip"
    found = [path for place in places for path in folder.glob(place)]
    return min(found).relative_to(folder).as_posix() if found else None


def find_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits that have both annotations and images.

    Raises:
        InputError: if there is none, or a zip file is damaged.
    """
    annotated = _annotated_splits(folder)
    splits = [split for split in annotated if _image_place(folder, split) is not None]
    if not splits:
        raise InputError(
            f"{folder} holds no split with both annotations and images (annotations of: "
            f"{', '.join(annotated) or 'none'}); expected {LOOKS_FOR}"
        )
    return splits


def open_split(folder: pathlib.Path, split: str) -> Original:
    """Finds the annotations and lists the images of a split.

    Raises:
        InputError: if there are none, or a zip file is damaged.
    """
    split_names.require_name(split)
    where, annotations = _find_annotations(folder, split)
    place = _image_place(folder, split)
    if place is None:
        raise InputError(
            f"the images of the split {split!r} are missing; expected them in {folder / split}, in "
            f"{folder / 'images' / split}, in {folder / split}.zip, or all in {folder / 'images'}"
        )
    if place.is_dir():
        files = list_files(place)
        return Original(split, where, annotations, files, functools.partial(read_file, place))
    files, read = _list_zip(place, place.stem)
    return Original(split, where, annotations, files, read)


def _annotated_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits of which there are annotations."""
    names = [path.name for path in folder.glob("annotations/instances_*.json")]
    names += [path.name for path in folder.glob("annotations/image_info_*.json")]
    for path in folder.glob("annotations*.zip"):
        names += [pathlib.PurePosixPath(name).name for name in _open_zip(path).namelist()]
    matches = (re.fullmatch(r"(?:instances|image_info)_([\w-]+)\.json", name) for name in names)
    return sorted({match[1] for match in matches if match})


def _find_annotations(folder: pathlib.Path, split: str) -> tuple[str, Callable[[], bytes]]:
    """Where the annotations of a split are, and how to read them."""
    if found := _find_file(folder, f"instances_{split}.json"):
        return found
    if found := _find_file(folder, f"image_info_{split}.json"):
        where, read = found
        return where, lambda: _without_objects(read(), where)
    path = folder / "annotations" / f"instances_{split}.json"
    if there := _annotated_splits(folder):
        raise split_names.no_such_split(folder, split, there)
    raise InputError(f"{path} is missing; expected {LOOKS_FOR}")


def _find_file(folder: pathlib.Path, name: str) -> tuple[str, Callable[[], bytes]] | None:
    """Where a file of annotations is, in the folder or in a zip file of it, and how to read it."""
    path = folder / "annotations" / name
    if path.is_file():
        return str(path), path.read_bytes
    for zip_path in sorted(folder.glob("annotations*.zip")):
        archive = _open_zip(zip_path)
        for member in archive.namelist():
            if pathlib.PurePosixPath(member).name == name:
                return f"{zip_path}/{member}", functools.partial(_read_member, archive, member)
    return None


def _without_objects(data: bytes, where: str) -> bytes:
    """The names of the images of a test split, whose objects are not published, as annotations."""
    try:
        return json.dumps({**json.loads(data), "annotations": []}).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{where} is no complete JSON: {error}") from error


def _image_place(folder: pathlib.Path, split: str) -> pathlib.Path | None:
    """The folder or zip file of the images of a split."""
    if place := _own_place(folder, split):
        return place
    shared = folder / "images"
    if any(_own_place(folder, other) for other in _annotated_splits(folder)):
        return None  # they have places of their own, and this one's is missing
    return shared if shared.is_dir() else None


def _own_place(folder: pathlib.Path, split: str) -> pathlib.Path | None:
    for name in (split, split.replace("-dev", "")):  # test-dev2017 is a part of test2017
        for path in (folder / name, folder / "images" / name):
            if path.is_dir():
                return path
        path = folder / f"{name}.zip"
        if path.is_file():
            return path
    return None


def list_files(image_dir: pathlib.Path) -> dict[str, File]:
    """All files below a folder but hidden ones, by name relative to it; links are followed."""
    return {
        os.path.relpath(entry.path, image_dir).replace(os.sep, "/"): File(
            entry.stat().st_size, entry.stat().st_mtime_ns
        )
        for entry in _walk(os.fspath(image_dir))
    }


def _walk(folder: str, above: frozenset[str] = frozenset()) -> Iterator[os.DirEntry]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder in which it lies
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, above | {real})
            elif entry.is_file():
                yield entry


def read_file(folder: pathlib.Path, name: str) -> bytes:
    """The bytes of a file of a folder; with the folder bound, what other processes can call."""
    return (folder / name).read_bytes()


def read_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: it is no text in UTF-8.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text ({error.reason}); expected a name on each line"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _list_zip(path: pathlib.Path, split: str) -> tuple[dict[str, File], Callable[[str], bytes]]:
    """The files of a zip, by their name relative to the split's folder in it, and how to read."""
    members = _open_zip(path).infolist()
    members = [m for m in members if not m.is_dir() and "/." not in f"/{m.filename}"]
    if not members:
        raise InputError(f"{path} is empty; expected the images of the split {split!r}")
    for prefix in (f"{split}/", f"images/{split}/", ""):
        inside = [m for m in members if m.filename.startswith(prefix)]
        if inside:
            break
    files = {m.filename.removeprefix(prefix): File(m.file_size, m.CRC) for m in inside}
    return files, functools.partial(_read_image, path, path.stat().st_mtime_ns, prefix)


def _read_image(path: pathlib.Path, changed: int, prefix: str, name: str) -> bytes:
    return _read_member(_opened_once(path, changed), prefix + name)


@functools.lru_cache(maxsize=8)
def _opened_once(path: pathlib.Path, changed: int) -> zipfile.ZipFile:
    """A zip file, of a process and a state of the file; its list of members may be long."""
    return _open_zip(path)


def _open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile raises nearly everything on damaged files
        raise InputError(
            f"{path} is empty, cut off or no zip file ({error}); download it again"
        ) from error


def _read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        return archive.read(member)
    except NotImplementedError as error:
        raise InputError(
            f"{member} in {archive.filename} is packed in a way that cannot be "
            f"read here ({error}); unpack it, or pack it anew with Deflate"
        ) from error
    except RuntimeError as error:  # of a password
        raise InputError(
            f"{member} in {archive.filename} cannot be read ({error}); unpack it"
        ) from error
    except Exception as error:  # zipfile raises nearly everything on damaged files
        raise InputError(f"damaged in {archive.filename}: {error}") from error
