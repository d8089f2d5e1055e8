"""What compiling took: a sentence for each program that was long in coming, and the sum.

    with CompileLog(report=print) as log:
        train_step(state, batch, key)      # compiled train_step in 41.2 s
    log.seconds, log.compiled, log.cached

JAX tells of each compilation through `jax.monitoring`, also of those that it finds in the
persistent cache instead.
"""

import threading
from collections.abc import Callable

from jax import monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"
FOUND = "/jax/compilation_cache/cache_hits"
NOTABLE = 1.0
"""Seconds from which on a program is reported by name."""


class CompileLog:
    """Counts compilations while it is open."""

    def __init__(self, report: Callable[[str], object]):
        """Nothing is counted yet.

        Args:
            report: takes a sentence for each program that took `NOTABLE` seconds or more.
        """
        self.seconds = 0.0
        """Of all programs, those from the cache included."""
        self.compiled = 0
        """Programs that were compiled."""
        self.cached = 0
        """Programs that were found in the cache."""
        self._report = report
        self._lock = threading.Lock()
        self._here = threading.local()  # several threads may compile at once

    def __enter__(self) -> "CompileLog":
        monitoring.register_event_listener(self._found)
        monitoring.register_event_duration_secs_listener(self._ended)
        return self

    def __exit__(self, *_) -> None:
        monitoring.unregister_event_listener(self._found)
        monitoring.unregister_event_duration_listener(self._ended)

    def summary(self) -> str:
        """A clause such as "4 programs compiled in 61 s, 2 of them from the cache"."""
        count = self.compiled + self.cached
        found = f", {self.cached} of them from the cache" if self.cached else ""
        return f"{count} programs compiled in {self.seconds:.0f} s{found}"

    def _found(self, event: str, **_) -> None:
        """JAX says this before the end of the same compilation, on the same thread."""
        if event == FOUND:
            self._here.found = True

    def _ended(self, event: str, seconds: float, fun_name: str = "a function", **_) -> None:
        if event != COMPILED:
            return
        found, self._here.found = getattr(self._here, "found", False), False
        with self._lock:
            self.seconds += seconds
            self.cached += found
            self.compiled += not found
        if seconds >= NOTABLE:
            name = fun_name.removeprefix("jit(").removesuffix(")")
            how = "loaded {} from the compilation cache" if found else "compiled {}"
            self._report(f"{how.format(name)} in {seconds:.1f} s")
