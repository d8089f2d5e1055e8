import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.golden_losses import CASES, load
from yolor_jax.detection import assign as assignment

COMPILED = jax.jit(
    assignment.assign, static_argnames=("anchors", "stride", "grid_hw", "ratio_threshold")
)


def assign(boxes_xyxy, labels=None, mask=None, *, anchors=((10, 10),), stride=8, grid_hw=(4, 6)):
    """The assigned slots of the first image, as a list of readable rows."""
    boxes_xyxy = jnp.asarray(boxes_xyxy, jnp.float32)[None]
    number = boxes_xyxy.shape[1]
    labels = jnp.arange(number) if labels is None else jnp.asarray(labels)
    mask = jnp.ones(number, bool) if mask is None else jnp.asarray(mask)
    found = COMPILED(
        boxes_xyxy, labels[None], mask[None], anchors=anchors, stride=stride, grid_hw=grid_hw
    )
    assert found.mask.shape == (1, 5 * len(anchors) * number)
    count = np.asarray(found.mask[0])
    cells, offsets = np.asarray(found.cell[0])[count], np.asarray(found.boxes_cxcywh[0])[count]
    labels = np.asarray(found.labels[0])[count]
    return [
        (*map(int, cell), int(label), *map(float, offset))
        for cell, label, offset in zip(cells, labels, offsets, strict=True)
    ]


def ordered(rows):
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("name", CASES)
def test_equals_golden(golden, name):
    """The same assigned slots on every level; their order differs (there: image after target)."""
    case = load(golden / "losses", name)
    boxes_xyxy, labels, mask = map(jnp.asarray, case.targets)
    for level, shape in enumerate(case.stored["shapes"]):
        anchors, stride = case.static["anchors"][level], case.static["strides"][level]
        found = jax.tree.map(np.asarray, COMPILED(
            boxes_xyxy, labels, mask, anchors=anchors, stride=stride,
            grid_hw=(int(shape[2]), int(shape[3])), ratio_threshold=4.0,
        ))  # fmt: skip
        count = found.mask
        image, _ = np.nonzero(count)
        got = np.concatenate(
            [image[:, None], found.cell[count], found.labels[count][:, None],
             found.boxes_cxcywh[count], found.anchor_wh[count]], axis=1,
        )  # fmt: skip
        expected = np.concatenate(
            [case.stored[f"match{level}"], case.stored[f"tcls{level}"][:, None],
             case.stored[f"tbox{level}"], case.stored[f"anch{level}"]], axis=1,
        )  # fmt: skip
        assert got.shape == expected.shape
        got, expected = ordered(got), ordered(expected)
        np.testing.assert_array_equal(got[:, :5], expected[:, :5])
        np.testing.assert_allclose(got[:, 5:], expected[:, 5:], rtol=1e-6, atol=1e-5)
        inside = found.cell >= 0
        assert inside.all() and (found.cell < [len(anchors), shape[2], shape[3]]).all()


def test_hand_worked():
    # Centre (20, 12) = (2.5, 1.5) cells: own cell only. Order: offset, then anchor, then target.
    assert assign([[15, 7, 25, 17]]) == [(0, 1, 2, 0, 0.5, 0.5, 1.25, 1.25)]
    # (2.25, 1.75) cells: own, left, down.
    rows = assign([[13, 9, 23, 19]])
    assert [row[:3] for row in rows] == [(0, 1, 2), (0, 1, 1), (0, 2, 2)]
    assert [row[4:6] for row in rows] == [(0.25, 0.75), (1.25, 0.75), (0.25, -0.25)]
    # (2.75, 1.25) cells: own, up, right.
    assert [row[:3] for row in assign([[17, 5, 27, 15]])] == [(0, 1, 2), (0, 0, 2), (0, 1, 3)]


def test_neighbours_outside_the_grid_are_left_out():
    # (0.25, 0.25): no left, no up. (5.75, 3.75) of 6 x 4 cells: no right, no down.
    assert [row[:3] for row in assign([[-3, -3, 7, 7]])] == [(0, 0, 0)]
    assert [row[:3] for row in assign([[41, 25, 51, 35]])] == [(0, 3, 5)]
    # Exactly 1.0 is not beyond the first cell.
    assert [row[:3] for row in assign([[3, 7, 13, 17]])] == [(0, 1, 1)]
    # On the far border: the last cell at an offset of 1, as its own and as the left neighbour.
    assert [row[:6] for row in assign([[43, 7, 53, 17]])] == [(0, 1, 5, 0, 1, 0.5)] * 2


def test_a_factor_of_four_is_too_much():
    assert assign([[0, 7, 40, 17]]) == []  # 40 : 10
    assert len(assign([[0.5, 7, 39.5, 17]])) == 1
    assert assign([[18.75, 7, 21.25, 17]]) == []  # 10 : 2.5
    two = assign([[0, 7, 40, 17]], anchors=((10, 10), (20, 10)))
    assert [row[0] for row in two] == [1]


def test_labels_follow_their_targets():
    rows = assign([[15, 7, 25, 17], [31, 15, 41, 25]], labels=[7, 9])
    assert [row[:4] for row in rows] == [(0, 1, 2, 7), (0, 2, 4, 9)]


@pytest.mark.parametrize("nothing", [[20, 12, 20, 12], [15, 12, 25, 12], [15, 7, 15, 17]])
def test_degenerate_and_masked_targets_match_nothing(nothing):
    assert assign([nothing]) == []
    assert assign([[15, 7, 25, 17]], mask=[False]) == []


def test_no_targets_at_all():
    assert assign(np.zeros((0, 4))) == []


def test_placeholders_are_harmless():
    """What does not count is finite, inside the grid, and the same whatever the padding holds."""
    boxes_xyxy = jnp.array([[[15.0, 7, 25, 17], [jnp.nan, jnp.inf, -3e38, 3e38]]])
    mask = jnp.array([[True, False]])
    static = dict(anchors=((10, 10),), stride=8, grid_hw=(4, 6))
    wild = COMPILED(boxes_xyxy, jnp.array([[1, -(10**9)]]), mask, **static)
    tame = COMPILED(boxes_xyxy[:, [0, 0]], jnp.array([[1, 0]]), mask, **static)
    jax.tree.map(np.testing.assert_array_equal, wild, tame)
    size_wh = np.asarray(wild.boxes_cxcywh[..., 2:])
    assert np.isfinite(wild.boxes_cxcywh).all() and (size_wh > 0).all()
