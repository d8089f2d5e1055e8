"""The page that a training writes at its end: what hinders it is said, and nothing else is lost."""

import pathlib

import pytest

from yolor_jax.cli import train as command
from yolor_jax.reports import page
from yolor_jax.training.processes.group import ALONE

RUN = pathlib.Path("runs/first")


@pytest.fixture
def trained(monkeypatch):
    """``trained(ended)``: a training of no steps that ends, or is stopped by SIGTERM."""

    def set_up(ended):
        def train(recipe, workdir, group):
            print("AP 50.0 %")
            return ended

        monkeypatch.setattr(command, "train", train)

    return set_up


def test_the_page_comes_last(trained, monkeypatch, capsys):
    trained(True)
    written = page.Written(RUN / "report.html", 1, ["no images"])
    monkeypatch.setattr(page, "write_report", lambda paths: written)
    command.train_and_report(None, RUN, ALONE)
    said = capsys.readouterr()
    assert said.out.endswith("AP 50.0 %\nAll of it on one page:\n  runs/first/report.html\n")
    assert said.err == "not in the report: no images\n"


def test_a_page_that_cannot_be_written_takes_no_number_away(trained, monkeypatch, capsys):
    def full(paths):
        raise OSError(28, "No space left on device", "report.html")

    trained(True)
    monkeypatch.setattr(page, "write_report", full)
    command.train_and_report(None, RUN, ALONE)
    said = capsys.readouterr()
    assert said.out == "AP 50.0 %\n"
    assert "the report could not be written: report.html: No space left" in said.err


def test_a_run_that_was_stopped_has_no_page_yet(trained, monkeypatch, capsys):
    trained(False)
    monkeypatch.setattr(page, "write_report", lambda paths: pytest.fail("written"))
    command.train_and_report(None, RUN, ALONE)
    assert capsys.readouterr().out == "AP 50.0 %\n"
