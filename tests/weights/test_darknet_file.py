"""Darknet files against numbers laid out by hand, the real network's size, and bad files."""

import json
import struct

import numpy as np
import pytest

from yolor_jax.weights.darknet_file import ConvSection, conv_sections, read_darknet, write_darknet
from yolor_jax.weights.foreign import WeightsError

SECTIONS = [
    ConvSection("module_list.0", out_channels=2, in_channels=3, kernel=3, batch_norm=True),
    ConvSection("module_list.4", out_channels=5, in_channels=2, kernel=1, batch_norm=False),
]
HEADER = struct.pack("<iiiq", 0, 2, 5, 32_013_312)
COUNT = 4 * 2 + 2 * 3 * 9 + 5 + 5 * 2
NUMBERS = np.arange(COUNT, dtype="<f4")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "yolo.weights"


def refusal(path, sections=SECTIONS):
    with pytest.raises(WeightsError) as caught:
        read_darknet(path, sections)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_order_by_hand(path):
    path.write_bytes(HEADER + NUMBERS.tobytes())
    tensors = read_darknet(path, SECTIONS)
    expected = {
        "module_list.0.BatchNorm2d.bias": [0, 1],
        "module_list.0.BatchNorm2d.weight": [2, 3],
        "module_list.0.BatchNorm2d.running_mean": [4, 5],
        "module_list.0.BatchNorm2d.running_var": [6, 7],
        "module_list.0.Conv2d.weight": np.arange(8, 62).reshape(2, 3, 3, 3),
        "module_list.4.Conv2d.bias": [62, 63, 64, 65, 66],
        "module_list.4.Conv2d.weight": np.arange(67, 77).reshape(5, 2, 1, 1),
    }
    assert list(tensors) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)
        assert tensors[name].shape == np.shape(values)
        assert tensors[name].dtype == np.float32 and not tensors[name].flags.writeable
    # the last number of the first kernel: output 1, input 2, row 2, column 2
    assert tensors["module_list.0.Conv2d.weight"][1, 2, 2, 1] == 60


def test_round_trip(path):
    rng = np.random.default_rng(0)
    path.write_bytes(HEADER + rng.standard_normal(COUNT, np.float32).tobytes())
    tensors = read_darknet(path, SECTIONS)
    again = path.with_name("again.weights")
    write_darknet(again, {**dict(reversed(tensors.items())), "other": NUMBERS}, SECTIONS)
    assert again.read_bytes()[20:] == path.read_bytes()[20:]
    assert again.read_bytes()[:20] == struct.pack("<iiiq", 0, 2, 5, 0)
    for name, array in read_darknet(again, SECTIONS).items():
        np.testing.assert_array_equal(array, tensors[name])


def test_writing_refuses_what_does_not_fit(path):
    path.write_bytes(HEADER + NUMBERS.tobytes())
    tensors = read_darknet(path, SECTIONS)
    name = "module_list.4.Conv2d.weight"
    lacking = {key: array for key, array in tensors.items() if key != name}
    again = path.with_name("again.weights")
    with pytest.raises(WeightsError, match=rf"{name}: got nothing, expected .* \(5, 2, 1, 1\)"):
        write_darknet(again, lacking, SECTIONS)
    with pytest.raises(WeightsError, match=rf"{name}: got \(2, 5, 1, 1\)"):
        write_darknet(again, {**tensors, name: tensors[name].reshape(2, 5, 1, 1)}, SECTIONS)
    assert not again.exists()


def test_sections_of_a_real_network(golden, path):
    """Every tensor of the original's state dict has its place in a file of 4 bytes a number."""
    listing = json.loads((golden / "models" / "main__yolov4_csp.json").read_text())["state_dict"]
    shapes = {name: tuple(shape) for name, shape, _ in listing}
    sections = conv_sections(shapes)
    with path.open("wb") as file:
        file.write(HEADER)
        file.truncate(211_944_840)  # a file with holes takes no room
    assert {n: a.shape for n, a in read_darknet(path, sections).items()} == shapes
    one_class = [s._replace(out_channels=18) if not s.batch_norm else s for s in sections]
    assert "number of classes" in refusal(path, one_class)


@pytest.mark.parametrize("lacking", [1, 2, 4, 5, 4 * COUNT])
def test_too_few_numbers(path, lacking):
    path.write_bytes((HEADER + NUMBERS.tobytes())[:-lacking])
    sentence = refusal(path)
    assert sentence.startswith(f"holds {(4 * COUNT - lacking) / 4:.10g} numbers, expected {COUNT} ")
    assert "cut off" in sentence


def test_too_many_numbers(path):
    path.write_bytes(HEADER + NUMBERS.tobytes() + bytes(4))
    assert refusal(path).startswith(f"holds {COUNT + 1} numbers, expected {COUNT} for 2 conv")


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>\n" + bytes(4 * COUNT), "is a web page"),
        (b"\n\n<html>", "is a web page"),
        (HEADER[:19], "has 19 bytes, expected a header of 20"),
        (b"PK\x03\x04" + bytes(4 * COUNT + 16), "has format version 67324752."),
        (struct.pack("<iiiq", 0, 1, 0, 0) + NUMBERS.tobytes(), "has format version 0.1.0"),
        (struct.pack("<iiiq", 0, -2, 0, 0) + NUMBERS.tobytes(), "has format version 0.-2.0"),
    ],
)
def test_no_darknet_file(path, content, sentence):
    path.write_bytes(content)
    assert refusal(path).startswith(sentence)


def test_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_darknet(path, SECTIONS)
