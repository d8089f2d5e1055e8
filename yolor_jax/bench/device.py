"""All figures of an accelerator in one go: parts of their own, in one file that is added to.

    measure(path, FULL, recipe, minutes=8.0, say=print)      # a second call does what is missing

An accelerator may be there for minutes only. The most important part comes first; what is done is
written at once; a part that fails leaves its error in its place and is tried again by the next
call. A part that has begun is not cut short: the budget decides whether the next one begins.
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from yolor_jax.bench import device_parts, training
from yolor_jax.bench.model import Trial
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.runs.recipe import Recipe
from yolor_jax.stamp import stamp
from yolor_jax.whole_file import whole_file

MORE = 4

Part = Callable[[], Any]


class Sizes(NamedTuple):
    """What is measured.

    Attributes:
        trials: a model and an image size each, the most important first; prediction is measured
            with one image, the batch size, and `MORE` times as many.
        train_batches: batch sizes of training.
        matrix_side: of the matrix products.
        copied_mib: MiB that are copied on the device.
        steps: of training, with a recipe's own data.
    """

    trials: tuple[Trial, ...]
    train_batches: tuple[int, ...]
    matrix_side: int
    copied_mib: int
    steps: int


FULL = Sizes(
    (Trial("yolor_csp", 640, 32, bfloat16=True), Trial("yolor_p6", 1280, 16, bfloat16=True)),
    (16, 32, 64, 128),
    8192,
    1024,
    100,
)
SMALL = Sizes((Trial("yolor_test", 64, 2, 3),), (2, 4), 256, 8, 5)


def parts(sizes: Sizes, recipe: Recipe) -> dict[str, Part]:
    """The parts by name, in the order of their importance.

    Args:
        sizes: what is measured.
        recipe: that steps are trained of.
    """
    made: dict[str, Part] = {
        "ceiling": partial(device_parts.ceiling, sizes.matrix_side, sizes.copied_mib)
    }
    for trial in sizes.trials:
        for batch in (1, trial.batch_size, MORE * trial.batch_size):
            one = trial._replace(batch_size=batch)
            made[f"predict {_title(one)}"] = partial(device_parts.predict, one)
            made[f"PyTorch {_title(one)}"] = partial(device_parts.beside, one)
        for batch in sizes.train_batches:
            one = trial._replace(batch_size=batch)
            made[f"train {_title(one)}"] = partial(device_parts.train, one)
        made[f"correctness {trial.model}"] = partial(
            device_parts.correctness, trial._replace(batch_size=1)
        )
    first = sizes.trials[0]._replace(batch_size=sizes.train_batches[0])
    made[f"augmentation {_title(first)}"] = partial(device_parts.augmented, first)
    made["pipeline"] = partial(training.measure, recipe, sizes.steps)
    made[f"profile {_title(first)}"] = partial(device_parts.profile, first)
    made[f"a step beside the CPU's, {first.model}"] = partial(device_parts.beside_cpu, first)
    return made


def measure(
    path: Path, sizes: Sizes, recipe: Recipe, *, minutes: float, say: Callable[[str], None]
) -> list[str]:
    """Measures the parts that a file lacks, and adds them to it.

    Args:
        path: of the file, JSON; it need not be there.
        sizes: what is measured.
        recipe: that steps are trained of.
        minutes: after which no further part begins.
        say: takes the name of each part that begins.

    Returns:
        The names of the parts that are still missing or have failed.

    Raises:
        InputError: the file is none of this command, of another commit or device.
    """
    now = stamp()
    figures = _begun(path, now)
    end = time.monotonic() + 60 * minutes
    wanted = parts(sizes, recipe)
    for name, part in wanted.items():
        if "error" not in figures["parts"].get(name, {"error": "missing"}):
            continue
        if time.monotonic() > end:
            break
        say(name)
        try:
            figures["parts"][name] = part()
        except Exception as error:  # whatever it is, it is this part's alone
            figures["parts"][name] = {"error": f"{type(error).__name__}: {error}"[:2000]}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(figures, indent=1) + "\n")
    return [n for n in wanted if "error" in figures["parts"].get(n, {"error": "missing"})]


def _begun(path: Path, now: Mapping[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return {"stamp": now, "parts": {}}
    try:
        figures = json.loads(path.read_text())
        before = figures["stamp"]["commit"], figures["stamp"]["device"]
        figures["parts"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no file of this command; choose another name") from error
    if before != (now["commit"], now["device"]):
        raise InputError(
            f"{path} was begun on {before[1]} at commit {before[0]}, this is {now['device']} at "
            f"{now['commit']}; choose another name"
        )
    return figures


def _title(trial: Trial) -> str:
    return f"{trial.model} {trial.image_size} batch {trial.batch_size}"
