"""``yolor bench model`` on the smallest network."""

import json

import pytest

from yolor_jax.cli.main import main


@pytest.mark.long
def test_bench_prints_a_table_and_writes_json(tmp_path, capsys):
    file = tmp_path / "bench.json"
    settings = ["--image-size", "64", "--batch-size", "8", "--classes", "3", "--rounds", "2"]
    assert main(["bench", "model", "yolor_test", *settings, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert [row["program"] for row in figures["programs"]] == [
        "train step", "predict", "predict, folded", "network, folded", "predict, folded, crowded",
        "NMS, 20 objects",
    ]  # fmt: skip
    for row in figures["programs"]:
        assert row["program"] in out
        assert row["images_per_second"] > 0
        assert row["memory_mib"] > 0
    assert figures["programs"][1]["time_to_predict"] == 1


def test_bench_of_an_unknown_model(capsys):
    assert main(["bench", "model", "yolor_tset"]) == 2
    assert "did you mean 'yolor_test'" in capsys.readouterr().err
