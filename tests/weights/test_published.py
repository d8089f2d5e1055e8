"""The table of the original's files: models that there are, their sizes, and commands."""

from yolor_jax.cli.main import main
from yolor_jax.models.zoo import MODELS
from yolor_jax.weights.published import PUBLISHED


def test_the_table_is_of_models_of_the_zoo():
    for one in PUBLISHED:
        assert MODELS[one.model].image_size == one.image_size, one
        assert one.ap50 is None or one.ap < one.ap50 < 100


def test_the_command_prints_it(capsys):
    assert main(["weights"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["YOLOR-D6", "yolor_d6", "1280", "55.4", "73.5", "55.4"] in rows
    assert ["YOLOR-CSP", "yolor_csp", "640", "49.2", "-", "-"] in rows
    assert main(["weights", "yolor_p6"]) == 0
    said = capsys.readouterr().out
    assert "yolor convert FILE.pt yolor_p6.safetensors --verify reference.npz" in said
    assert "GPL-3.0" in said and "yolor_csp" not in said
    assert main(["weights", "yolov4_p7"]) == 2
    assert "expected one of yolor_csp" in capsys.readouterr().err
