"""The certificate: it passes what is equal, and finds what is not."""

import json
from functools import partial

import jax
import numpy as np
import onnx
import PIL.Image
import pytest
from onnx import numpy_helper

from tests.exports.conftest import NMS
from yolor_jax.boxes import cxcywh_to_xyxy, pairwise_iou
from yolor_jax.detection.decode import decode
from yolor_jax.errors import InputError
from yolor_jax.exports.certificate import (
    EXACT,
    FEWER_BITS,
    Pairs,
    Row,
    match,
    row_of_ap,
    rows_of_pairs,
)
from yolor_jax.exports.files import open_exported
from yolor_jax.exports.stages import Found, suppress_decoded
from yolor_jax.inference.prediction import NmsConfig
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
    moved = Pairs(matched=1000, file_only=5, pixels=5.5, scores=0.1)
    assert not any(row.ok for row in rows_of_pairs(moved, EXACT))
    assert all(row.ok for row in rows_of_pairs(moved, FEWER_BITS))
    assert not rows_of_pairs(Pairs(100, 0, 12), FEWER_BITS)[-1].ok


def test_what_nms_can_do_with_scores_that_moved():
    """The claim of docs/export.md: kept, suppressed, below the threshold, or one too many."""
    generator = np.random.default_rng(0)
    nms, by = NmsConfig(0.3, 0.45, max_detections=20), 0.02
    suppress = jax.jit(suppress_decoded, static_argnames="nms")
    moved = 0
    for _ in range(20):
        centres = generator.uniform(20, 80, (1, 60, 2))
        sides = generator.uniform(10, 40, (1, 60, 2))
        corners = np.float32(np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1))
        scores = np.float32(generator.uniform(0, 0.8, (1, 60, 2)))
        other = scores + np.float32(generator.uniform(-by, by, scores.shape))
        a, b = (jax.device_get(suppress(corners, one, nms)) for one in (scores, other))
        n, m = int(a.detected_count[0]), int(b.detected_count[0])
        overlap = np.asarray(pairwise_iou(a.detected_boxes[0, :n], b.detected_boxes[0, :m]))
        same = a.detected_labels[0, :n, None] == b.detected_labels[0, None, :m]
        better = b.detected_scores[0, None, :m] >= a.detected_scores[0, :n, None] - by - 1e-6
        moved += (overlap.max(axis=1) < 0.999).sum()
        low = a.detected_scores[0, :n] <= nms.score_threshold + by
        full = (m == 20) & (a.detected_scores[0, :n] <= b.detected_scores[0, m - 1] + by)
        assert (((overlap > 0.45) & same & better).any(axis=1) | low | full).all()
    assert moved > 10


def test_what_decoding_makes_of_a_difference_of_logits():
    """The bounds of docs/export.md, and that they are no wider than need be."""
    generator = np.random.default_rng(0)
    by, stride, anchor = 0.1, 8, (20.0, 50.0)
    logits = np.float32(generator.uniform(-4, 4, (1, 20, 20, 1, 8)))
    moved = logits + np.float32(by) * np.sign(np.float32(generator.normal(size=logits.shape)))
    ours, theirs = (
        jax.jit(partial(decode, anchors=((anchor,),), strides=(stride,)))((one,))
        for one in (logits, moved)
    )
    a, b = (one.objectness[..., None] * one.probabilities for one in (ours, theirs))
    assert 0.8 < np.abs(a - b).max() / (8 / 27 * by) <= 1
    corners = [np.asarray(cxcywh_to_xyxy(one.boxes_cxcywh)) for one in (ours, theirs)]
    sides = np.tile(np.asarray(ours.boxes_cxcywh[..., 2:]), 2)
    allowed = stride * by / 2 + sides * (np.exp(2 * by) - 1) / 2
    assert 0.6 < (np.abs(corners[0] - corners[1]) / allowed).max() <= 1


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
    assert borders[:4] == ["input", "level0", "level1", "level2"]
    assert ("detections of one side of its boxes" in borders) == name.startswith("nms")
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


@pytest.mark.parametrize("name", ["float16.onnx", "bfloat16.zip", "int8.onnx"])
def test_a_file_of_fewer_bits_is_held_to_its_own_stages(files, network, pictures, name):
    certificate = certification.certify(network, files[name], iter(pictures), nms=NMS)
    rows = {row["border"]: row for row in certificate["borders"]}
    assert 0 < rows["level0"]["largest"] and rows["boxes"]["allowed"] is None
    assert (rows["level0"]["allowed"] is None) == (name == "int8.onnx")
    failed = [border for border, row in rows.items() if not row["ok"]]
    assert set(failed) <= {"detections of one side"}, failed  # weights are random


def scale(name):
    def change(model):
        weights = next(one for one in model.graph.initializer if one.name.startswith(name))
        array = numpy_helper.to_array(weights)
        weights.CopyFrom(numpy_helper.from_array(array * array.dtype.type(1.1), weights.name))

    return change


def last(op):
    """Scales the last constant that feeds an operation behind the levels."""

    def change(model):
        constants = {one.name: one for one in model.graph.initializer}
        node = [one for one in model.graph.node if one.op_type == op][-1]
        weights = constants[[name for name in node.input if name in constants][-1]]
        array = numpy_helper.to_array(weights)
        weights.CopyFrom(
            numpy_helper.from_array(np.asarray(array * array.dtype.type(2)), weights.name)
        )

    return change


@pytest.mark.parametrize(
    ("change", "border"),
    [
        (scale("constant"), "level0"),
        (last("NonMaxSuppression"), "detections of one side of its boxes"),
    ],
)
def test_a_stage_that_is_wrong_is_found_in_float16(
    files, network, pictures, tmp_path, change, border
):
    file = copy_of(files["float16.onnx"], tmp_path, change)
    certificate = certification.certify(network, file, iter(pictures), nms=NMS)
    assert border in {row["border"] for row in certificate["borders"] if not row["ok"]}


def test_a_decoding_that_is_wrong_is_found_in_float16(files, network, pictures, tmp_path):
    def change(model):
        node = next(one for one in model.graph.node if "boxes" in one.output)
        boxes = onnx.helper.make_node("Mul", ["boxes before", "factor"], ["boxes"])
        node.output[list(node.output).index("boxes")] = "boxes before"
        model.graph.initializer.append(numpy_helper.from_array(np.float32(1.001), "factor"))
        model.graph.node.insert(list(model.graph.node).index(node) + 1, boxes)

    file = copy_of(files["float16.onnx"], tmp_path, change)
    certificate = certification.certify(network, file, iter(pictures), nms=NMS)
    assert "boxes of its logits" in {r["border"] for r in certificate["borders"] if not r["ok"]}


def test_ap_may_be_lost_a_little():
    assert row_of_ap(0.50, 0.495).ok and row_of_ap(0.5, 0.6).ok and not row_of_ap(0.5, 0.48).ok


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
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 of a download that was cut")
    with pytest.raises(InputError, match="no picture that can be read; --calibrate needs one"):
        certification.pictures_of(str(tmp_path), "--calibrate")
    assert len(list(certification.painted_pictures())) == certification.PAINTED


def test_a_picture_that_cannot_be_read_is_named_and_left_out(tmp_path):
    for name, (_, image) in zip("ac", certification.painted_pictures(), strict=False):
        PIL.Image.fromarray(image).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    said = []
    pictures = certification.pictures_of(str(tmp_path), say=said.append)
    assert [name for name, _ in pictures] == ["a.png", "c.png"]
    assert len(said) == 1 and said[0].startswith(f"left out {tmp_path / 'b.png'}: ")
