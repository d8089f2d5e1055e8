"""Reads the ``data.pkl`` of a PyTorch checkpoint without running it.

A pickle is a program for a stack machine. This machine knows the opcodes of protocol 2 that build
plain values. It imports nothing and calls nothing from the file: a global stays a name, checked
against the lists below; rebuilding a tensor notes where its numbers lie; an object of the model's
own classes becomes an inert `Placeholder` that keeps its attributes. No value is copied, so that
memory stays proportional to the length of the pickle, and only scalars are hashed.

    checkpoint = load(data)    # {'epoch': 12, 'model': {'model.0.conv.weight': Tensor(...)}}
"""

import dataclasses
import pickletools
import re
from typing import Any

import ml_dtypes
import numpy as np

from yolor_jax.weights.foreign import WeightsError

STORAGE_DTYPES = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}
# Rebuilt in `_make`.
CONSTRUCTORS = {
    "collections.OrderedDict",
    "__builtin__.set",
    "_codecs.encode",
    "torch.Size",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "numpy.dtype",
}
# Become placeholders: NumPy's best score, a device, the modules of a network; the last package has
# the wavelets of YOLOR-SSSS-DWT.
INERT = {"numpy.ndarray", "torch.device"} | {
    f"numpy.{core}.multiarray.{name}"
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
}
INERT_PACKAGES = ("models.", "utils.", "torch.nn.", "pytorch_wavelets.", "mish_cuda.")
DTYPES = {
    f"torch.{name}"
    for name in "float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool".split()
}
ALLOWED = CONSTRUCTORS | STORAGE_DTYPES.keys() | INERT | DTYPES
# Module and name as the pickle has them; a dotted name would lead through a module's imports.
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)* [A-Za-z_]\w*", re.ASCII)
NUMERIC = re.compile(r"[biufc]\d+")
KEY_TYPES = (str, int, float, type(None))


@dataclasses.dataclass(frozen=True)
class Global:
    """A class or function named by the pickle; never imported."""

    name: str


@dataclasses.dataclass(eq=False)
class Placeholder:
    """An object whose class is not imported: the name of the class and the object's state."""

    name: str
    state: Any = None


@dataclasses.dataclass(frozen=True)
class Storage:
    """A block of numbers in the archive: the entry ``data/<key>`` of ``size`` elements."""

    key: str
    dtype: np.dtype
    size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view into a storage, in elements; not yet checked against it."""

    storage: Storage
    offset: int
    shape: tuple
    stride: tuple


PUSH_ARGUMENT = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(data: bytes) -> Any:
    """The value that a pickle describes.

    Args:
        data: the pickle, protocol 2.

    Returns:
        Plain Python values, `Tensor`, `Placeholder` and `Global`. An ordered dict is a dict, a set
        is the list of its elements, and the content of NumPy arrays is left out.

    Raises:
        WeightsError: if the pickle is damaged or asks for anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
    except WeightsError:
        raise
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            f"its pickle is damaged ({str(error)[:100]!a}); download it again"
        ) from error
    return machine.result


class _Machine:
    """The stack, the marked stacks below it, and the memo."""

    def __init__(self):
        self.result = None
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """One opcode; IndexError and KeyError mean that stack or memo lack what it needs."""
        stack = self._stack
        match opcode:
            case "PROTO":
                pass
            case "STOP":
                self.result = stack.pop()
            case "MARK":
                self._below.append(stack)
                self._stack = []
            case "TUPLE":
                items = self._to_mark()
                self._stack.append(tuple(items))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_global(argument))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_make(function, arguments))
            case "BUILD":
                state = stack.pop()
                _set_state(stack[-1], state)
            case "APPEND":
                item = stack.pop()
                _of_type(list, stack[-1]).append(item)
            case "APPENDS":
                items = self._to_mark()
                _of_type(list, self._stack[-1]).extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self._to_mark()
                _set_items(self._stack[-1], items)
            case _ if opcode in PUSH_ARGUMENT:
                stack.append(argument)
            case _ if opcode in CONSTANTS:
                stack.append(CONSTANTS[opcode])
            case _ if opcode in CONTAINERS:
                stack.append(CONTAINERS[opcode]())
            case _ if opcode in TUPLES:
                items = [stack.pop() for _ in range(TUPLES[opcode])]
                stack.append(tuple(reversed(items)))
            case _:
                raise WeightsError(
                    f"its pickle uses the opcode {opcode}, expected those of torch.save's "
                    "protocol 2; re-save it with torch.save as it comes"
                )

    def _to_mark(self) -> list[Any]:
        """What lies above the last mark; the stack below it is the stack again."""
        items, self._stack = self._stack, self._below.pop()
        return items


