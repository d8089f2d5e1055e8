"""``--json FILE``: written as it is, and refused before the work where it cannot be."""

import json

import pytest

from yolor_jax.cli.output import figures_writer
from yolor_jax.errors import InputError


def test_figures_go_to_the_file_or_nowhere(tmp_path):
    file = tmp_path / "figures.json"
    save = figures_writer(file)
    assert not file.exists()
    save({"mfu": 0.5, "rows": [{"name": "a"}]})
    assert json.loads(file.read_text()) == {"mfu": 0.5, "rows": [{"name": "a"}]}
    figures_writer(None)({"mfu": 0.5})


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    for file in (tmp_path, tmp_path / "nowhere" / "x.json", tmp_path / "file" / "x.json"):
        with pytest.raises(InputError, match=r"--json .* cannot be written; expected a file in"):
            figures_writer(file)


def test_what_fails_later_is_a_sentence_too(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    save = figures_writer(folder / "figures.json")
    folder.rmdir()
    with pytest.raises(OSError, match="No such file"):
        save({})
