"""Bars: drawn in place on a terminal, lines in a log file."""

import io

from yolor_jax import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_lines_and_no_more_than_one_each_half_minute(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", log)
    with progress.progress(total=1000, unit="step") as bar:
        for _ in range(1000):
            bar.update()
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue() and len(lines) <= 3
    assert "1000/1000" in lines[-1]


def test_a_terminal_gets_a_bar_that_is_drawn_in_place(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    assert list(progress.progress(range(3), unit="step")) == [0, 1, 2]
    assert terminal.getvalue().count("\r") >= 2


def test_a_bar_that_is_not_wanted_says_nothing(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", log)
    assert list(progress.progress(range(3), disable=True)) == [0, 1, 2]
    assert log.getvalue() == ""
