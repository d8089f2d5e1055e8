"""The certificate: it passes what is equal, and finds what is not."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.exports.conftest import NMS
from yolor_jax.errors import InputError
from yolor_jax.exports.certificate import TOLERANCES, Pairs, Row, match, rows_of
from yolor_jax.exports.files import open_exported
from yolor_jax.exports.stages import Found
from yolor_jax.reports.certificate_page import write_page
from yolor_jax.runs import certification


def detections(boxes, scores, labels):
    return Found(
        np.float32(boxes).reshape(1, -1, 4),
        np.float32([scores]),
        np.int32([labels]),
        np.int32([len(scores)]),
    )


def test_detections_are_matched_by_class_and_place():
    ours = detections(
        [[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], [0.9, 0.8, 0.7], [0, 1, 0]
    )
    same = match(ours, ours)
    assert same == Pairs(3, 0, 0, 0.0, 0.0)
    moved = detections([[0, 0, 10, 10.5], [80, 80, 90, 90]], [0.6, 0.5], [1, 0])
    pairs = match(ours, moved)
    assert pairs[:3] == (1, 2, 1) and pairs.pixels == 0.5
    np.testing.assert_allclose(pairs.scores, 0.2, atol=1e-6)
    flat = detections([[5, 5, 5, 9]], [0.5], [0])
    assert match(flat, flat) == Pairs(1, 0, 0, 0.0, 0.0)  # no area, no IoU
    nothing = detections([], [], [])
    assert match(ours, nothing) == Pairs(0, 3, 0) and match(nothing, nothing) == Pairs()
    assert Pairs(1, 0, 2, 0.5, 0.1) + Pairs(2, 1, 0, 0.25, 0.2) == Pairs(3, 1, 2, 0.5, 0.2)


def test_a_neighbour_that_nms_kept_is_allowed_below_float32_alone():
    moved = Pairs(matched=1000, pixels=5.5, scores=0.0)
    for dtype, ok in (("float32", False), ("float16", True), ("bfloat16", True)):
        rows = {row.border: row.ok for row in rows_of(moved, TOLERANCES[dtype])}
        assert rows["corners of detections"] is ok, dtype
        assert rows["scores of detections"] and rows["detections of one side"]


def test_not_a_number_is_not_within_a_tolerance():
    assert not Row("boxes", float("nan"), 1.0, "pixels", 1).ok


def copy_of(file, folder, change=lambda model: None):
    model = onnx.load(file.path)
    change(model)
    path = folder / file.path.name
    path.write_bytes(model.SerializeToString())
    return open_exported(path)


@pytest.mark.parametrize("name", ["plain.onnx", "nms.onnx", "nms.zip"])
def test_an_equal_file_passes_all_borders(files, network, pictures, name):
    certificate = certification.certify(network, files[name], iter(pictures), nms=NMS)
    assert certificate["ok"] and certificate["detections"]["matched"] > 15
    borders = [row["border"] for row in certificate["borders"]]
    assert borders[:6] == ["input", "level0", "level1", "level2", "boxes", "scores"]
    assert set(certificate["canvases_sha256"]) == {name for name, _ in pictures}
    json.dumps(certificate, allow_nan=False)


def test_a_changed_weight_is_found_and_the_files_are_written(files, network, pictures, tmp_path):
    def change(model):
        weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
        array = numpy_helper.to_array(weights) * np.float32(1.01)
        weights.CopyFrom(numpy_helper.from_array(array, weights.name))

    file = copy_of(files["plain.onnx"], tmp_path, change)
    certificate = certification.certify(network, file, iter(pictures), nms=NMS)
    failed = {row["border"] for row in certificate["borders"] if not row["ok"]}
    assert not certificate["ok"] and {"level0", "boxes", "scores"} <= failed
    assert certification.write(certificate, file.path).name == "plain.onnx.certificate.json"
    assert certification.read(file.path) == certificate
    page = write_page(certificate, file.path).read_text()
    assert "a tolerance is missed" in page and "NOT ok" in page and certificate["sha256"] in page


def test_a_certificate_of_another_file_is_refused(files, network, pictures, tmp_path):
    file = copy_of(files["plain.onnx"], tmp_path)
    with pytest.raises(InputError, match="has no certificate"):
        certification.read(file.path)
    certificate = certification.certify(network, file, iter(pictures[:1]), nms=NMS)
    certification.write(certificate, file.path)
    file.path.write_bytes(file.path.read_bytes() + b"\n")
    with pytest.raises(InputError, match="of another file"):
        certification.read(file.path)


def test_pictures_that_are_none_are_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no image in this folder"):
        certification.pictures_of(str(tmp_path))
    assert len(list(certification.painted_pictures())) == certification.PAINTED
