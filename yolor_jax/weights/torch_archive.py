"""The zip archive that ``torch.save`` writes: one pickle and the bytes of each storage.

An array is read when it is asked for, and not before:

    archive = TorchArchive(file)
    checkpoint = torch_pickle.load(archive.pickle())
    array = archive.array(checkpoint["model"]["model.0.conv.weight"])
"""

import math
import zipfile
from typing import BinaryIO

import numpy as np

from yolor_jax.weights.foreign import WeightsError, refuse_downloads_gone_wrong
from yolor_jax.weights.torch_pickle import Storage, Tensor

MAX_PICKLE_BYTES = 8 * 2**20
"""The pickles of the largest models take about 1 MiB."""
MAX_ELEMENTS = 2**40
MAX_DIMENSIONS = 64
"""NumPy's and PyTorch's own limit."""
CHUNK_BYTES = 2**20

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that opens a file of torch before 1.6, as pickled."""
LOCAL_HEADER_BYTES = 30
# What zipfile raises on damaged and unusual files, besides its own exception.
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError)


class TorchArchive:
    """An open checkpoint whose entries were checked; storages are read when they are asked for.

    Args:
        file: opened for reading in binary mode, and open as long as arrays are asked for.

    Raises:
        WeightsError: if it is no archive of ``torch.save`` or an entry is not what it says.
    """

    def __init__(self, file: BinaryIO):
        _refuse_other_formats(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise WeightsError(
                f"is cut off or damaged ({str(error)[:100]!a}), expected a whole zip archive; "
                "download it again"
            ) from error
        self._root = _root(self._zip.namelist())
        self._entries = _checked_entries(self._zip)
        self._storages: dict[str, np.ndarray] = {}
        if "byteorder" in self and (order := self._read("byteorder").tobytes()) != b"little":
            raise WeightsError(
                f"has byte order {order[:20]!a}, expected b'little'; re-save it on such a machine"
            )

    def __contains__(self, name: str) -> bool:
        return f"{self._root}/{name}" in self._entries

    def pickle(self) -> bytes:
        """The pickle that describes the checkpoint."""
        size = self._entries[f"{self._root}/data.pkl"].file_size
        if size > MAX_PICKLE_BYTES:
            raise WeightsError(
                f"has a pickle of {size} bytes, expected at most {MAX_PICKLE_BYTES}; save the "
                "state_dict() alone"
            )
        return self._read("data.pkl").tobytes()

    def array(self, tensor: Tensor) -> np.ndarray:
        """A tensor as a read-only view of its storage, in its own dtype, shape and strides.

        Raises:
            WeightsError: if the storage is missing or damaged, or the tensor leaves it.
        """
        _check_view(tensor)
        storage = self._storage(tensor.storage)
        dtype = tensor.storage.dtype
        if 0 in tensor.shape:
            return np.broadcast_to(np.zeros((), dtype), tensor.shape)
        return np.ndarray(
            tensor.shape,
            dtype,
            buffer=storage,
            offset=tensor.offset * dtype.itemsize,
            strides=[s * dtype.itemsize for s in tensor.stride],
        )

    def _storage(self, storage: Storage) -> np.ndarray:
        """The bytes of a storage, read once."""
        name = f"data/{storage.key}"
        if name not in self:
            raise WeightsError(f"lacks the entry {name[:100]!a}; download it again")
        got = self._entries[f"{self._root}/{name}"].file_size
        expected = storage.size * storage.dtype.itemsize
        if got != expected:
            raise WeightsError(
                f"entry {name!a} has {got} bytes, expected {expected} for {storage.size} of "
                f"{storage.dtype}; download it again"
            )
        if storage.key not in self._storages:
            self._storages[storage.key] = self._read(name)
        return self._storages[storage.key]

    def _read(self, name: str) -> np.ndarray:
        """The bytes of an entry; zipfile compares their checksum."""
        entry = self._entries[f"{self._root}/{name}"]
        content = np.empty(entry.file_size, np.uint8)
        try:
            with self._zip.open(entry) as file:
                for start in range(0, entry.file_size, CHUNK_BYTES):
                    chunk = content[start : start + CHUNK_BYTES]
                    if file.readinto(chunk.data) != chunk.size:
                        raise EOFError("too few bytes")
        except ZIP_ERRORS as error:
            raise WeightsError(
                f"entry {name[:100]!a} is damaged ({str(error)[:100]!a}); download it again, or "
                "save it with checksums"
            ) from error
        content.flags.writeable = False
        return content


def _refuse_other_formats(file: BinaryIO) -> None:
    head = file.read(64)
    refuse_downloads_gone_wrong(head)
    if LEGACY_MAGIC in head:
        raise WeightsError(
            "is in the format of torch before 1.6, expected its zip format; re-save it where you "
            "trust it, with a current torch: torch.save(torch.load(p), q)"
        )
    if not head.startswith(ZIP_MAGIC):
        raise WeightsError(
            f"begins with {head[:16]!a}, expected a zip archive as torch.save writes it; give the "
            "checkpoint itself"
        )


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by name: each once, stored as it is, inside the file and apart from the others.

    So their sizes add up to no more than the file's, whatever the archive claims.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for entry in sorted(archive.infolist(), key=lambda e: e.header_offset):
        name = entry.filename
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise WeightsError(
                f"entry {name[:100]!a} is compressed ({entry.compress_size} bytes for "
                f"{entry.file_size}), expected stored entries as torch.save writes them; unpack "
                "nothing from it, download or re-save it"
            )
        if entry.header_offset < end or name in entries:
            raise WeightsError(
                f"entry {name[:100]!a} overlaps or repeats another, expected each once; "
                "the file is damaged or made to do harm"
            )
        entries[name] = entry
        end = entry.header_offset + LOCAL_HEADER_BYTES + len(name) + entry.file_size
    if end > archive.start_dir:
        raise WeightsError(
            f"its entries reach to byte {end}, expected at most {archive.start_dir}; "
            "the file is damaged or made to do harm"
        )
    return entries


def _root(names: list[str]) -> str:
    """The one folder in which all lies, found by its pickle."""
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise WeightsError(
            f"is a zip archive with {len(roots)} data.pkl, expected one as torch.save writes it; "
            "give the checkpoint itself"
        )
    (root,) = roots
    if any(name.startswith((f"{root}/constants.pkl", f"{root}/code/")) for name in names):
        raise WeightsError(
            "is a TorchScript archive of torch.jit.save, expected a checkpoint of torch.save; "
            "save the state_dict() of the model"
        )
    return root


def _check_view(tensor: Tensor) -> None:
    """Raises a `WeightsError` for a view that leaves its storage or repeats its elements."""
    shape, stride, offset, size = tensor.shape, tensor.stride, tensor.offset, tensor.storage.size
    numbers = (*shape, *stride, offset, size)
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise WeightsError(
            f"has a tensor of {len(shape)} sides and {len(stride)} strides, expected as many, and "
            f"at most {MAX_DIMENSIONS}; the file is damaged or made to do harm"
        )
    if not all(type(n) is int and 0 <= n < MAX_ELEMENTS for n in numbers):
        raise WeightsError(
            "has a tensor with a negative, huge or non-integer shape, stride, offset or size; "
            "the file is damaged or made to do harm"
        )
    if math.prod(max(n, 1) for n in shape) >= MAX_ELEMENTS:
        raise WeightsError(f"has a tensor of shape {shape}; the file is damaged or made to do harm")
    if 0 in shape:
        return
    if offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) >= size:
        raise WeightsError(
            f"has a tensor of shape {shape}, stride {stride} and offset {offset} that leaves its "
            f"storage of {size} elements; the file is damaged or made to do harm"
        )
    if math.prod(shape) > size:
        raise WeightsError(
            f"has a tensor of shape {shape} that repeats the {size} elements of its storage, "
            "expected each once; save tensor.contiguous()"
        )
