import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from yolor_jax.detection import greedy, nms
from yolor_jax.detection.decode import Decoded

# One compilation for each algorithm, shape of the input and size of the search.
COMPILED = {
    name: jax.jit(getattr(nms, name), static_argnames=("max_candidates", "max_detections"))
    for name in ("non_max_suppression", "class_agnostic_nms", "merging_nms")
}
CASES = (
    "a_val", "a_det", "a_det_agnostic", "a_val_agnostic", "a_det_classes", "b_val", "b_det",
    "b_det_agnostic", "b_det_classes", "b_val_merge", "b_det_merge", "b_none", "c_val", "c_det",
)  # fmt: skip


def as_decoded(rows, dtype=jnp.float32):
    """From rows x, y, w, h, objectness, probabilities: [B, N, 5 + K]."""
    rows = jnp.asarray(rows, dtype)
    return Decoded(rows[..., :4], rows[..., 4], rows[..., 5:])


def search(rows, algorithm="non_max_suppression", *, score, iou, classes=None, dtype=jnp.float32,
           max_candidates=4096, max_detections=300):  # fmt: skip
    allowed = np.ones(rows.shape[-1] - 5, bool)
    if classes is not None:
        allowed = np.isin(np.arange(len(allowed)), classes)
    found = COMPILED[algorithm](
        as_decoded(rows, dtype), score_threshold=jnp.float32(score), iou_threshold=jnp.float32(iou),
        max_candidates=max_candidates, max_detections=max_detections,
        allowed_classes=jnp.asarray(allowed),
    )  # fmt: skip
    return jax.tree.map(np.asarray, found)


def as_rows(found, image):
    """[k, 6]: box, score, label; checks that what is masked out is zero and comes last."""
    number = found.mask[image].sum()
    rows = np.concatenate(
        [found.boxes_xyxy[image], found.scores[image][:, None], found.labels[image][:, None]],
        axis=1,
    )
    assert found.mask[image][:number].all() and not rows[number:].any()
    assert (np.diff(rows[:number, 4]) <= 0).all()
    return rows[:number]


def oracle(rows, score, iou, max_candidates, max_detections, offset=4096):
    """Greedy suppression of one image, candidate by candidate; ties by index."""
    rows = rows.astype(np.float32)
    scores = rows[:, 4:5] * rows[:, 5:]
    candidates = [
        (-scores[n, k], n, k)
        for n, k in np.argwhere((scores > np.float32(score)) & (rows[:, 4:5] > np.float32(score)))
    ]
    kept = []
    for negative, n, k in sorted(candidates)[:max_candidates]:
        corners = np.concatenate([rows[n, :2] - rows[n, 2:4] / 2, rows[n, :2] + rows[n, 2:4] / 2])
        moved = corners + np.float32(offset * k)
        for _, _, other in kept:
            side = np.minimum(moved[2:], other[2:]) - np.maximum(moved[:2], other[:2])
            overlap = np.prod(np.maximum(side, 0))
            union = np.prod(moved[2:] - moved[:2]) + np.prod(other[2:] - other[:2]) - overlap
            if union > 0 and overlap / union > np.float32(iou):
                break
        else:
            kept.append(([*corners, -negative, k], n, moved))
    return np.array([row for row, _, _ in kept[:max_detections]]).reshape(-1, 6)


