"""What commands do around their work: memory, compilation cache, libraries' words, processes."""

import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from yolor_jax.errors import MENDABLE, sentence

if TYPE_CHECKING:
    from yolor_jax.training.processes.group import ProcessGroup

CACHE = pathlib.Path("~/.cache/yolor_jax/compiled")
ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def ready_the_cpu() -> None:
    """Sets what the CPU backend's speed hangs on, for commands that compute on a CPU.

    Both before JAX is imported: what it holds by then stays.
    """
    chosen = os.environ.get("JAX_PLATFORMS")
    on_cpu = chosen == "cpu" if chosen else not any(map(os.path.exists, ACCELERATORS))
    if on_cpu and "jax" not in sys.modules:
        keep_freed_memory()
        convolve_with_eigen()


def keep_freed_memory() -> None:
    """Lets the CPU backend have its big buffers again, which glibc would give back to the kernel.

    The kernel clears them each time that they are taken anew: a third of the time of a step.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def convolve_with_eigen() -> None:
    """Has XLA's CPU backend convolve with Eigen, not with YNNPACK, its library by default.

    YNNPACK leaves a convolution of few channels to one core (docs/speed.md). An unknown flag ends
    the process, so only a jaxlib that is known to have this one gets it; a user's own flag wins.
    """
    import importlib.metadata

    flags = os.environ.get("XLA_FLAGS", "")
    flag = "--xla_cpu_experimental_ynn_fusion_type"
    if flag not in flags and importlib.metadata.version("jaxlib").startswith("0.10."):
        eigen = f"{flag}=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
        os.environ["XLA_FLAGS"] = f"{flags} {eigen}".strip()


def together(
    command: str, work: Callable[["ProcessGroup"], object], settings: Mapping[str, Any]
) -> int:
    """Runs a command in one process or as one of several, with the compilation cache.

    Args:
        command: its name, for messages.
        work: what it does, of the processes of its run.
        settings: what it was asked for; must be the same in all processes of a run.

    Returns:
        The exit code: 0 done; 2 wrong input, a sentence on stderr says which; 130 interrupted. One
        of several processes that fails while the others go on ends at once instead of returning.
    """
    from yolor_jax.runs import preflight
    from yolor_jax.training.processes.group import ALONE

    use_compilation_cache()
    quiet_libraries()
    group, name = ALONE, f"yolor {command}: "
    try:
        group = preflight.meet(settings)
        preflight.connect(group)
        if not group.is_first:
            sys.stdout = open(os.devnull, "w")
        work(group)
        return 0
    except (*MENDABLE, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        code, message = 2, name + sentence(error)
    except KeyboardInterrupt:
        code, message = 130, f"{name}interrupted"
    except Exception:
        # The traceback of a process on its own says it all; of several, the others must hear of it.
        if group is ALONE:
            raise
        import traceback

        code, message = 1, traceback.format_exc()
    print(message, file=sys.stderr, flush=True)
    if not group.part(message.removeprefix(name)):
        os._exit(code)  # JAX would wait for the others, who wait for this one's part of a step
    return code


def quiet_libraries() -> None:
    """Leaves out what JAX and Orbax tell of backends and files; our own warnings still show."""
    import logging

    logging.getLogger("jax").setLevel(logging.WARNING)
    for name in ("absl", "asyncio", "gcsfs"):  # our own messages say what failed in a checkpoint
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = _without_closed_loops


def _without_closed_loops(unraisable) -> None:
    """Leaves out what TensorStore's threads tell Orbax after it has raised their first error."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def use_compilation_cache() -> None:
    """Keeps compiled programs on disk; where, the environment may say."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))
