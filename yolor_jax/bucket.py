"""A bucket of Google Cloud Storage, where it can do more or less than a folder.

    require_writable(epath.Path("gs://bucket/runs/first"))
    put("metrics.jsonl", epath.Path("gs://bucket/runs/first/metrics.jsonl"))
    objects(epath.Path("gs://bucket/runs/first"))["metrics.jsonl"].md5

An object appears whole or not at all when it is put; none can be appended to or renamed. What is
busy or does not answer is asked again for half a minute, by gcsfs; what the libraries raise then,
or at once where something is forbidden, is an OSError here.
"""

import base64
import contextlib
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import fsspec

CHUNK = 1 << 20
"""Bytes read at once for a checksum."""
LIBRARIES = ("aiohttp", "gcsfs", "google", "requests")
"""What raises errors of its own kind where a bucket fails, beside OSError."""


class Object(NamedTuple):
    """What the store knows of an object.

    Attributes:
        size: in bytes.
        md5: of its bytes, in base64; None of one that was put together from others.
    """

    size: int
    md5: str | None


def objects(folder: os.PathLike) -> dict[str, Object]:
    """All objects below a path, at any depth, by their path from there.

    Raises:
        OSError: the bucket cannot be read, or is not there.
    """
    with as_os_error(folder):
        system, root = _open(folder)
        found = system.find(root, detail=True)
    return {
        name.removeprefix(f"{root}/"): Object(info["size"], info.get("md5Hash"))
        for name, info in found.items()
        if not name.endswith("/")  # what web consoles put in the place of a folder
    }


def put(file: str | os.PathLike, path: os.PathLike) -> None:
    """Writes the bytes of a local file to an object, which is whole at once.

    Raises:
        OSError: the file cannot be read or the object not be written.
    """
    with as_os_error(path):
        system, name = _open(path)
        system.put_file(os.fspath(file), name)


def get(path: os.PathLike, file: str | os.PathLike) -> None:
    """Reads an object into a local file.

    Raises:
        OSError: the object cannot be read or the file not be written.
    """
    with as_os_error(path):
        system, name = _open(path)
        system.get_file(name, os.fspath(file))


@contextlib.contextmanager
def on_disk(path: os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a file for libraries that read local ones only: of an object, a copy for a while.

    Raises:
        OSError: the object cannot be read.
    """
    if "://" not in os.fspath(path):
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, path.name)
        get(path, file)
        yield file


def as_object(file: os.PathLike) -> Object:
    """What the store would say of a local file."""
    size, md5 = 0, hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            md5.update(chunk)
    return Object(size, base64.b64encode(md5.digest()).decode())


def require_writable(folder: os.PathLike) -> None:
    """Raises an OSError unless objects can be put below a path and deleted."""
    with as_os_error(folder):
        system, root = _open(folder)
        sign = f"{root}/.writable"
        system.pipe_file(sign, b"")
        with contextlib.suppress(FileNotFoundError):  # another process was as quick
            system.rm_file(sign)


@contextlib.contextmanager
def as_os_error(path: os.PathLike) -> Iterator[None]:
    """Turns what libraries raise where a bucket fails into an OSError in one sentence.

    Args:
        path: in the bucket, for the message; of a local one nothing is turned.
    """
    if "://" not in os.fspath(path):
        yield
        return
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is not there, or its bucket is not") from error
    except Exception as error:
        if not is_failure(error):
            raise
        raise OSError(
            f"{path} cannot be used ({reason(error)}): look whether there is such a bucket and "
            "whether the account of this machine may read, write and delete in it, or try later"
        ) from error


def is_failure(error: BaseException) -> bool:
    """Whether it is an error of the store or of the way to it, as gcsfs and Google raise them."""
    library = type(error).__module__.partition(".")[0]
    return library in LIBRARIES or (isinstance(error, OSError) and error.errno is None)


def reason(error: BaseException) -> str:
    """What such an error says, in one line."""
    return " ".join(str(error).split()).lstrip(", ") or type(error).__name__


def _open(path: os.PathLike) -> tuple["fsspec.AbstractFileSystem", str]:
    """The file system of a path, and its name there."""
    import fsspec

    return fsspec.core.url_to_fs(os.fspath(path).rstrip("/"))
