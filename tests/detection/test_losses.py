import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.support.golden_losses import CASES, MAX_TARGETS, load
from yolor_jax.detection import losses
from yolor_jax.detection.losses import LossConfig, detection_loss

TERMS = ("box", "objectness", "classification", "total")
SMALL = dict(
    anchors=(
        ((12.0, 16.0), (19.0, 36.0), (40.0, 28.0)),
        ((36.0, 75.0), (76.0, 55.0), (72.0, 146.0)),
        ((142.0, 110.0), (192.0, 243.0), (459.0, 401.0)),
    ),
    strides=(8, 16, 32),
)


@functools.cache
def compiled(anchors, strides, focal_gamma):
    """Loss, terms and gradients.

    The numbers of the configuration are arguments, so cases that differ in them share a program.
    """

    def loss(predictions, boxes_xyxy, labels, mask, numbers):
        return detection_loss(
            predictions, boxes_xyxy, labels, mask, anchors=anchors, strides=strides,
            config=LossConfig(**numbers, focal_gamma=focal_gamma),
        )  # fmt: skip

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def evaluate(predictions, targets, *, anchors, strides, config):
    numbers = dataclasses.asdict(config)
    program = compiled(anchors, strides, numbers.pop("focal_gamma"))
    arrays = jax.tree.map(jnp.asarray, (predictions, *targets))
    (loss, terms), gradients = program(*arrays, numbers)
    return float(loss), jax.tree.map(np.asarray, terms), [np.asarray(g) for g in gradients]


def small_predictions(seed=0):
    """Of the shapes of the stored case 'tiny', so that they share its program."""
    rng = np.random.default_rng(seed)
    shapes = [(2, 8, 12, 3, 8), (2, 4, 6, 3, 8), (2, 2, 3, 3, 8)]
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def small_targets(seed=0, number=6):
    """Two images of 64 x 96 pixels with crowded targets; with six, collisions are certain."""
    rng = np.random.default_rng(seed)
    shape = (2, MAX_TARGETS, 2)
    centre, size = rng.uniform([30, 20], [60, 40], shape), rng.uniform(10, 40, shape)
    boxes_xyxy = np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
    labels = rng.integers(0, 3, shape[:2], np.int32)
    mask = np.tile(np.arange(MAX_TARGETS) < number, (2, 1))
    return boxes_xyxy.astype(np.float32), labels, mask


def largest_targets(case, level):
    """[B, h, w, A] objectness targets when the largest wins, from the stored CIoU values."""
    batch, anchors, height, width = case.stored["shapes"][level][:4]
    target = np.zeros((batch, anchors, height, width))
    gr = case.facts["gr"]
    values = (1 - gr) + gr * np.maximum(case.stored[f"ciou{level}"].astype(np.float64), 0)
    np.maximum.at(target, tuple(case.stored[f"match{level}"].T), values)
    return target.transpose(0, 2, 3, 1)


def long_ones(name):
    """All features are in the other cases; these add a program each."""
    return pytest.mark.long if name.startswith(("nl4_nc1_", "nl4_nc80_")) else ()


@pytest.mark.parametrize("name", [pytest.param(name, marks=long_ones(name)) for name in CASES])
def test_equals_golden(golden, name):
    """Padding is garbage in all of these.

    Where slots collide the stored gradients have the last one win, so the objectness gradient is
    moved to the largest one before comparing.
    """
    case = load(golden / "losses", name)
    loss, terms, gradients = evaluate(case.predictions, case.targets, **case.static)
    np.testing.assert_allclose(loss, case.stored["loss_max"][0], rtol=2e-6)
    np.testing.assert_allclose([terms[term] for term in TERMS], case.stored["items_max"], rtol=2e-6)
    config, balance = case.static["config"], losses.BALANCE[len(gradients)]
    for level, gradient in enumerate(gradients):
        expected = case.stored[f"grad{level}"].transpose(0, 2, 3, 1, 4).astype(np.float64)
        change = largest_targets(case, level) - case.stored[f"tobj{level}"].transpose(0, 2, 3, 1)
        if config.focal_gamma or config.objectness_pos_weight != 1:
            keep = np.abs(change) < 1e-6
            gradient, expected = gradient[keep], expected[keep]
        else:
            gain = config.objectness * (1.4 if len(gradients) > 3 else 1) * 3 / len(gradients)
            slope = gain * balance[level] * len(change) / change.size
            expected[..., 4] -= slope * change
        # The largest, 0.04 where three slots meet, have a float32 spacing of 4e-9.
        np.testing.assert_allclose(gradient, expected, rtol=5e-7, atol=1e-8)


def test_all_golden_cases_are_looked_at(golden):
    assert set(CASES) == set(json.loads((golden / "losses" / "cases.json").read_text()))


