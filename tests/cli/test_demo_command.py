"""`yolor demo`: what cannot be served is a sentence; the page itself is tested in a browser."""

import socket
import sys

import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import save_run
from yolor_jax.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, grid_detector()[1])
    return folder


def complaint(capsys, *words):
    assert main(["demo", *map(str, words)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("yolor demo: ") and err.count("\n") == 1
    return err


def test_without_gradio_it_says_what_to_install(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'yolor-jax[demo]'" in complaint(capsys, run, "--port", 0)


def test_addresses_that_cannot_be_listened_at(run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "choose others with --host and --port" in complaint(capsys, run, "--port", port)
    assert "port 70000" in complaint(capsys, run, "--port", 70000)
    assert "192.0.2.1" in complaint(capsys, run, "--host", "192.0.2.1", "--port", 0)


def test_no_checkpoint(tmp_path, capsys):
    assert "no such file" in complaint(capsys, tmp_path / "gone")
