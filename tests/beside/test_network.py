"""The network and the loss in PyTorch are ours; without PyTorch there is nothing to test."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax.detection.losses import LossConfig, detection_loss
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import Stage
from yolor_jax.models.zoo import MODELS, PAPER

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

SMALL = MODELS["yolor_test"]
JOINT = dataclasses.replace(
    SMALL, **PAPER, down="csp", stem=("haar_wavelet",), activation="mish", csp_leave=True
)
ROW = dataclasses.replace(SMALL, stages=(Stage(8, 2, csp=False), *SMALL.stages[1:]), spp_repeats=2)


@pytest.mark.long
@pytest.mark.parametrize("spec", [SMALL, JOINT, ROW], ids=["small", "joint norm", "row"])
def test_logits_are_ours(spec):
    from yolor_jax.beside.network import Network, load

    module = build(spec, 3)
    variables = random_leaves(variable_shapes(module))
    images = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype(np.float32)
    expected = jax.jit(lambda v, x: module.apply(v, x).detect)(variables, images)
    for fused, given in ((False, variables), (True, fold(spec, variables))):
        network = Network(spec, 3, fused=fused).eval()
        load(network, given)
        with torch.inference_mode():
            logits = network(torch.tensor(images).permute(0, 3, 1, 2))
        for ours, theirs in zip(expected, logits, strict=True):
            theirs = theirs.permute(0, 2, 3, 1, 4).numpy()
            np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-3 * np.abs(ours).max())


@pytest.mark.parametrize("number", [5, 0], ids=["five targets each", "none"])
def test_loss_and_its_gradient_are_ours(number):
    from yolor_jax.beside.loss import detection_loss as theirs

    generator = np.random.default_rng(1)
    logits = [generator.normal(size=(2, 64 // s, 64 // s, 3, 8)) for s in SMALL.strides]
    logits = [x.astype(np.float32) for x in logits]
    corners = generator.uniform(0, 32, (2, 5, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(4, 32, (2, 5, 2))], -1)
    boxes, labels = boxes.astype(np.float32), generator.integers(0, 3, (2, 5), np.int32)
    mask = np.tile(np.arange(5) < number, (2, 1))

    @jax.jit
    @jax.value_and_grad
    def ours(logits):
        anchors = {"anchors": SMALL.anchors, "strides": SMALL.strides}
        truth = jnp.asarray(boxes), jnp.asarray(labels), jnp.asarray(mask)
        return detection_loss(logits, *truth, **anchors, config=LossConfig())[0]

    value, gradients = ours(tuple(logits))
    image, slot = np.nonzero(mask)
    targets = np.column_stack([image, labels[image, slot], boxes[image, slot]])
    given = [torch.tensor(x.transpose(0, 3, 1, 2, 4).copy()).requires_grad_() for x in logits]
    loss = theirs(given, torch.tensor(targets, dtype=torch.float32), SMALL, LossConfig())
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-5)
    for x, gradient in zip(given, gradients, strict=True):
        np.testing.assert_allclose(
            x.grad.numpy().transpose(0, 2, 3, 1, 4), gradient, rtol=1e-3, atol=1e-6
        )
