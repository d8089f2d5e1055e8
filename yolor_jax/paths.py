"""What somebody typed, as a path: one rule for every flag, setting and argument.

A `Path` is local or in a bucket; both have the methods of pathlib that read and write.

    user_path("~/runs/first")  # /home/me/runs/first, as behind "--workdir=", where no shell does it
    user_path("file:///data/coco")
    user_path("gs://bucket/runs/first")  # an epath.Path, by the extra gcs
    local_path("gs://bucket/photo.jpg")  # InputError: expected a local path
"""

import importlib.util
import os
import pathlib
import re
import urllib.parse
from typing import TYPE_CHECKING

from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from etils import epath

    Path = pathlib.Path | epath.Path
else:
    Path = pathlib.PurePath  # of which both are; etils is imported where a bucket is meant


def user_path(text: str | os.PathLike) -> Path:
    """The path that a text means.

    Args:
        text: a path, relative or absolute, in which ``~`` is the home folder; or a URL with
            ``file://`` or ``gs://``. What is a path already is given back.

    Raises:
        InputError: a URL of another kind, a bucket without the library for it, or no path at all.
    """
    if not isinstance(text, str):
        return _expand(text) if isinstance(text, pathlib.Path) else user_path(os.fspath(text))
    if "\0" in text:
        raise InputError(f"got the path {text!r}; expected one without zero bytes")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text)
    if scheme is None:
        return _expand(pathlib.Path(text))
    if scheme[1] == "file":
        return _file_url(text)
    if scheme[1] == "hf":
        raise InputError(
            f"got {text}; only yolor_jax.load, yolor detect and yolor convert read the hub: type "
            f"yolor convert {text} WEIGHTS.safetensors first"
        )
    if scheme[1] != "gs":
        raise InputError(
            f"got {text}; expected a local path or a bucket of Google Cloud Storage (gs://): copy "
            f"what is in {scheme[1]}:// there first"
        )
    if not re.match(r"gs://[^/]{3,}", text):
        raise InputError(f"got {text}; expected gs://BUCKET/PATH")
    if importlib.util.find_spec("gcsfs") is None:
        raise InputError(f"{text} is in a bucket; pip install 'yolor-jax[gcs]' to use it")
    import fsspec
    from etils import epath

    # gcsfs remembers what it has listed, and so does not see what TensorStore writes, or another
    # process.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return epath.Path(text)


def local_path(text: str | os.PathLike) -> pathlib.Path:
    """As `user_path`, for what can only be on a disk.

    Raises:
        InputError: it is not local.
    """
    path = user_path(text)
    if not isinstance(path, pathlib.Path):
        raise InputError(f"got {text}; expected a local path: copy it to a disk first")
    return path


def is_local(path: Path) -> bool:
    """Whether a path is on a disk rather than in a bucket."""
    return "://" not in os.fspath(path)  # etils' paths, as Orbax takes them, may be local too


def _expand(path: pathlib.Path) -> pathlib.Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"got {path}; there is no such home folder") from error


def _file_url(text: str) -> pathlib.Path:
    url = urllib.parse.urlsplit(text)
    if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
        raise InputError(f"got {text}; expected file:///PATH")
    from urllib.request import url2pathname  # slow to import, and seldom needed

    return pathlib.Path(url2pathname(url.path))
