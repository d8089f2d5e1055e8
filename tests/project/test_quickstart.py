"""README's first command, from drawing the data to the pictures, with a quarter of the epochs.

With all of them it takes ten minutes beside other tests; a quarter gave an AP50 of 41.7 % where
all gave 76.1 %.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FREE = ("XLA_FLAGS",)  # of the tests: compiled without optimisation, on eight devices


@pytest.mark.long
def test_quickstart_learns_and_folds(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in FREE}
    command = [
        sys.executable, "train_main.py", f"--workdir={tmp_path / 'run'}",
        f"--config.data.prepared={tmp_path / 'prepared'}", "--config.epochs=2.7",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = {
        line.split()[0]: line.split()[-2:] for line in done.stdout.splitlines() if "IoU" in line
    }
    assert len(table) == 12
    for name, (trained, folded) in table.items():
        assert trained == folded, name
    assert float(table["AP50"][0]) >= 33
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["eval/AP50"] >= 0.33
    assert (tmp_path / "run" / "pictures" / "validation.png").stat().st_size > 0
    assert 1e5 < (tmp_path / "run" / "report.html").stat().st_size < 6e6
