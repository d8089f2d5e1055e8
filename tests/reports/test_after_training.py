"""Training from Python leaves the page of the command, says nothing, and loses no number to it."""

import pathlib

import pytest

import yolor_jax
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.evaluation.evaluate import Evaluation
from yolor_jax.reports import after_training, page
from yolor_jax.runs import training
from yolor_jax.runs.training import Outcome


@pytest.fixture
def ended(monkeypatch, tmp_path):
    """``ended(folded)``: a training of no steps with this evaluation of its folded network."""

    def set_up(folded):
        outcome = Outcome(tmp_path, 4, folded, folded, 1.0, "nothing was compiled")
        monkeypatch.setattr(training, "train", lambda *given, **settings: outcome)
        return outcome

    return set_up


def test_a_run_leaves_its_page_and_says_nothing(data, tmp_path, capfd):
    config = small_recipe(data)
    config.data.train_split, config.epochs = "validation", 1.0
    outcome = yolor_jax.train(typed(config), tmp_path / "run")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    markup = (tmp_path / "run" / "report.html").read_text()
    assert f"{100 * outcome.folded.metrics['AP50']:.1f}" in markup and "yolor_test" in markup


def test_what_hinders_the_page_is_said(ended, data, tmp_path, monkeypatch):
    config, said = typed(small_recipe(data)), []
    outcome = ended(Evaluation({}, []))
    written = page.Written(tmp_path / "report.html", 1, ["no images"])
    monkeypatch.setattr(page, "write_report", lambda paths: written)
    assert after_training.train(config, tmp_path, say=said.append) is outcome
    assert said == ["not in the report: no images"]

    def full(paths):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr(page, "write_report", full)
    assert after_training.train(config, tmp_path, say=said.append) is outcome
    assert said[1].startswith("the report could not be written: report.html: No space left")


def test_a_run_that_was_stopped_has_no_page_yet(ended, data, monkeypatch):
    ended(None)
    monkeypatch.setattr(page, "write_report", lambda paths: pytest.fail("written"))
    after_training.train(typed(small_recipe(data)), pathlib.Path("run"))