def _of_type(kind: type, value: Any) -> Any:
    """The value, if it is of that very type."""
    if type(value) is not kind:
        raise WeightsError(
            f"its pickle puts items into a {type(value).__name__}, expected a {kind.__name__}; "
            "the file is damaged or made to do harm"
        )
    return value


def _set_items(target: Any, items: list[Any]) -> None:
    """Alternating keys and values into a dict; keys that are no scalars could hash for ever."""
    target = _of_type(dict, target)
    if not all(isinstance(key, KEY_TYPES) for key in items[::2]):
        raise WeightsError("its pickle has a dict whose keys are no scalars; nothing was executed")
    target.update(zip(items[::2], items[1::2], strict=True))


def _global(argument: str) -> Global:
    """The name ``module name`` as a `Global`, if it is on the lists."""
    name = argument.replace(" ", ".")
    if NAME.fullmatch(argument) and (name in ALLOWED or name.startswith(INERT_PACKAGES)):
        return Global(name)
    raise WeightsError(
        f"asks for {name[:200]!a}, which no weights need, and was refused: nothing was "
        "executed. Expected dense tensors in plain containers, and modules of "
        f"{', '.join(package + '*' for package in INERT_PACKAGES)}. If you trust the file, "
        "save its state_dict() with torch.save and read that"
    )


def _storage(persistent_id: Any) -> Storage:
    match persistent_id:
        case ("storage", Global(name), str(key), str(), int(size)) if name in STORAGE_DTYPES:
            return Storage(key, STORAGE_DTYPES[name], size)
    raise WeightsError(
        "its pickle names a storage in an unknown form; expected ('storage', type, key, device, "
        "size) as torch.save writes it"
    )


def _make(function: Any, arguments: Any) -> Any:
    """What calling an allowed class or function gives, without a call."""
    if not isinstance(function, Global):
        raise WeightsError("its pickle calls what is no function; nothing was executed")
    match function.name, arguments:
        case "collections.OrderedDict", ():
            return {}
        case "__builtin__.set", (list(items),):
            return items
        case "_codecs.encode", (str(), "latin1"):
            return None  # the content of a NumPy array
        case "torch.Size", (tuple(sizes),):
            return sizes
        case (
            "torch._utils._rebuild_tensor_v2",
            (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_),
        ):
            return Tensor(storage, offset, shape, stride)
        case (
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
            (Tensor() as tensor, *_),
        ):
            return tensor
        case "numpy.dtype", (str(kind), *_) if NUMERIC.fullmatch(kind):
            return Placeholder("numpy.dtype")
        case "numpy.dtype", (str(kind), *_):
            raise WeightsError(f"holds a NumPy array of dtype {kind[:20]!a}, expected numbers")
        case name, tuple() if name in INERT or name.startswith(INERT_PACKAGES):
            return Placeholder(name)
    raise WeightsError(f"calls {function.name} with unexpected arguments; nothing was executed")


def _set_state(target: Any, state: Any) -> None:
    """State of a placeholder; an ordered dict's (the versions of a state dict) is left out."""
    if isinstance(target, Placeholder):
        target.state = state
    elif type(target) is not dict:
        raise WeightsError(
            f"its pickle sets the state of a {type(target).__name__}, expected a module; "
            "nothing was executed"
        )