def random_rows(seed, steps, number=60):
    """[2, N, 5 + 3] crowded boxes; few levels of scores, so that many are equal."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (2, number, 2)), rng.uniform(10, 40, (2, number, 2))
    scores = rng.integers(0, steps, (2, number, 4)) / steps
    return np.concatenate([corner, size, scores], axis=-1).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_equals_golden(golden, name):
    case = json.loads((golden / "nms" / "cases.json").read_text())["cases"][name]
    stored = np.load(golden / "nms" / "nms.npz")
    algorithm = "non_max_suppression"
    if case.get("agnostic"):
        algorithm = "class_agnostic_nms"
    if case.get("merge"):
        algorithm = "merging_nms"
    found = search(
        stored[f"pred_{case['pred']}"], algorithm, score=case["conf_thres"], iou=case["iou_thres"],
        classes=case.get("classes"), max_candidates=8500,
    )  # fmt: skip
    for image, number in enumerate(case["num_out"]):
        got, expected = as_rows(found, image), stored[f"{name}_out{image}"]
        assert len(got) == number
        np.testing.assert_array_equal(got[:, 5], expected[:, 5])
        np.testing.assert_allclose(got[:, 4], expected[:, 4], rtol=0, atol=1e-6)
        np.testing.assert_allclose(got[:, :4], expected[:, :4], rtol=0, atol=1e-3)


def test_all_golden_cases_are_looked_at(golden):
    assert set(CASES) == set(json.loads((golden / "nms" / "cases.json").read_text())["cases"])


@pytest.mark.parametrize("steps", [5, 1000])
@pytest.mark.parametrize(("max_candidates", "max_detections"), [(500, 40), (25, 8)])
def test_equals_the_oracle_with_ties_and_limits(steps, max_candidates, max_detections):
    rows = random_rows(steps, steps)
    for algorithm, offset in (("non_max_suppression", 4096), ("class_agnostic_nms", 0)):
        found = search(
            rows, algorithm, score=0.1, iou=0.5,
            max_candidates=max_candidates, max_detections=max_detections,
        )  # fmt: skip
        for image in range(2):
            expected = oracle(rows[image], 0.1, 0.5, max_candidates, max_detections, offset)
            np.testing.assert_allclose(as_rows(found, image), expected, rtol=1e-6)


def anew(rows, algorithm="non_max_suppression", **limits):
    """A search that is traced again, with the module's constants as they are now."""
    search = functools.partial(getattr(nms, algorithm), **limits)
    return jax.tree.map(np.asarray, jax.jit(search)(as_decoded(rows)))


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("max_detections", [20, 300])
def test_few_candidates_and_many_follow_one_rule(monkeypatch, more, max_detections):
    """As many as enter the first search in one image, or one more; few in the other."""
    monkeypatch.setattr(nms, "FEW", 100)
    rows = random_rows(0, 1000, number=200)
    rows[..., 4:5] = np.maximum(rows[..., 4:5], 0.9)  # so that the score alone decides
    scores = np.sort((rows[0, :, 4:5] * rows[0, :, 5:]).reshape(-1))
    last = nms.FEW + more
    score = (scores[-last] + scores[-last - 1]) / 2  # lies between two
    rows[1, 20:, 4] = 0
    limits = dict(max_candidates=500, max_detections=max_detections)
    for algorithm, offset in (("non_max_suppression", 4096), ("class_agnostic_nms", 0)):
        found = anew(rows, algorithm, score_threshold=float(score), iou_threshold=0.9, **limits)
        for image in range(2):
            expected = oracle(rows[image], score, 0.9, *limits.values(), offset)
            np.testing.assert_allclose(as_rows(found, image), expected, rtol=1e-6)
    number = len(oracle(rows[0], score, 0.9, *limits.values(), 0))
    assert number == 20 if max_detections == 20 else len(expected) < number < 100


@pytest.mark.parametrize(
    ("block", "best"), [(1, 130), (7, 130), (64, 130), (7, 20), (16, 64), (64, 129), (64, 1)]
)
@pytest.mark.parametrize("iou", [0.05, 0.5, 0.9])
def test_any_block_gives_the_same_boxes(monkeypatch, block, best, iou):
    """Last blocks that are not full, images that end in different ones, suppression across them and
    of what is behind them all.
    """
    monkeypatch.setattr(greedy, "BLOCK", block)
    monkeypatch.setattr(greedy, "BEST", best)
    rows = random_rows(5, 50)
    rows[1, 20:, 4] = 0
    rows[:, ::5, 2:4] = 0  # empty boxes, whose IoU is 0 even with themselves
    found = anew(
        rows, score_threshold=0.1, iou_threshold=iou, max_candidates=130, max_detections=25
    )
    for image in range(2):
        expected = oracle(rows[image], 0.1, iou, 130, 25)
        np.testing.assert_allclose(as_rows(found, image), expected, rtol=1e-6)


