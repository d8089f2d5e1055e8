"""What ``yolor detect`` says: a line for each picture and film, and at the end how it went."""

import argparse
import collections
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolor_jax.progress import progress

if TYPE_CHECKING:
    from yolor_jax.inference.sources import Sources
    from yolor_jax.paths import Path
    from yolor_jax.runs.detection import Done, Speed


class Words:
    """Tells what was found, as it is found.

    Attributes:
        frames: pictures, and frames of films, that were looked at.
    """

    def __init__(self, found: "Sources", listed: "Path", args: argparse.Namespace):
        """Of a command.

        Args:
            found: what is looked at.
            listed: the file of detections.
            args: of the command.
        """
        self.frames = 0
        self._found = found
        self._listed = listed
        self._args = args
        self._film: _FilmSoFar | None = None
        # Where the lines below go to a terminal, they are what moves.
        hidden = sys.stdout.isatty() or not sys.stderr.isatty()
        total = found.pictures if len(found.sources) == 1 else None
        self._bar = progress(total=total or None, unit="picture", disable=hidden)

    def say(self, done: "Done") -> None:
        """Tells of a picture; of a film at its end."""
        self.frames += 1
        self._bar.update()
        row = done.row
        if self._film is None or row["file"] != self._film.name:
            self._say_film()
            self._film = _FilmSoFar(row["file"]) if "frame" in row else None
        if self._film is not None:
            self._film.add(row)
            return
        note = f" (the first of {done.frames} frames)" if done.frames > 1 else ""
        print(f"{row['file']}{note}: {_counts(row['detections'])}", flush=True)

    def end(self, speed: "Speed", left_out: Sequence[str], *, finished: bool) -> None:
        """Tells how it went, what was left out, and what to type next.

        Args:
            speed: of the whole.
            left_out: why, a sentence each.
            finished: nothing ended it before all was looked at.
        """
        self._say_film()
        self._bar.close()
        done = {
            "none": "done, their boxes",
            "drawn": "annotated and their boxes",
            "crops": "done, their objects cut out and their boxes",
        }
        if self.frames or self._listed.exists():
            print(f"{self.frames} {done[self._args.pictures]} listed in {self._listed}")
        if self.frames:
            print(_speed(speed))
        for said in [*self._found.passed_over, *(f"left out: {one}" for one in left_out)]:
            print(f"yolor detect: {said}", file=sys.stderr)
        if finished and not left_out:
            if self._args.exported is not None:
                return
            print(f"Next, in the browser:\n  yolor demo {shlex.quote(str(self._args.checkpoint))}")
            return
        words = [word for word in self._args.words if word != "--resume"]
        print(f"Next, for what is not listed yet:\n  {shlex.join(['yolor', *words, '--resume'])}")

    def _say_film(self) -> None:
        if self._film is not None:
            print(self._film, flush=True)
            self._film = None


class _FilmSoFar:
    """What was found in a film."""

    def __init__(self, name: str):
        self.name = name
        self._frames = 0
        self._seconds = 0.0
        self._names: collections.Counter[str] = collections.Counter()

    def add(self, row: dict) -> None:
        """Counts a frame."""
        self._frames += 1
        self._seconds = row["seconds"]
        self._names.update(box["name"] for box in row["detections"])

    def __str__(self) -> str:
        said = f"{self.name}: {self._frames} frames, {self._seconds:.1f} s"
        return f"{said}: {_counted(self._names)}"


def _counts(detections: Sequence[dict]) -> str:
    """For the terminal, for instance ``2 person, 1 dog``."""
    return _counted(collections.Counter(detection["name"] for detection in detections))


def _counted(names: collections.Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in names.most_common()) or "nothing found"


def _speed(speed: "Speed") -> str:
    rate = f"{speed.frames_per_second:.1f} pictures/s"
    if speed.busy is None:
        return f"{rate} in {speed.seconds:.1f} s, the start of all machines included"
    return (
        f"{rate}, the network at work {speed.busy:.0%} of the {speed.seconds:.1f} s; compiled in "
        f"{speed.compile_seconds:.1f} s before"
    )
