"""What a run or an evaluation left in its folder, read for a report.

    subject = gather(user_path("runs/quickstart"))
    subject.evaluation.metrics["AP50"]
    subject.doubts      # sentences on what could not be read

A page is made of what is there: a run that is still in training has no evaluation yet, and one
whose checkpoints were deleted still has its curves.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yolor_jax import bucket
from yolor_jax.errors import MENDABLE, InputError, sentence
from yolor_jax.evaluation.analysis import Analysis, from_json
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.evaluate import Results
from yolor_jax.models.implicits import distances, effective_ranks
from yolor_jax.paths import Path
from yolor_jax.pictures.curves import Line, line
from yolor_jax.runs import evaluation_folder, recipe_files, stamps
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.evaluation_mode import Mode
from yolor_jax.runs.opening import load
from yolor_jax.runs.recipe import DataRecipe, Recipe
from yolor_jax.runs.trained import Trained
from yolor_jax.stamp import STAMPS, Stamp
from yolor_jax.training.checkpoints import folder as folders
from yolor_jax.training.metrics import read_json_lines

METRICS = "metrics.jsonl"
IMPLICIT, RANK = "implicit/", "implicit_rank/"
"""With what the names of rows on implicit knowledge begin; its path follows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Left:
    """What an evaluation left.

    Attributes:
        folder: of its files.
        record: what `runs.evaluation_folder` wrote of it, all but the analysis.
        analysis: by class, score, kind of error and image.
    """

    folder: Path
    record: Mapping[str, Any]
    analysis: Analysis

    @property
    def metrics(self) -> Metrics:
        """The twelve numbers, and those of further tasks."""
        return self.record["metrics"]

    @property
    def step(self) -> int | None:
        """Of the checkpoint; None if nobody knows."""
        return self.record.get("step")

    @property
    def mode(self) -> Mode:
        """How images were looked at, and what was scored."""
        return Mode.of(self.record.get("mode") or {})

    @functools.cached_property
    def results(self) -> Results:
        """The boxes, in COCO's results format.

        Raises:
            InputError: the file is damaged.
            OSError: it cannot be read.
        """
        path = self.folder / evaluation_folder.BOXES
        try:
            with bucket.as_os_error(path):
                return json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}); evaluate again") from error

    def described(self) -> str:
        """Of what it is, and how it was done, in a line."""
        return " · ".join(evaluation_folder.facts(self.record))


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What a report is about.

    Attributes:
        path: as it was given.
        workdir: of the run; None for an evaluation that belongs to none.
        recipe: of the run, likewise.
        stamps: of those who made it, oldest first.
        rows: of ``metrics.jsonl``.
        evaluations: all of the run, the one that stands for it first.
        trained: its network; None if there is none any more.
        drift: by path of an implicit module, over the steps its distance from the neutral element.
        ranks: likewise the effective rank of what it is away from that element, where it has one.
        doubts: a sentence for each thing that could not be read.
    """

    path: Path
    workdir: Path | None
    recipe: Recipe | None
    stamps: Sequence[Stamp]
    rows: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Left]
    trained: Trained | None
    drift: Mapping[str, Line]
    ranks: Mapping[str, Line]
    doubts: Sequence[str]

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.path.name

    @property
    def evaluation(self) -> Left | None:
        """The one that the report shows in full."""
        return self.evaluations[0] if self.evaluations else None

    def data(self) -> DataRecipe:
        """How to open the split that was evaluated on."""
        left = self.evaluation
        recipe = self.recipe or recipe_files.defaults()
        given = {"path": left.record["data"], "eval_split": left.record["split"]}
        same = all(getattr(recipe.data, name) == value for name, value in given.items())
        return dataclasses.replace(recipe.data, **given, **({} if same else {"first": 0}))


def gather(path: Path) -> Subject:
    """Reads what is in a folder.

    Args:
        path: workdir of a run, or folder of an evaluation.

    Raises:
        InputError: it is neither, or its recipe or its evaluation is damaged.
        OSError: it cannot be read.
    """
    with bucket.as_os_error(path):
        is_evaluation = (path / evaluation_folder.RECORD).is_file()
        is_run = (path / recipes.FILE).is_file()
    if is_evaluation:
        shown = read_evaluation(path)
        with bucket.as_os_error(path):
            above = path.parent.parent
            workdir = above if (above / recipes.FILE).is_file() else None
    elif is_run:
        shown, workdir = None, path
    else:
        raise InputError(
            f"{path} is neither the workdir of a run (with {recipes.FILE}) nor the folder of an "
            f"evaluation (with {evaluation_folder.RECORD}); expected one of them"
        )
    if workdir is None:
        return Subject(
            path, None, None, [shown.record.get("stamp") or {}], [], [shown], None, {}, {}, []
        )
    return _run(path, workdir, shown)


def read_evaluation(folder: Path) -> Left:
    """The evaluation in a folder.

    Raises:
        InputError: it is damaged, or of another version.
    """
    record = evaluation_folder.read(folder)
    analysis = from_json(record["analysis"])
    return Left(folder, {k: v for k, v in record.items() if k != "analysis"}, analysis)


def _run(path: Path, workdir: Path, shown: Left | None) -> Subject:
    """A run, with the evaluation that was asked for or that stands for it."""
    recipe = recipes.load(workdir)
    doubts: list[str] = []
    evaluations: list[Left] = []
    for folder in _folders(workdir / evaluation_folder.FOLDER):
        with _doubting(doubts):
            evaluations.append(read_evaluation(folder))
    evaluations.sort(key=functools.partial(_standing, recipe), reverse=True)
    if shown is not None:
        others = [left for left in evaluations if left.folder != shown.folder]
        evaluations = [shown, *others]
    rows: list[dict[str, Any]] = []
    with _doubting(doubts):
        rows = read_json_lines(workdir / METRICS)
    trained = None
    with _doubting(doubts):
        trained = _network(workdir, evaluations[0].step if evaluations else None)
    drift, ranks = _of_rows(rows, IMPLICIT), _of_rows(rows, RANK)
    if not drift and trained is not None:
        with _doubting(doubts):
            drift, ranks = _of_checkpoints(workdir)
    starts = stamps.read(workdir) or (trained.meta.get(STAMPS, []) if trained else [])
    return Subject(path, workdir, recipe, starts, rows, evaluations, trained, drift, ranks, doubts)


@contextlib.contextmanager
def _doubting(doubts: list[str]) -> Iterator[None]:
    """Notes what cannot be read, and goes on."""
    try:
        yield
    except MENDABLE as error:
        doubts.append(sentence(error))


def _folders(root: Path) -> list[Path]:
    """The folders of evaluations, by name."""
    with bucket.as_os_error(root):
        if not root.is_dir():
            return []
        return sorted(one for one in root.iterdir() if (one / evaluation_folder.RECORD).is_file())


def _standing(recipe: Recipe, left: Left) -> tuple[bool, int, int]:
    """What makes an evaluation stand for its run: on its data, of its last step, the plain way."""
    own = (left.record["data"], left.record["split"]) == (recipe.data.path, recipe.data.eval_split)
    return own, left.step or 0, -len(left.folder.name)


def _network(workdir: Path, step: int | None) -> Trained:
    """The network of a step if that is kept, or else the latest."""
    kept = folders.steps(folders.absolute(workdir) / folders.FOLDER)
    return load(workdir, step if step in kept else None)


def _of_rows(rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Line]:
    """By path of an implicit module a number of it over the steps, where rows have it."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(prefix))
    return {name.removeprefix(prefix): line(rows, name) for name in names}


def _of_checkpoints(workdir: Path) -> tuple[dict[str, Line], dict[str, Line]]:
    """Distances and ranks of the checkpoints that are kept of a run from before rows had them."""
    drift: dict[str, Line] = {}
    ranks: dict[str, Line] = {}
    for step in folders.steps(folders.absolute(workdir) / folders.FOLDER):
        trained = load(workdir, step)
        for lines, number in ((drift, distances), (ranks, effective_ranks)):
            for path, value in number(trained.spec, trained.variables["params"]).items():
                steps, values = lines.setdefault(path, ([], []))
                steps.append(step)
                values.append(value)
    return drift, ranks