def test_assigned_ciou_equals_golden(golden):
    case = load(golden / "losses", "nl3_nc3_unique")
    for level, logits in enumerate(case.predictions):
        stored = {key: case.stored[f"{key}{level}"] for key in ("match", "tbox", "anch", "ciou")}
        image, anchor, row, column = stored["match"].T
        assignment = losses.Assignment(
            cell=jnp.asarray(stored["match"][None, :, 1:]),
            boxes_cxcywh=jnp.asarray(stored["tbox"][None]),
            anchor_wh=jnp.asarray(stored["anch"][None]),
            labels=jnp.zeros((1, len(image)), jnp.int32),
            mask=jnp.ones((1, len(image)), bool),
        )
        box_logits = jnp.asarray(logits[image, row, column, anchor, :4][None])
        got = jax.jit(losses.assigned_ciou)(box_logits, assignment)
        np.testing.assert_allclose(got[0], stored["ciou"], rtol=0, atol=5e-6)


def test_hand_worked():
    """One target exactly where zero logits point, at an anchor of the first level.

    Its box is then perfect: CIoU 1 and objectness target 1. Objectness logits are 0, so every
    cell costs log 2, and so does every class.
    """
    predictions = tuple(np.zeros_like(level) for level in small_predictions())
    targets = small_targets(number=0)
    targets[0][0, 3], targets[1][0, 3], targets[2][0, 3] = [14, 12, 26, 28], 0, True
    config = LossConfig(box=1.0, objectness=1.0, classification=1.0, ratio_threshold=1.2)
    loss, terms, gradients = evaluate(predictions, targets, **SMALL, config=config)
    assert terms["box"] == pytest.approx(0, abs=1e-6)
    assert terms["objectness"] == pytest.approx((4 + 1 + 0.4) * np.log(2), rel=1e-5)
    assert terms["classification"] == pytest.approx(np.log(2))
    assert loss == pytest.approx(2 * sum(terms[term] for term in TERMS[:3]), rel=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    slope = 2 * 4 / (2 * 8 * 12 * 3)  # B x balance / cells
    objectness = np.full((2, 8, 12, 3), slope * 0.5)
    objectness[0, 2, 2, 0] = -slope * 0.5
    np.testing.assert_allclose(gradients[0][..., 4], objectness, rtol=1e-5)
    classes = np.zeros((2, 8, 12, 3, 3))
    classes[0, 2, 2, 0] = np.array([-0.5, 0.5, 0.5]) * 2 / 3
    np.testing.assert_allclose(gradients[0][..., 5:], classes, atol=1e-7)


def test_order_and_padding_do_not_matter():
    """Twins with the same box and different classes collide on every cell."""
    predictions, (boxes_xyxy, labels, mask) = small_predictions(), small_targets()
    boxes_xyxy[:, 5], labels[:, 5] = boxes_xyxy[:, 4], (labels[:, 4] + 1) % 3
    static = dict(**SMALL, config=LossConfig())
    loss, _, gradients = evaluate(predictions, (boxes_xyxy, labels, mask), **static)
    order = np.random.default_rng(1).permutation(MAX_TARGETS)
    targets = boxes_xyxy[:, order], labels[:, order], mask[:, order]
    other, _, others = evaluate(predictions, targets, **static)
    assert other == pytest.approx(loss, rel=1e-6)
    for one, two in zip(gradients, others, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-9)
    mask[:, [0, 3]] = False
    expected = evaluate(predictions, (boxes_xyxy, labels, mask), **static)
    boxes_xyxy[:, 0], boxes_xyxy[:, 3], labels[:, 0] = np.nan, np.inf, 10**9
    jax.tree.map(
        np.testing.assert_array_equal,
        expected,
        evaluate(predictions, (boxes_xyxy, labels, mask), **static),
    )


@pytest.mark.parametrize("logit", [0.0, 80.0, -80.0, 1e4, -1e4])
def test_gradients_stay_finite(logit):
    """Saturated logits, and targets that are empty, points, lines, outside, or all the same."""
    boxes_xyxy, labels, mask = small_targets()
    boxes_xyxy[0, :6] = [
        [5, 5, 5, 5], [5, 5, 50, 5], [5, 5, 5, 50], [-90, -90, -60, -60], [0, 0, 96, 64],
        [5, 5, 5 + 1e-4, 5 + 1e-4],
    ]  # fmt: skip
    boxes_xyxy[1] = [14, 12, 26, 28]
    predictions = tuple(np.full_like(level, logit) for level in small_predictions())
    for present in (mask, np.zeros_like(mask)):
        loss, terms, gradients = evaluate(
            predictions, (boxes_xyxy, labels, present), **SMALL, config=LossConfig()
        )
        assert np.isfinite(loss) and all(np.isfinite(value) for value in terms.values())
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        if present is not mask:
            assert terms["box"] == terms["classification"] == 0
            assert not any(np.delete(gradient, 4, axis=-1).any() for gradient in gradients)


def test_bfloat16_predictions_are_raised_to_float32():
    rounded = tuple(jnp.asarray(level, jnp.bfloat16) for level in small_predictions())
    targets = tuple(map(jnp.asarray, small_targets()))

    def loss(predictions):
        return detection_loss(predictions, *targets, **SMALL, config=LossConfig())

    got, terms = jax.jit(loss)(rounded)
    raised = tuple(level.astype(jnp.float32) for level in rounded)
    expected, _, _ = evaluate(raised, small_targets(), **SMALL, config=LossConfig())
    assert float(got) == pytest.approx(expected, rel=1e-6)
    assert {value.dtype for value in terms.values()} == {np.dtype("float32")}
    gradients = jax.eval_shape(jax.grad(loss, has_aux=True), rounded)[0]
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype("bfloat16")}


