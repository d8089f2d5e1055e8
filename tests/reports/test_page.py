"""The page says what a run left, is whole in itself, and says what is missing."""

import dataclasses
import html
import json
import re
import shutil

import pytest

from tests.support.left_run import Results, found, leave_evaluation, leave_run
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import NUMBERS
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.reports import comparison, page
from yolor_jax.reports.gather import gather
from yolor_jax.runs import evaluation_folder
from yolor_jax.runs.evaluation_mode import PLAIN, Mode

LARGEST = 6e6  # bytes


def text_of(path):
    """What a reader sees, and the markup."""
    markup = path.read_text()
    body = re.sub(r"<(style|script|svg).*?</\1>", " ", markup, flags=re.S)
    return html.unescape(" ".join(re.sub("<[^>]*>", " ", body).split())), markup


def require_whole(markup):
    """Nothing of the page is elsewhere."""
    elsewhere = re.findall(
        r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#|["']?\))([^"')\s]+)""", markup
    )
    assert not elsewhere, elsewhere
    assert not re.search("@import|<link (?!rel=.icon. href=.data:,)|<iframe|fetch\\(", markup)


@pytest.fixture(scope="module")
def written(left):
    return page.write_report([left])


def test_the_page_of_a_run(left, written):
    assert written.path == left / "report.html" and not written.doubts
    said, markup = text_of(written.path)
    assert written.size == len(markup.encode()) < LARGEST
    require_whole(markup)
    subject = gather(left)
    metrics, analysis = subject.evaluation.metrics, subject.evaluation.analysis
    assert f"AP50 {100 * metrics['AP50']:.1f} IoU 0.50, all, 100 per image" in said
    for one in analysis.classes:
        row = f"{one.name} {one.objects} {one.images} {page.percent(one.ap)}"
        assert row in said
    assert f"fitness {100 * analysis.original.fitness:.1f}" in said
    assert "As the original counts" in said
    assert f"score {analysis.score:.2f}, IoU 0.5" in said
    assert subject.stamps[0]["platform"] in said
    assert "optim.learning_rate" in said and "yolor fold" in said
    worst, best = analysis.images[0], analysis.images[-1]
    for one in (worst, best):
        numbers = f"F1 {100 * one.f1:.1f} · {one.matched} found, {one.missed} missed"
        assert f"{numbers}, {one.false} false" in said
    assert markup.count('<svg class="chart"') == 5 + 7 + 1 + 6 + 2 + 1  # course .. drift, ranks
    assert markup.count("data:image/jpeg") == 12 + 6
    assert "moved" in said and "Refinement" in said and "Alignment" in said


def test_a_page_of_one_evaluation_and_of_what_is_missing(data, tmp_path):
    folder = leave_evaluation(tmp_path / "p6.evaluations", data, mode=Mode(single_class=True))
    written = page.write_report([folder])
    said, markup = text_of(written.path)
    assert written.path == folder / "report.html" and not written.doubts
    assert "all classes as one" in said and "object" in said and "data:image/jpeg" in markup
    assert "Course of the run" not in said and "optim." not in said and "platform" in said
    record = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(record | {"data": "/nowhere"}))
    written = page.write_report([folder], tmp_path / "other.html")
    [doubt] = written.doubts
    said, markup = text_of(tmp_path / "other.html")
    assert doubt.startswith("the images cannot be shown: ") and " ".join(doubt.split()) in said
    assert "data:image/jpeg" not in markup and "AP50" in said


def test_a_split_without_objects_has_a_page(data, tmp_path):
    source = open_dataset(str(data), "validation", data)
    truth = source.ground_truth() | {"annotations": []}
    boxes = found(source.ground_truth(), seed=0)
    metrics = dict.fromkeys((name for name, _ in NUMBERS), None)
    nothing = Results(metrics, boxes, truth, str(data), "validation", None, PLAIN)
    folder = evaluation_folder.write(tmp_path, nothing)[0]
    written = page.write_report([folder])
    said, _ = text_of(written.path)
    assert not written.doubts and "AP50 - IoU 0.50" in said and "F1 over score" not in said
    both = page.write_report([folder, leave_evaluation(tmp_path, data)], tmp_path / "both.html")
    assert not both.doubts


