"""Before several processes begin one run: all must be there and mean the same run.

    group = preflight.meet({"config": recipe.to_dict(), "workdir": "runs/csp"})
    preflight.connect(group)
    sources = preflight.open_sources(recipe.data, group)
    preflight.require_shared(workdir, group)

Each ends with one message in every process, instead of a run that hangs or that trains on two data
sets at once. A process on its own compares nothing and waits for nobody.
"""

import collections
import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax

import yolor_jax
from yolor_jax import bucket
from yolor_jax.errors import MENDABLE, InputError, sentence
from yolor_jax.paths import Path, is_local
from yolor_jax.runs import sources
from yolor_jax.runs.recipe import DataRecipe
from yolor_jax.runs.sources import Sources, Split
from yolor_jax.training.checkpoints import folder as checkpoint_folder
from yolor_jax.training.processes.cluster import find_place
from yolor_jax.training.processes.group import ALONE, ProcessGroup, differences
from yolor_jax.training.processes.roll_call import meet as roll_call

TIMEOUT = 50.0
"""Seconds that processes wait for each other where none of them has anything to prepare."""
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
"""What decides results, beside this package."""
SAMPLED = 64
"""Images of a split, evenly spread, that are compared with their names and boxes."""
SAME_DATA = "Give every host the same prepared data set, or let each prepare the same files."

T = TypeVar("T")


def meet(settings: Mapping[str, Any]) -> ProcessGroup:
    """The processes that the environment tells of, with the same command and the same code.

    Args:
        settings: what the command was asked for, by name; nested dictionaries.

    Raises:
        InputError: a process never came, or differs; says which, in what, and what to do.
    """
    place = find_place(os.environ)
    if place is None:
        return ALONE
    group = roll_call(place, timeout=TIMEOUT)
    same_command = "Give every process the same command and recipe."
    group.agree("command", _flat(settings), advice=same_command, timeout=TIMEOUT)
    same_code = "Bring the same code and libraries to every host."
    group.agree("code", code_facts(), advice=same_code, timeout=TIMEOUT)
    return group


def connect(group: ProcessGroup) -> None:
    """Makes the devices of all processes those of one run.

    Raises:
        InputError: the processes do not have equally many devices of one kind.
    """
    if group is ALONE:
        return
    place = group.place
    jax.config.update("jax_enable_preemption_service", False)  # it catches SIGTERM: see preemption
    jax.distributed.initialize(
        place.coordinator, place.count, place.index, initialization_timeout=round(TIMEOUT)
    )
    kinds = collections.defaultdict(list)
    for device in jax.devices():
        kinds[device.process_index].append(device.device_kind)
    require_equal_devices(kinds)


def require_equal_devices(kinds: Mapping[int, Sequence[str]]) -> None:
    """Raises an InputError unless each process has equally many devices of one kind.

    Args:
        kinds: of the devices of each process.
    """
    facts = []
    for _, own in sorted(kinds.items()):
        counts = collections.Counter(own)
        facts.append({"devices": ", ".join(f"{counts[k]} x {k}" for k in sorted(counts))})
    if clauses := differences(facts):
        raise InputError(
            f"the processes of this run have different {clauses[0]}. Look for a device that "
            "another program holds, and at CUDA_VISIBLE_DEVICES."
        )


def open_together(
    topic: str,
    opener: Callable[[], T],
    facts: Callable[[T], dict[str, str]],
    group: ProcessGroup,
    advice: str,
) -> T:
    """Opens something in every process, and compares what was opened.

    Opening may take a while on one host, for example where only that one must prepare the data:
    the others wait as long as it lives.

    Args:
        topic: what is opened.
        opener: opens it.
        facts: what must be the same in all processes.
        group: the processes.
        advice: what to do if they differ.

    Returns:
        What was opened.

    Raises:
        InputError: it could not be opened here or in another process, or differs.
    """
    try:
        opened = opener()
    except MENDABLE as error:
        group.part(sentence(error), timeout=None)
        raise
    if group is not ALONE:
        group.agree(topic, facts(opened), advice=advice, timeout=None)
    return opened


def open_sources(data: DataRecipe, group: ProcessGroup, *, progress: bool = False) -> Sources:
    """Opens both splits of a recipe in every process.

    Args:
        data: of the recipe.
        group: the processes.
        progress: whether a preparation shows bars and its table.

    Raises:
        InputError: the data cannot be used as it is, or is not the same everywhere.
    """

    def opener() -> Sources:
        return sources.open_sources(data, progress=progress)

    def facts(opened: Sources) -> dict[str, str]:
        return split_facts(opened.train) | split_facts(opened.evaluation)

    return open_together("data", opener, facts, group, SAME_DATA)


def open_evaluation(data: DataRecipe, group: ProcessGroup, *, progress: bool = False) -> Split:
    """Opens the split to evaluate on in every process; see `open_sources`."""

    def opener() -> Split:
        return sources.open_split(data, data.eval_split, progress=progress)

    return open_together("data", opener, split_facts, group, SAME_DATA)


def require_writable(folder: Path, group: ProcessGroup) -> None:
    """Checks that a folder in a bucket can be written to; a local one is made when it is needed.

    Raises:
        InputError: checkpoints cannot be in such a path.
        OSError: it cannot; says why.
    """
    if is_local(folder):
        return
    try:
        checkpoint_folder.absolute(folder)
        bucket.require_writable(folder)
    except MENDABLE as error:
        group.part(sentence(error), timeout=None)
        raise


def require_shared(folder: Path, group: ProcessGroup) -> None:
    """Checks that all processes see the same folder; creates it if need be.

    Raises:
        InputError: a process sees another one, such as a disk of its own.
    """
    if group is ALONE:
        return
    folder.mkdir(parents=True, exist_ok=True)
    sign = folder / ".shared"
    if group.is_first:
        sign.write_text("")
    try:
        # All wait here until the first process has made the sign; only then may they look for it.
        group.agree("sign of the workdir", {}, advice="", timeout=TIMEOUT)
        seen = {f"{folder}, as process 0 sees it": "there" if sign.exists() else "not there"}
        advice = "a folder that all hosts share, such as a network file system or a bucket (gs://)"
        group.agree("workdir", seen, advice=f"Use {advice}.", timeout=TIMEOUT)
    finally:
        if group.is_first:
            sign.unlink()


def code_facts() -> dict[str, str]:
    """Digest of this package's sources, and the versions of what it computes with."""
    root = pathlib.Path(yolor_jax.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"yolor_jax": digest.hexdigest()[:12], "Python": platform.python_version(), **versions}


def split_facts(split: Split) -> dict[str, str]:
    """Number of images of a split, and digests of its classes and of its images."""
    classes = hashlib.sha256("\n".join(split.class_names).encode())
    return {
        f"{split.split}: images": str(len(split)),
        f"{split.split}: digest of images": digest_of_images(split),
        f"{split.split}: digest of classes": classes.hexdigest()[:12],
    }


def digest_of_images(split: Split) -> str:
    """Digest of `SAMPLED` images of a split, with their positions, names, boxes and labels."""
    count = len(split)
    images = hashlib.sha256()
    for position in sorted({i * count // SAMPLED for i in range(SAMPLED)}):
        example = split[position]
        images.update(f"{position} {split.name(position)}".encode() + example.jpeg)
        images.update(example.boxes_xyxy.tobytes() + example.labels.tobytes())
    return images.hexdigest()[:12]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by path."""
    flat = {}
    for name, value in settings.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": repr(value)}
    return flat
