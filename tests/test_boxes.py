import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax import boxes

MEASURES = {"IoU": boxes.iou, "GIoU": boxes.giou, "DIoU": boxes.diou, "CIoU": boxes.ciou}


@pytest.fixture(scope="module")
def stored(golden):
    return dict(np.load(golden / "boxes" / "iou.npz"))


def test_formats_hand_worked():
    corners = jnp.array([[1.0, 2.0, 4.0, 10.0]])
    np.testing.assert_array_equal(boxes.xyxy_to_cxcywh(corners), [[2.5, 6, 3, 8]])
    np.testing.assert_array_equal(boxes.xyxy_to_xywh(corners), [[1, 2, 3, 8]])
    np.testing.assert_array_equal(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(corners)), corners)
    np.testing.assert_array_equal(boxes.area(corners), [24])


def test_numpy_in_and_no_box_at_all():
    nothing, one = np.zeros((0, 4), np.float32), np.zeros((1, 4), np.float32)
    for convert in (boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xyxy, boxes.xyxy_to_xywh):
        assert convert(nothing).shape == (0, 4)
        np.testing.assert_array_equal(convert(one), one)
    assert jax.jit(boxes.ciou)(nothing, nothing).shape == (0,)
    assert jax.jit(boxes.pairwise_iou)(nothing, one).shape == (0, 1)
    assert jax.jit(boxes.pairwise_iou)(one, nothing).shape == (1, 0)


@jax.jit
def all_measures(one, other):
    return {name: measure(one, other) for name, measure in MEASURES.items()}


@jax.jit
def all_gradients(one, other):
    return {
        name: jax.grad(lambda a, b, measure=measure: measure(a, b).sum(), (0, 1))(one, other)
        for name, measure in MEASURES.items()
    }


def test_measures_hand_worked():
    # Squares of side 2, one moved right by 1: overlap 2, union 6, enclosing 3 x 2.
    # A 1 x 2 box in the middle of a 4 x 2 box: only the aspect ratio costs more than IoU.
    one = jnp.array([[0.0, 0, 2, 2], [0, 0, 4, 2]])
    other = jnp.array([[1.0, 0, 3, 2], [1.5, 0, 2.5, 2]])
    v = 4 / np.pi**2 * (np.arctan(2) - np.arctan(0.5)) ** 2
    expected = {
        "IoU": [1 / 3, 1 / 4],
        "GIoU": [1 / 3, 1 / 4],
        "DIoU": [1 / 3 - 1 / 13, 1 / 4],
        "CIoU": [1 / 3 - 1 / 13, 1 / 4 - v**2 / (3 / 4 + v)],
    }
    jax.tree.map(
        lambda got, right: np.testing.assert_allclose(got, right, rtol=1e-6),
        all_measures(one, other), {name: np.array(right) for name, right in expected.items()},
    )  # fmt: skip