def test_names_are_text_and_no_markup(data, tmp_path):
    folder = leave_evaluation(tmp_path, data)
    record = json.loads((folder / "evaluation.json").read_text())
    name = "<script>alert('&')</script>"
    record["analysis"]["classes"][0]["name"] = record["model"] = name
    (folder / "evaluation.json").write_text(json.dumps(record))
    markup = page.write_report([folder]).path.read_text()
    assert name not in markup and html.escape("<script>alert") in markup


@pytest.fixture(scope="module")
def several(left, data, tmp_path_factory):
    """A run, another seed of it, and another recipe."""
    folder = tmp_path_factory.mktemp("several")
    leave_run(folder / "second", data, seed=1)
    leave_run(folder / "third", data, seed=2)
    settings = json.loads((folder / "third" / "config.json").read_text())
    (folder / "third" / "config.json").write_text(json.dumps(settings | {"epochs": 9.0}))
    return [left, folder / "second", folder / "third"]


def test_several_side_by_side(several, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *map(str, several)]) == 0
    assert "comparison.html (" in capsys.readouterr().out
    said, markup = text_of(tmp_path / "comparison.html")
    assert len(markup.encode()) < LARGEST
    require_whole(markup)
    first, second, third = [gather(path).evaluation.metrics["AP50"] for path in several]
    cells = [f"{100 * first:.1f}"]
    for other in (second, third):
        difference = f"{100 * (other - first):+.1f}".replace("-", "\N{MINUS SIGN}")
        cells += [f"{100 * other:.1f}", difference]
    assert f"AP50 {' '.join(cells)} IoU 0.50, all, 100 per image" in said
    mean, half = (first + second) / 2, abs(first - second) / 2
    assert f"{100 * mean:.1f} ± {100 * half * 2**0.5:.1f}" in said
    assert "first (2 seeds)" in said
    assert "epochs 2.0 2.0 9.0" in said and "seed 0 1 2" in said
    assert "yolor report" in said and "not evaluated in the same way" not in said
    assert markup.count("data:image/jpeg") == comparison.MOST_IMAGES


def test_differences_by_hand(left):
    subject = gather(left)
    changed = dict(subject.evaluation.metrics, AP=0.25, AP50=None)
    evaluation = dataclasses.replace(
        subject.evaluation, record=subject.evaluation.record | {"metrics": changed, "split": "x"}
    )
    other = dataclasses.replace(subject, evaluations=[evaluation])
    rows = {row.name: row for row in comparison.numbers([other, subject, other])}
    ap = subject.evaluation.metrics["AP"]
    assert rows["AP"].values == [0.25, ap, 0.25]
    assert rows["AP"].differences == [0, pytest.approx(ap - 0.25), 0]
    assert rows["AP50"].differences == [None, None, None]
    blind = dataclasses.replace(subject, evaluations=[])
    assert comparison.unlike([subject, subject], ["a", "b"]) == []
    assert [name for name, _ in comparison.unlike([subject, other], ["a", "b"])] == ["a", "b"]
    assert comparison.unlike([subject, blind], ["a", "b"])[1] == ("b", "nothing")
    assert comparison.classes([subject, blind]) == []


def test_names_are_as_short_as_can_be(several):
    subjects = [gather(path) for path in several[:2]]
    assert comparison.distinct_names(subjects) == ["first", "second"]
    twins = [
        dataclasses.replace(subjects[0], path=several[0].parent / name / "run")
        for name in ("a", "b")
    ]
    assert comparison.distinct_names(twins) == ["a/run", "b/run"]


def test_the_command(left, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = shutil.copytree(left, tmp_path / "broken")
    shutil.rmtree(broken / "checkpoints")
    assert main(["report", str(broken), "--output", "page.html"]) == 1
    out = capsys.readouterr().out
    assert "no checkpoint in" in out and "page.html (" in out
    assert "no checkpoint in" in text_of(tmp_path / "page.html")[0]
    for words, sentence in (
        ([str(tmp_path)], "neither the workdir of a run"),
        ([str(left), str(left)], "named twice"),
        ([str(left), "--output", "no/page.html"], "create it first"),
    ):
        assert main(["report", *words]) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="named twice"):
        page.write_report([left, left])
