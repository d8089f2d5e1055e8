"""Devices that are not there: a TPU slice by its name, to compile for it on any machine.

    mesh = make_mesh(tpu_devices("v5e:4x4"))
    step.lower(abstract, ...).compile()      # of ShapeDtypeStructs with shardings on that mesh

This needs libtpu, the compiler for TPUs, and no TPU.
"""

import os
import re

import jax
from jax.experimental import topologies

from yolor_jax.errors import InputError

GIB = 2**30
HBM_GIB = {"TPU v4": 32, "TPU v5 lite": 16, "TPU v5": 95, "TPU v6 lite": 32}
"""Memory of a chip by ``device_kind`` (Google's system architecture pages: v4, v5e, v5p, v6e)."""

INSTALL = "pip install -e .[tpu]"
EXAMPLES = "v5e:4x4, v4:2x2x2, v5p:2x2x1 or v6e:2x2"

# Without these libtpu asks a metadata server, which is not there, for the host that it is not on.
_OFF_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def tpu_devices(name: str) -> list[jax.Device]:
    """The devices of a TPU slice; they compile, and run nothing.

    Args:
        name: generation and chips along each side, such as ``v5e:4x4``.

    Returns:
        One device for each chip.

    Raises:
        InputError: no such slice.
        ImportError: libtpu is not installed; names the command.
    """
    if not re.fullmatch(r"v\d+[a-z]?:\d+(x\d+){1,2}", name):
        raise InputError(f"the topology is {name!r}; expected a name such as {EXAMPLES}")
    for variable, value in _OFF_TPU.items():
        os.environ.setdefault(variable, value)
    options = {}
    if name.startswith("v4:"):
        options["chip_config_name"] = "megacore"  # both cores of a chip as one device
    if name.endswith(":1x1"):
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        return list(topologies.get_topology_desc(name, platform="tpu", **options).devices)
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"there is no topology {name!r} ({error}); expected a name such as {EXAMPLES}"
        ) from error
    except RuntimeError as error:
        if "not installed" not in str(error):  # JAX has no error of its own for this
            raise
        raise ImportError(
            f"compiling for {name} needs libtpu, which is not installed: {INSTALL}"
        ) from error


def hbm_bytes(device: jax.Device) -> int:
    """Memory of a TPU chip.

    Raises:
        InputError: a kind of chip whose memory is not known here.
    """
    if device.device_kind not in HBM_GIB:
        raise InputError(
            f"the memory of a {device.device_kind} is not known; known are {', '.join(HBM_GIB)}"
        )
    return HBM_GIB[device.device_kind] * GIB


class DoesNotFit(Exception):
    """A program needs more memory than a chip has.

    Attributes:
        needed: bytes.
        available: bytes that the compiler gives to programs.
    """

    def __init__(self, needed: int, available: int):
        super().__init__(f"needs {needed:,} bytes of {available:,}")
        self.needed = needed
        self.available = available


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# "Used 17.50G of 15.75G hbm", or "temporaries (78.65G) exceeds available HBM (15.75G)".
_OUT_OF_MEMORY = re.compile(
    r"([\d.]+)([KMGT]?)\)? (?:of|exceeds available HBM) \(?([\d.]+)([KMGT]?)"
)


def compile_for_tpu(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles, and tells a program that is too large from one that is wrong.

    Raises:
        DoesNotFit: the program needs more memory than a chip has.
    """
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = _OUT_OF_MEMORY.search(str(error))
        if found is None or "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed, needed_unit, available, available_unit = found.groups()
        raise DoesNotFit(
            round(float(needed) * _UNITS[needed_unit]),
            round(float(available) * _UNITS[available_unit]),
        ) from error