@pytest.mark.parametrize("number", [2, 255, 256, 257, 600])
def test_of_a_chain_every_other_box_is_kept(number):
    """Each box overlaps its neighbours alone: whether one stays depends on all before it."""
    rows = np.zeros((1, number, 6), np.float32)
    rows[0, :, 0] = 6 * np.arange(number)  # of 10 pixels: IoU with the next is 4 / 16
    rows[0, :, 1:4] = 10
    rows[0, :, 4], rows[0, :, 5] = 1, np.linspace(0.9, 0.5, number)
    limits = dict(score_threshold=0.25, iou_threshold=0.2, max_candidates=600, max_detections=300)
    found = as_rows(anew(rows, **limits), 0)
    np.testing.assert_allclose(found[:, 0], 12 * np.arange(len(found)) - 5, atol=1e-3)
    assert len(found) == -(-number // 2)


def test_hand_worked():
    """Four boxes of 10 x 10 in two classes; the second lies on the first, the fourth alone."""
    rows = np.zeros((1, 4, 7), np.float32)
    rows[0, :, :4] = [[5, 5, 10, 10], [6, 5, 10, 10], [5, 5, 10, 10], [50, 50, 10, 10]]
    rows[0, :, 4:] = [[0.8, 1, 0], [1, 0.7, 0.1], [0.5, 0.9, 1], [0.3, 1, 0]]
    limits = dict(max_candidates=8, max_detections=5)
    per_class = as_rows(search(rows, score=0.25, iou=0.5, **limits), 0)
    np.testing.assert_allclose(
        per_class,
        [[0, 0, 10, 10, 0.8, 0], [0, 0, 10, 10, 0.5, 1], [45, 45, 55, 55, 0.3, 0]],
    )
    agnostic = as_rows(search(rows, "class_agnostic_nms", score=0.25, iou=0.5, **limits), 0)
    np.testing.assert_allclose(agnostic, per_class[[0, 2]])
    # IoU of the first two is 9 / 11: a higher threshold keeps the second.
    loose = as_rows(search(rows, score=0.25, iou=0.82, **limits), 0)
    np.testing.assert_allclose(loose[:, 4], [0.8, 0.7, 0.5, 0.3])
    # Merged: 0.8, 0.7 and 0.45 of class 0; the others have no companion.
    merged = as_rows(search(rows, "merging_nms", score=0.25, iou=0.5, **limits), 0)
    shift = 0.7 / (0.8 + 0.7 + 0.45)
    np.testing.assert_allclose(merged, [[shift, 0, 10 + shift, 10, 0.8, 0]], rtol=1e-6)


def test_merging_leaves_one_candidate_and_thousands_alone():
    rows = np.zeros((1, 4, 7), np.float32)
    rows[0, 2] = [5, 5, 10, 10, 1, 0.5, 0]
    alone = search(rows, "merging_nms", score=0.25, iou=0.5, max_candidates=8, max_detections=5)
    np.testing.assert_allclose(as_rows(alone, 0), [[0, 0, 10, 10, 0.5, 0]])
    rows = random_rows(0, 1000, number=1200)
    rows[..., 4:] = 0.1 + rows[..., 4:]  # so that all 3600 pairs are candidates
    found = search(rows, "merging_nms", score=0.001, iou=0.5, max_candidates=30, max_detections=8)
    np.testing.assert_allclose(as_rows(found, 0), oracle(rows[0], 0.001, 0.5, 30, 8), rtol=1e-6)


def test_scores_and_objectness_must_exceed_the_threshold():
    rows = np.zeros((1, 4, 7), np.float32)
    rows[0, 0] = [5, 5, 10, 10, 0.2, 2.0, 0]  # a score of 0.4, if probabilities could be 2
    rows[0, 1:3, :4] = [5, 5, 10, 10]
    rows[0, 1:3, 4:] = [[0.25, 1, 0], [0.5, 0.5, 0.5]]  # exactly at the threshold: not above it
    found = search(rows, score=0.25, iou=0.5, max_candidates=8, max_detections=5)
    assert not found.mask.any() and not found.boxes_xyxy.any() and not found.scores.any()


def test_a_box_without_area_is_found_once():
    rows = np.zeros((1, 4, 7), np.float32)
    rows[0, 3] = [5, 6, 0, 0, 1, 0.5, 0]
    found = search(rows, score=0.25, iou=0.5, max_candidates=8, max_detections=5)
    np.testing.assert_allclose(as_rows(found, 0), [[5, 6, 5, 6, 0.5, 0]])


def test_not_a_number_is_no_detection():
    rows = np.zeros((1, 4, 7), np.float32)
    rows[0, 0] = [5, 5, 10, 10, np.nan, 1, 1]
    rows[0, 1] = [5, 5, 10, 10, 1, 0.5, np.nan]
    found = search(rows, score=0.25, iou=0.5, max_candidates=8, max_detections=5)
    np.testing.assert_allclose(as_rows(found, 0), [[0, 0, 10, 10, 0.5, 0]])


def test_bfloat16_is_computed_in_float32():
    rows = np.asarray(jnp.asarray(random_rows(3, 1000), jnp.bfloat16), np.float32)
    limits = dict(score=0.1, iou=0.5, max_candidates=500, max_detections=40)
    found = search(rows, dtype=jnp.bfloat16, **limits)
    jax.tree.map(np.testing.assert_array_equal, found, search(rows, **limits))
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32
    assert found.labels.dtype == np.int32


def test_images_do_not_disturb_each_other_and_vmap():
    rows = random_rows(4, 1000)
    limits = dict(score_threshold=0.1, iou_threshold=0.5, max_candidates=500, max_detections=40)
    single = functools.partial(nms.non_max_suppression, **limits)
    several = jax.jit(jax.vmap(single))(as_decoded(rows[:, None]))
    batch = search(rows, score=0.1, iou=0.5, max_candidates=500, max_detections=40)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:, 0], b), several, batch)