def test_a_sharded_batch_gives_the_same_loss_without_moving_predictions(golden):
    """Four copies of a stored batch of two over eight devices: the same means, four times B."""
    case = load(golden / "losses", "tiny_nl3_nc3_unique")
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    arrays = jax.tree.map(
        lambda leaf: jax.device_put(np.concatenate([leaf] * 4), sharding),
        (case.predictions, *case.targets),
    )
    numbers = dataclasses.asdict(case.static["config"])
    program = compiled(case.static["anchors"], case.static["strides"], numbers.pop("focal_gamma"))
    program = program.lower(*arrays, numbers).compile()
    (loss, terms), gradients = program(*arrays, numbers)
    np.testing.assert_allclose([terms[term] for term in TERMS], case.stored["items_max"], rtol=2e-6)
    np.testing.assert_allclose(loss, 4 * case.stored["loss_max"][0], rtol=2e-6)
    assert all(gradient.sharding.is_equivalent_to(sharding, 5) for gradient in gradients)
    text = program.as_text()
    assert "all-reduce" in text
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))


def test_bce_against_its_definition():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=50) * 4, rng.uniform(size=50)
    p = 1 / (1 + np.exp(-logits))
    for pos_weight, gamma in ((1, 0), (0.7, 0), (1.5, 1.5), (1, 2)):
        expected = -pos_weight * targets * np.log(p) - (1 - targets) * np.log(1 - p)
        if gamma:
            p_t = targets * p + (1 - targets) * (1 - p)
            expected *= (0.25 * targets + 0.75 * (1 - targets)) * (1 - p_t) ** gamma
        got = jax.jit(losses.bce, static_argnums=(2, 3))(
            jnp.float32(logits), jnp.float32(targets), pos_weight, gamma
        )
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    # Far out: the distance itself, and nothing where the answer is right.
    # And "nothing here", said by most cells, is a small number that must not drown.
    logits, targets = jnp.array([1e4, -1e4, 1e4, -1e4, -15]), jnp.array([0.0, 1, 1, 0, 0])
    got = jax.jit(losses.bce)(logits, targets)
    np.testing.assert_allclose(got, [1e4, 1e4, 0, 0, np.exp(-15)], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.5])
def test_bce_gradients_stay_finite(gamma):
    logits = jnp.repeat(jnp.array([-1e4, -200.0, -1, 0, 1, 200, 1e4]), 3)
    targets = jnp.tile(jnp.array([0.0, 0.4, 1]), 7)
    values, gradients = jax.jit(
        jax.vmap(jax.value_and_grad(lambda x, t: losses.bce(x, t, 1.5, gamma)))
    )(logits, targets)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
    right = jnp.array([0, 20])  # -1e4 for 0, 1e4 for 1
    assert not values[right].any() and not gradients[right].any()


def test_label_smoothing_and_class_weight():
    """Uniform class logits of x: the class term is BCE(x, 1 - e/2) and BCE(x, e/2), averaged."""
    predictions = tuple(np.full_like(level, 0.3) for level in small_predictions())
    config = LossConfig(classification=1.0, label_smoothing=0.2, class_pos_weight=2.0)
    _, terms, _ = evaluate(predictions, small_targets(), **SMALL, config=config)
    p = 1 / (1 + np.exp(-0.3))
    right = -2 * 0.9 * np.log(p) - 0.1 * np.log(1 - p)
    wrong = -2 * 0.1 * np.log(p) - 0.9 * np.log(1 - p)
    levels = 3  # each is assigned a target
    assert terms["classification"] == pytest.approx(levels * (right + 2 * wrong) / 3, rel=1e-5)


def test_mistakes_are_named():
    predictions = tuple(map(jnp.asarray, small_predictions()))
    targets = tuple(map(jnp.asarray, small_targets()))
    static = dict(**SMALL, config=LossConfig())
    with pytest.raises(ValueError, match="2 levels of predictions, 3 of anchors"):
        detection_loss(predictions[:2], *targets, **static)
    two = dict(anchors=SMALL["anchors"][:2], strides=(8, 16), config=LossConfig())
    with pytest.raises(ValueError, match=r"got 2 levels, expected one of \[3, 4, 5\]"):
        detection_loss(predictions[:2], *targets, **two)
    with pytest.raises(dataclasses.FrozenInstanceError):
        static["config"].box = 1.0
