"""Labels, samples and losses of the tasks beyond detection, against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.detection.losses import LossConfig
from yolor_jax.models.detector import Outputs, build
from yolor_jax.models.spec import with_tasks
from yolor_jax.models.zoo import MODELS
from yolor_jax.tasks.classification import image_labels, multi_label_loss
from yolor_jax.tasks.embedding import Samples, contrastive_loss, sample
from yolor_jax.training.step import make_detection_loss
from yolor_jax.training.task_losses import TaskLossConfig, make_loss

STRIDES = (8, 16)
TEMPERATURE = 0.2


def test_labels_by_hand():
    labels = np.array([[2, 0, 2, 1], [1, 1, 0, 0], [0, 0, 0, 0]], np.int32)
    mask = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    want = np.array([[0, 1, 1], [0, 1, 0], [0, 0, 0]], np.float32)
    got = jax.jit(image_labels, static_argnums=2)(labels, mask, 3)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == jnp.float32
    none = jax.jit(image_labels, static_argnums=2)(labels[:, :0], mask[:, :0], 3)
    np.testing.assert_array_equal(none, np.zeros((3, 3)))


def test_classification_loss_by_hand():
    logits = np.array([[0.0, 2.0], [-1.0, 100.0]], np.float32)
    present = np.array([[1, 1], [0, 1]], np.float32)
    wide = logits.astype(np.float64)
    each = np.where(present, np.log1p(np.exp(-wide)), np.log1p(np.exp(wide)))
    assert jax.jit(multi_label_loss)(logits, present) == pytest.approx(each.mean(), rel=1e-6)
    half = jax.jit(multi_label_loss)(jnp.asarray(logits, jnp.bfloat16), present)
    assert half.dtype == jnp.float32


def maps(rng, batch=2, size=(48, 64), features=5, strides=STRIDES):
    return [
        rng.normal(size=(batch, size[0] // s, size[1] // s, features)).astype(np.float32)
        for s in strides
    ]


# Centres (4, 4), (60, 44), (20, 4), and one outside the canvas; on stride 16 the first is alone,
# on the second image two share a cell of the coarse level and two targets do not count.
BOXES = np.array(
    [
        [[0, 0, 8, 8], [56, 40, 64, 48], [16, 0, 24, 8], [60, 44, 80, 60]],
        [[0, 0, 8, 8], [8, 8, 16, 16], [30, 30, 34, 34], [0, 0, 8, 8]],
    ],
    np.float32,
)
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)


def numpy_samples(embed, boxes, mask, strides):
    vectors = np.zeros((*mask.shape, len(strides), embed[0].shape[-1]))
    alone = np.zeros((*mask.shape, len(strides)), bool)
    for b, level in np.ndindex(len(mask), len(strides)):
        height, width = embed[level].shape[1:3]
        cells = []
        for left, top, right, bottom in boxes[b]:
            x, y = (left + right) / 2 // strides[level], (top + bottom) / 2 // strides[level]
            cells.append((int(min(y, height - 1)), int(min(x, width - 1))))
        for t, cell in enumerate(cells):
            v = embed[level][b][cell]
            vectors[b, t, level] = v / np.linalg.norm(v)
            rivals = [u for u in range(len(cells)) if mask[b, u] and cells[u] == cell]
            alone[b, t, level] = rivals == [t]
    return vectors, alone


def test_samples():
    embed = maps(np.random.default_rng(0))
    got = jax.jit(lambda *a: sample(*a, strides=STRIDES))(embed, BOXES, MASK)
    vectors, alone = numpy_samples(embed, BOXES, MASK, STRIDES)
    np.testing.assert_array_equal(got.mask, alone)
    np.testing.assert_allclose(got.vectors, vectors, atol=1e-6)
    # The target in the corner and the one past it share every cell; so do two on the coarse level.
    assert alone.tolist() == [
        [[True, True], [False, False], [True, True], [False, False]],
        [[True, False], [True, False], [False, False], [False, False]],
    ]


def numpy_loss(vectors, mask, temperature):
    """Equation 2 of arXiv 2004.11362 by loops."""
    losses = []
    for b in range(len(mask)):
        real = [tuple(at) for at in np.argwhere(mask[b])]
        for i in real:
            others = [j for j in real if j != i]
            positives = [j for j in others if j[0] == i[0]]
            if not positives or len(positives) == len(others):
                continue
            s = {j: vectors[b][i] @ vectors[b][j] / temperature for j in others}
            total = sum(np.exp(v) for v in s.values())
            losses.append(-np.mean([np.log(np.exp(s[p]) / total) for p in positives]))
    return np.mean(losses) if losses else 0.0


def random_samples(mask, seed=1, features=5):
    v = np.random.default_rng(seed).normal(size=(*mask.shape, features)).astype(np.float32)
    return Samples(v / np.linalg.norm(v, axis=-1, keepdims=True), mask)


@jax.jit
def loss_and_gradient(samples):
    def loss(vectors):
        return contrastive_loss(Samples(vectors, samples.mask), temperature=TEMPERATURE)

    return jax.value_and_grad(loss)(samples.vectors)


def random_mask(seed):
    return np.random.default_rng(seed).random((3, 4, 3)) < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_contrastive_loss(seed):
    samples = random_samples(random_mask(seed))
    value, gradient = loss_and_gradient(samples)
    assert value == pytest.approx(numpy_loss(*samples, TEMPERATURE), rel=1e-5)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~samples.mask].any()  # what is masked learns nothing
    step = 1e-3 * np.asarray(gradient) / np.abs(gradient).max()
    before, after = (
        numpy_loss(samples.vectors.astype(np.float64) + s * step, samples.mask, TEMPERATURE)
        for s in (-1, 1)
    )
    assert (after - before) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-3)


@pytest.mark.parametrize(
    "targets",
    [[], [0], [0, 0]],
    ids=["none", "one", "one on another"],
)
def test_nothing_to_compare_costs_nothing(targets):
    mask = np.zeros((3, 4, 3), bool)
    for image, target in enumerate(targets):
        mask[image, target] = True  # alone in its image
    value, gradient = loss_and_gradient(random_samples(mask))
    assert value == 0 and not np.asarray(gradient).any()


def test_a_vector_of_zeros_has_a_gradient():
    embed = jax.tree.map(np.zeros_like, maps(np.random.default_rng(0)))

    @jax.jit
    @jax.grad
    def gradient(embed, boxes, mask):
        samples = sample(embed, boxes, mask, strides=STRIDES)
        return contrastive_loss(samples, temperature=TEMPERATURE)

    assert all(np.isfinite(g).all() for g in gradient(embed, BOXES, MASK))


def outputs_of(spec, dtype=jnp.float32):
    rng = np.random.default_rng(3)
    grids = [(8 // 2**i, 8 // 2**i) for i in range(3)]
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    return Outputs(
        detect=tuple(draw(4, *grid, 3, 8) for grid in grids),
        classify=draw(4, 3) if "classify" in spec.tasks else None,
        embed=tuple(draw(4, *grid, 6) for grid in grids) if "embed" in spec.tasks else None,
    )


def test_all_terms_with_their_gains():
    spec = with_tasks(MODELS["yolor_test"], ["classify", "embed"])
    outputs, batch = outputs_of(spec), tiny_run.make_batch(4, size=(64, 64), targets=7)
    labels = batch.labels % 2
    labels[:, 4] = 2  # of crowds alone
    crowd = batch._replace(labels=labels, is_crowd=batch.mask & (np.arange(7) == 4)[None])
    config = TaskLossConfig(classify=0.5, embed=0.25, temperature=TEMPERATURE)
    loss = jax.jit(make_loss(spec, detection=LossConfig(), tasks=config))
    value, terms = loss(outputs, crowd)
    detect = make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=LossConfig())
    _, alone = jax.jit(detect)(outputs, crowd)
    assert float(terms["box"]) == pytest.approx(float(alone["box"]), rel=1e-6)

    present = jax.jit(image_labels, static_argnums=2)(crowd.labels, crowd.mask, 3)
    assert present[:, 2].tolist() == [1, 0, 1, 0]  # a crowd shows its class
    want = 0.5 * float(multi_label_loss(outputs.classify, present))
    assert terms["classify"] == pytest.approx(want, rel=1e-6)
    embed = [np.asarray(level) for level in outputs.embed]
    objects = crowd.mask & ~crowd.is_crowd  # but is no object to be known again
    want = 0.25 * numpy_loss(
        *numpy_samples(embed, crowd.boxes_xyxy, objects, (8, 16, 32)), TEMPERATURE
    )
    assert want > 0 and terms["embed"] == pytest.approx(want, rel=1e-5)

    total = float(alone["total"] + terms["classify"] + terms["embed"])
    assert terms["total"] == pytest.approx(total, rel=1e-6)
    assert value == pytest.approx(4 * total, rel=1e-6)


def test_detection_alone_is_what_it_was():
    """To the program, and so to the bit."""
    spec = MODELS["yolor_test"]
    outputs, batch = outputs_of(spec), tiny_run.make_batch(4, size=(64, 64))
    before = make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=LossConfig())
    after = make_loss(spec, detection=LossConfig(), tasks=TaskLossConfig())
    programs = {jax.jit(loss).lower(outputs, batch).as_text() for loss in (before, after)}
    assert len(programs) == 1


def test_in_bfloat16_the_terms_are_float32():
    spec = with_tasks(MODELS["yolor_test"], ["classify", "embed"])
    loss = make_loss(spec, detection=LossConfig(), tasks=TaskLossConfig())
    outputs, batch = outputs_of(spec, jnp.bfloat16), tiny_run.make_batch(4, size=(64, 64))
    _, terms = jax.eval_shape(loss, outputs, batch)
    assert {term.dtype for term in terms.values()} == {jnp.dtype(jnp.float32)}
    assert set(terms) == {"box", "objectness", "classification", "classify", "embed", "total"}


@pytest.mark.parametrize("change", [{"classify": -1.0}, {"temperature": 0.0}, {"embed": np.nan}])
def test_gains_that_make_no_sense(change):
    with pytest.raises(ValueError, match="temperature above 0"):
        TaskLossConfig(**change)


def test_every_task_of_a_module_has_a_term():
    spec = with_tasks(MODELS["yolor_test"], ["embed"])
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    module = build(spec, 3)
    outputs = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], images)
    loss = make_loss(spec, detection=LossConfig(), tasks=TaskLossConfig())
    _, terms = jax.eval_shape(loss, outputs, tiny_run.make_batch(2, size=(64, 64)))
    assert "embed" in terms and "classify" not in terms
