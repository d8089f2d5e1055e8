"""Files of weights on the Hugging Face Hub: fetched once, looked at, kept in the hub's own cache.

    fetch("hf://ORG/NAME")                      # its model.safetensors, as a local path
    fetch("hf://ORG/NAME@v1.0/yolor_p6.pt")     # another revision, another file
    push(parse("hf://ORG/NAME"), {"README.md": path}, private=True, message="...")

By `huggingface_hub` (the extra ``hub``), which takes the address of the hub from ``HF_ENDPOINT``,
the token from ``HF_TOKEN`` or ``hf auth login``, and the folder of its cache from ``HF_HOME``. Its
telemetry is switched off.
"""

import contextlib
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

from yolor_jax.errors import InputError
from yolor_jax.weights.foreign import WeightsError

SCHEME = "hf://"
FILE = "model.safetensors"
"""What is fetched where no file is named, and what `push` is given by ``yolor publish``."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class Address(NamedTuple):
    """What ``hf://ORG/NAME@REVISION/FILE`` means.

    Attributes:
        repository: ``ORG/NAME``.
        revision: a branch, tag or commit; None for the newest of the main branch.
        file: its path in the repository.
    """

    repository: str
    revision: str | None = None
    file: str = FILE

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repository}{revision}"


def is_address(path: str | os.PathLike) -> bool:
    """Whether it is on the hub rather than a path."""
    return isinstance(path, str) and path.startswith(SCHEME)


def parse(text: str) -> Address:
    """What a text means.

    Raises:
        InputError: it is no such address.
    """
    name = r"[\w-][\w.-]*"
    match = re.fullmatch(rf"{SCHEME}({name}/{name})(?:@([^/@\s]+))?(?:/(\S+))?", text, re.ASCII)
    if not match or ".." in text:
        raise InputError(f"got {text}; expected hf://ORG/NAME, hf://ORG/NAME@REVISION or .../FILE")
    return Address(match[1], match[2], match[3] or FILE)


def fetch(text: str) -> pathlib.Path:
    """The local copy of a file on the hub, which is downloaded if it is not there or not of today.

    Without a network the copy of before is taken. A connection that breaks is taken up again where
    it broke. The bytes are compared with the checksum that the hub gave, each time.

    Raises:
        InputError: no such address, repository, revision or file; or it asks for a token.
        WeightsError: the bytes are not those that the hub has.
        OSError: no network and no copy, or the disk is full.
        ImportError: huggingface_hub is not installed.
    """
    address = parse(text)
    hub = _library()
    with _as_sentence(address):
        file = hub.hf_hub_download(address.repository, address.file, revision=address.revision)
    path = pathlib.Path(file)
    _require_checksum(address, path)
    return path


def push(
    address: Address, files: Mapping[str, pathlib.Path], *, private: bool, message: str
) -> str:
    """Puts files into a repository, all in one commit; it is made if it is not there.

    Args:
        address: of the repository.
        files: local ones, by their names there.
        private: whether a repository that is made is one; one that is there stays as it is.
        message: of the commit.

    Returns:
        The address of the commit in a browser.

    Raises:
        InputError: no token, or one that may not write there.
        OSError: no network.
        ImportError: huggingface_hub is not installed.
    """
    hub = _library()
    api = hub.HfApi()
    with _as_sentence(address):
        api.create_repo(address.repository, private=private, exist_ok=True)
        additions = [hub.CommitOperationAdd(name, os.fspath(file)) for name, file in files.items()]
        return api.create_commit(
            address.repository, additions, commit_message=message, revision=address.revision
        ).commit_url


def _library() -> ModuleType:
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError as error:
        raise ImportError("hf:// needs huggingface_hub: pip install 'yolor-jax[hub]'") from error
    # Not by HF_HUB_DISABLE_TELEMETRY, for another library may have imported it already.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def _require_checksum(address: Address, path: pathlib.Path) -> None:
    """Compares a copy with the name of the blob it links to: the SHA-256 that the hub gave."""
    if not path.is_symlink() or not SHA256.fullmatch(expected := path.readlink().name):
        return  # small files, which git keeps by a checksum of another kind
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != expected:
        path.resolve().unlink()  # or it would be found again the next time
        path.unlink()
        raise WeightsError(
            f"{address}/{address.file} came with the SHA-256 {got[:12]}... and not "
            f"{expected[:12]}... as the hub says; the copy is deleted, fetch it again"
        )


@contextlib.contextmanager
def _as_sentence(address: Address) -> Iterator[None]:
    """What the library raises, in a sentence that says what to do."""
    import httpx2
    from huggingface_hub import errors

    token = "set HF_TOKEN, or type `hf auth login`"
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{address} is gated: ask for access on its page in a browser, then {token}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{address}: there is no revision {address.revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{address} is not on the hub, or is private: look at the name, or {token} of an "
            "account that may read it"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise InputError(
            f"{address} has no file {address.file}; it has {_names(address)}: name one, "
            f"{address}/FILE"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise InputError(f"{address} asks who you are: {token}") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, httpx2.HTTPError) as error:
        raise _failure(address, error, token) from error
    except ValueError as error:  # a name or a card that the hub does not take
        reason = " ".join(str(error).split())
        raise InputError(f"{address} is refused: {reason}") from error
    except errors.OfflineModeIsEnabled as error:
        raise OSError(f"{address} cannot be reached while HF_HUB_OFFLINE is set") from error


def _failure(address: Address, error: Exception, token: str) -> Exception:
    """Of an answer that has no error of its own, or of none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if response is None:
        return OSError(
            f"{address} cannot be reached, and {address.file} of it was not fetched before: look "
            "at the network (and at HF_HUB_OFFLINE and HF_ENDPOINT, if they are set), or try later"
        )
    if response.status_code == 401:
        return InputError(f"{address} asks who you are, and the token is wrong: {token}")
    if response.status_code == 403:
        return InputError(f"{address} may not be used with this token: take one with the right to")
    return OSError(f"{address} cannot be used, the hub answers {response.status_code}: try later")


def _names(address: Address) -> str:
    """The files of a repository, in words."""
    names = _library().HfApi().list_repo_files(address.repository, revision=address.revision)
    return ", ".join(name for name in names if not name.startswith(".")) or "none"