def test_measures_equal_golden(stored):
    on_corners = all_measures(stored["box1_xyxy"], stored["box2_xyxy"])
    one = boxes.cxcywh_to_xyxy(stored["box1_xywh"])
    on_centres = all_measures(one, boxes.cxcywh_to_xyxy(stored["box2_xywh"]))
    for name in MEASURES:
        expected = stored[f"xyxy_{name}_f64"], stored[f"xywh_{name}_f64"]
        np.testing.assert_allclose(on_corners[name], expected[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(on_centres[name], expected[1], rtol=0, atol=1e-5)


def test_ciou_gradients_equal_golden(stored):
    got, _ = all_gradients(stored["box1_xyxy"], stored["box2_xyxy"])["CIoU"]
    np.testing.assert_allclose(got, stored["xyxy_CIoU_grad1_f64"], rtol=1e-4, atol=2e-5)

    def of_centres(a, b):
        return boxes.ciou(boxes.cxcywh_to_xyxy(a), boxes.cxcywh_to_xyxy(b)).sum()

    got = jax.jit(jax.grad(of_centres))(stored["box1_xywh"], stored["box2_xywh"])
    sized = stored["kind"] != "zero"
    np.testing.assert_allclose(
        got[sized], stored["xywh_CIoU_grad1_f64"][sized], rtol=1e-4, atol=2e-5
    )
    assert np.isfinite(got).all()


def test_measures_and_gradients_stay_finite():
    awkward = np.array(
        [[0.0, 0, 0, 0], [3, 3, 3, 3], [0, 0, 5, 0], [0, 0, 0, 5], [0, 0, 5, 5], [5, 0, 9, 5],
         [1, 1, 4, 4], [0, 0, 1280, 1e-6], [0.1, 0.1, 0.7, 0.7], [1e4, 1e4, 1.1e4, 1.1e4]],
        np.float32,
    )  # fmt: skip
    one, other = np.repeat(awkward, 10, axis=0), np.tile(awkward, (10, 1))  # [100, 4]
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    values = all_measures(one, other)
    same = (one == other).all(axis=1) & (np.asarray(boxes.area(one)) > 0.1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(all_gradients(one, other)))
    for value in map(np.asarray, values.values()):
        assert np.isfinite(value).all()
        np.testing.assert_allclose(value[:100], value[100:], atol=1e-6)  # symmetric
        np.testing.assert_allclose(value[same], 1, atol=1e-6)


def test_touching_boxes_feel_each_other():
    left, right = jnp.array([0.0, 0, 2, 2]), jnp.array([2.0, 0, 4, 2])
    value, gradient = jax.jit(jax.value_and_grad(boxes.iou))(left, right)
    assert value == 0
    assert gradient[2] == pytest.approx(2 / 8)  # to the right, the overlap grows by 2 per unit


def test_pairwise_equal_golden(stored):
    got = jax.jit(boxes.pairwise_iou)(stored["box1_xyxy"][:40], stored["box2_xyxy"][:50])
    np.testing.assert_allclose(got, stored["pairwise_box_iou"], rtol=0, atol=1e-6)
    got = jax.jit(boxes.pairwise_wh_iou)(stored["box1_xywh"][:40, 2:], stored["box2_xywh"][:50, 2:])
    np.testing.assert_allclose(got, stored["pairwise_wh_iou"], rtol=0, atol=1e-6)


def test_pairwise_of_empty_boxes_and_in_batches():
    points = np.array([[1, 1, 1, 1], [0, 0, 2, 2]], np.float32)
    batch = np.stack([points, points + 1])
    expected = [[[0, 0], [0, 1]]] * 2
    np.testing.assert_array_equal(jax.jit(jax.vmap(boxes.pairwise_iou))(batch, batch), expected)
    empty, sizes = np.zeros((1, 2), np.float32), np.array([[0, 0], [1, 2]], np.float32)
    np.testing.assert_array_equal(jax.jit(boxes.pairwise_wh_iou)(empty, sizes), [[0, 0]])


def test_clip():
    wild = jnp.array([[-3.0, -4, 50, 60], [10, 20, 15, 25], [-9, 5, -1, 8]])
    expected = [[0, 0, 40, 30], [10, 20, 15, 25], [0, 5, 0, 8]]
    np.testing.assert_array_equal(boxes.clip(wild, 30, 40), expected)
    sizes = jnp.array([[30], [60]])  # heights of two images, against [2, 3, 4]
    both = jax.jit(boxes.clip)(jnp.stack([wild, wild]), sizes, jnp.array([[40], [20]]))
    np.testing.assert_array_equal(both[0], expected)
    np.testing.assert_array_equal(both[1], [[0, 0, 20, 60], [10, 20, 15, 25], [0, 5, 0, 8]])


@pytest.mark.parametrize("case", range(3))
def test_back_to_the_original_equals_golden(stored, case):
    height, width, original_height, original_width = stored[f"scale{case}_shapes"]
    scale, *pad = stored[f"scale{case}_ratio_pad"]
    if np.isnan(scale):
        scale = min(height / original_height, width / original_width)
        pad = [(width - original_width * scale) / 2, (height - original_height * scale) / 2]
    got = jax.jit(boxes.letterbox_to_original)(
        stored[f"scale{case}_in"],
        jnp.array([scale, *pad], jnp.float32),
        jnp.array([original_height, original_width], jnp.int32),
    )
    np.testing.assert_allclose(got, stored[f"scale{case}_out"], rtol=1e-6, atol=1e-4)


def test_back_to_the_original_in_batches():
    on_input = jnp.array([[[10.0, 30, 60, 80]], [[0, 0, 200, 200]]])
    letterbox = jnp.array([[0.5, 10, 20], [2, 0, 100]])
    sizes = jnp.array([[100, 90], [40, 300]], jnp.int32)
    got = jax.jit(boxes.letterbox_to_original)(on_input, letterbox, sizes)
    np.testing.assert_array_equal(got, [[[0, 20, 90, 100]], [[0, 0, 100, 40]]])
