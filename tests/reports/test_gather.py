"""What a run left is read, the right evaluation stands for it, and what is amiss is said."""

import json
import shutil

import pytest

from tests.support.left_run import PATHS, STEPS, leave_evaluation
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.errors import InputError
from yolor_jax.evaluation.analysis import to_json
from yolor_jax.models.implicits import distances, effective_ranks
from yolor_jax.reports.gather import gather
from yolor_jax.runs import recipe
from yolor_jax.runs.evaluation_mode import Mode


@pytest.fixture
def run(left, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(left, tmp_path / "run")


def test_all_that_a_run_left(left, data):
    subject = gather(left)
    assert not subject.doubts and subject.workdir == left and subject.name == "first"
    assert subject.recipe == recipe.load(left)
    assert [row["step"] for row in subject.rows] == list(range(1, STEPS + 1))
    assert subject.stamps[0]["command"]
    assert set(subject.drift) == set(PATHS)
    assert subject.drift[PATHS[0]] == ([20, 40], [0.4, 0.8])
    assert subject.ranks == {path: ([20, 40], [3.0, 1.5]) for path in PATHS[1::2]}
    assert subject.trained.meta["num_classes"] == 6
    record = json.loads((subject.evaluation.folder / "evaluation.json").read_text())
    assert to_json(subject.evaluation.analysis) == record["analysis"]
    assert subject.evaluation.metrics == record["metrics"]
    assert subject.evaluation.results == json.loads(
        (subject.evaluation.folder / "detections.json").read_text()
    )
    assert subject.data() == subject.recipe.data
    words = subject.evaluation.described()
    assert words == f"12 images of {data}, validation · step 40 · 64 pixels · folded · by hand"


def test_the_last_plain_evaluation_on_its_own_data_stands_for_a_run(run, data, tmp_path):
    other = shutil.copytree(data, tmp_path / "other")
    root = run / "evaluations"
    plain = gather(run).evaluation.folder
    flipped = leave_evaluation(root, data, mode=Mode(tta=True))
    early = leave_evaluation(root, data, step=20)
    foreign = leave_evaluation(root, other, step=STEPS + 1)
    subject = gather(run)
    assert [one.folder for one in subject.evaluations] == [plain, flipped, early, foreign]
    assert subject.evaluations[1].mode == Mode(tta=True)
    assert "test-time augmentation" in subject.evaluations[1].described()
    asked = gather(foreign)
    assert asked.evaluation.folder == foreign and asked.workdir == run and asked.rows
    assert len(asked.evaluations) == 4
    assert asked.data().path == str(other)


def test_an_evaluation_that_belongs_to_no_run(data, tmp_path):
    folder = leave_evaluation(tmp_path / "p6.evaluations", data, step=None)
    subject = gather(folder)
    assert subject.workdir is None and subject.trained is None and not subject.rows
    assert subject.evaluation.step is None and subject.evaluations == [subject.evaluation]
    assert (subject.data().path, subject.data().eval_split) == (str(data), "validation")


def test_a_run_that_has_just_begun(tmp_path, data):
    recipe.save(typed(small_recipe(data)), tmp_path)
    subject = gather(tmp_path)
    assert subject.evaluation is None and subject.trained is None and not subject.rows
    metrics, checkpoint = subject.doubts
    assert metrics == f"{tmp_path / 'metrics.jsonl'}: No such file or directory"
    assert "no checkpoint in" in checkpoint


def test_drift_of_a_run_from_before_rows_had_it(run):
    rows = (run / "metrics.jsonl").read_text().splitlines()
    kept = [{k: v for k, v in json.loads(row).items() if "implicit" not in k} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    subject = gather(run)
    trained = subject.trained
    moved = distances(trained.spec, trained.variables["params"])
    assert subject.drift == {path: ([STEPS], [value]) for path, value in moved.items()}
    ranks = effective_ranks(trained.spec, trained.variables["params"])
    assert subject.ranks == {path: ([STEPS], [value]) for path, value in ranks.items()}


def test_what_is_damaged_is_said_and_the_rest_is_read(run, data):
    broken = leave_evaluation(run / "evaluations", data, mode=Mode(tta=True))
    (broken / "evaluation.json").write_text("{")
    [seal] = run.glob("checkpoints/*/seal.json")
    seal.unlink()
    [state] = run.glob("checkpoints/*/state/_METADATA")
    state.write_text("{")
    (run / "metrics.jsonl").write_text("no rows\n")
    subject = gather(run)
    evaluation, metrics, checkpoint = subject.doubts
    assert str(broken) in evaluation and "damaged" in evaluation
    assert "line 1 is not JSON" in metrics
    assert "is damaged" in checkpoint
    assert len(subject.evaluations) == 1
    (subject.evaluation.folder / "detections.json").write_text("[")
    with pytest.raises(InputError, match="damaged"):
        _ = gather(run).evaluation.results
    with pytest.raises(InputError, match="damaged"):
        gather(broken)
    old = json.loads((subject.evaluation.folder / "evaluation.json").read_text())
    del old["analysis"]["iou"]
    (broken / "evaluation.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match="evaluate again"):
        gather(broken)


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_of_something_else(tmp_path, name):
    with pytest.raises(InputError, match="neither the workdir of a run"):
        gather(tmp_path / name)
