import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.detection import decode as decoding

ANCHORS = (((10, 20), (30.5, 40)), ((50, 60), (70, 80)))
STRIDES = (8, 16)


def oracle(levels):
    """Row by row, in float64: boxes, objectness, probabilities."""
    rows = []
    for logits, anchors, stride in zip(levels, ANCHORS, STRIDES, strict=True):
        for y in range(logits.shape[1]):
            for x in range(logits.shape[2]):
                for a, anchor in enumerate(anchors):
                    p = 1 / (1 + np.exp(-logits[:, y, x, a].astype(np.float64)))
                    xy = (2 * p[:, :2] - 0.5 + [x, y]) * stride
                    wh = (2 * p[:, 2:4]) ** 2 * anchor
                    rows.append(np.concatenate([xy, wh, p[:, 4:]], axis=1))
    return np.stack(rows, axis=1)


def decode(levels, anchors=ANCHORS, strides=STRIDES):
    return jax.jit(lambda p: decoding.decode(p, anchors=anchors, strides=strides))(levels)


def as_rows(decoded):
    return np.concatenate(
        [decoded.boxes_cxcywh, decoded.objectness[..., None], decoded.probabilities], axis=-1
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_every_row_equals_the_oracle(dtype):
    rng = np.random.default_rng(0)
    levels = tuple(
        jnp.asarray(rng.normal(size=(2, h, w, 2, 8)), dtype) for h, w in [(3, 4), (2, 1)]
    )
    decoded = decode(levels)
    assert {part.dtype for part in decoded} == {jnp.dtype("float32")}
    expected = oracle([np.asarray(level, np.float32) for level in levels])
    np.testing.assert_allclose(as_rows(decoded), expected, rtol=2e-6)


def test_zero_logits_are_anchors_at_cell_centres():
    level = jnp.zeros((1, 2, 3, 2, 6))
    decoded = decode((level,), ANCHORS[:1], (8,))
    boxes_cxcywh = decoded.boxes_cxcywh.reshape(2, 3, 2, 4)
    np.testing.assert_array_equal(boxes_cxcywh[1, 2, 0], [20, 12, 10, 20])
    np.testing.assert_array_equal(boxes_cxcywh[0, 1, 1], [12, 4, 30.5, 40])
    np.testing.assert_array_equal(decoded.objectness, np.full((1, 12), 0.5))


def test_equals_golden(golden):
    """The stored order is anchor, y, x; ours is y, x, anchor."""
    stored = np.load(golden / "models" / "main__yolor_csp.npz")
    facts = json.loads((golden / "models" / "main__yolor_csp.json").read_text())
    levels = [stored[f"level{i}"] for i in range(3)]  # [B, A, h, w, O]
    decoded = decode(
        tuple(jnp.asarray(level.transpose(0, 2, 3, 1, 4)) for level in levels),
        anchors=tuple(tuple(map(tuple, anchors)) for anchors in facts["anchors"]),
        strides=tuple(int(stride) for stride in facts["strides"]),
    )
    expected, start = [], 0
    for level in levels:
        batch, anchors, height, width, outputs = level.shape
        end = start + anchors * height * width
        block = stored["decoded"][:, start:end].reshape(level.shape).transpose(0, 2, 3, 1, 4)
        expected.append(block.reshape(batch, -1, outputs))
        start = end
    np.testing.assert_allclose(
        as_rows(decoded), np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-3
    )


def test_gradients_are_finite_for_extreme_logits():
    logits = jnp.array([-1e4, -100, 0, 100, 1e4, 0]).reshape(1, 1, 1, 1, 6)

    def total(logits):
        decoded = decoding.decode((logits,), anchors=(((8, 8),),), strides=(8,))
        return sum(part.sum() for part in decoded)

    value, gradient = jax.jit(jax.value_and_grad(total))(logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_misfits_are_named():
    level = jnp.zeros((1, 2, 2, 3, 6))
    with pytest.raises(ValueError, match=r"got 3 anchors .* expected 2"):
        decoding.decode((level,), anchors=ANCHORS[:1], strides=(8,))
    with pytest.raises(ValueError, match="1 levels of predictions, 2 of anchors"):
        decoding.decode((level,), anchors=ANCHORS, strides=STRIDES)