def test_a_batch_split_over_devices_needs_no_communication():
    rows = np.concatenate([random_rows(seed, 1000) for seed in range(4)])  # [8, N, 8]
    limits = dict(score_threshold=0.1, iou_threshold=0.5, max_candidates=500, max_detections=40)
    mesh, batch_axis = Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data")
    split = jax.shard_map(
        functools.partial(nms.merging_nms, **limits),
        mesh=mesh, in_specs=batch_axis, out_specs=batch_axis,
    )  # fmt: skip
    decoded = jax.device_put(as_decoded(rows), NamedSharding(mesh, batch_axis))
    program = jax.jit(split).lower(decoded).compile()
    text = program.as_text()
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all"))
    together = search(
        rows, "merging_nms", score=0.1, iou=0.5, max_candidates=500, max_detections=40
    )
    found = program(decoded)
    np.testing.assert_array_equal(found.mask, together.mask)
    np.testing.assert_array_equal(found.labels, together.labels)
    np.testing.assert_allclose(found.boxes_xyxy, together.boxes_xyxy, rtol=1e-5)


def test_mistakes_are_named():
    decoded = as_decoded(np.zeros((1, 4, 7)))
    limits = dict(score_threshold=0.25, iou_threshold=0.5, max_candidates=8)
    with pytest.raises(ValueError, match=r"allowed_classes of shape \(3,\), expected \(2,\)"):
        nms.non_max_suppression(decoded, **limits, allowed_classes=jnp.ones(3, bool))
    with pytest.raises(ValueError, match="expected both to be at least 1"):
        nms.merging_nms(decoded, **limits, max_detections=0)
    with pytest.raises(ValueError, match="got 0 predictions of 2 classes"):
        nms.class_agnostic_nms(as_decoded(np.zeros((1, 0, 7))), **limits)
