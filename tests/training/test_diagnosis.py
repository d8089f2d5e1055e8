"""An image that spoils a batch is found, by the module that it spoils first or by its loss."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.training import diagnosis


class Sensitive(nn.Module):
    """Divides by one minus the brightest pixel of an image, then normalises over the batch."""

    dtype: object = jnp.float32
    rematerialised: bool = False

    @nn.compact
    def __call__(self, images, *, train: bool):
        tiny = nn.remat(tiny_run.Tiny, static_argnums=()) if self.rematerialised else tiny_run.Tiny
        x = Reciprocal(name="early")(images)
        if self.rematerialised:
            return nn.remat(Late)(name="late")(x)
        return tiny(name="late")(x, train=train)


class Reciprocal(nn.Module):
    def __call__(self, images):
        return images / (1.0 - images.max((1, 2, 3), keepdims=True))


class Late(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        return tiny_run.Outputs(detect=(x - x.mean(),))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "rematerialised"])
def network(request):
    module = Sensitive(rematerialised=request.param)
    images = jnp.full((1, *tiny_run.SIZE, 3), 0.5)
    return module, module.init(jax.random.key(0), images, train=False)


def dark_batch():
    batch = tiny_run.make_batch(4)
    return batch._replace(image=batch.image // 2)


def test_all_finite_and_the_loss_of_each_image(network):
    module, variables = network
    batch = dark_batch()
    found = diagnosis.diagnose(module, tiny_run.square_loss, variables, batch)
    assert found.first_not_finite() is None and found.suspects() == []
    assert found.modules[0] == "early" and found.modules[-2:] == ("late", "")
    images = batch.image / np.float32(255)
    outputs, _ = module.apply(variables, images, train=True, mutable=["batch_stats"])
    maps = np.asarray(outputs.detect[0])
    target = batch.labels[:, :1, None, None].astype(np.float32)
    np.testing.assert_allclose(
        found.terms["total"], ((maps - target) ** 2).mean((1, 2, 3)), rtol=1e-5
    )
    slope = 2 * (maps - target) / maps[0].size
    np.testing.assert_allclose(found.gradient_norm, np.sqrt((slope**2).sum((1, 2, 3))), rtol=1e-4)
    np.testing.assert_array_equal(found.boxes, batch.mask.sum(1))
    assert not found.odd_boxes.any()


def test_the_first_output_names_the_image_although_the_batch_norm_spreads_it(network):
    module, variables = network
    batch = dark_batch()
    batch.image[2, 3, 4, 1] = 255
    found = diagnosis.diagnose(module, tiny_run.square_loss, variables, batch)
    assert not np.isfinite(found.terms["total"]).any()
    assert found.first_not_finite() == ("early", [2])
    assert found.suspects() == [2]


def test_a_loss_that_is_not_finite_names_its_image_and_odd_boxes_are_counted(network):
    module, variables = network

    def loss(outputs, batch):
        total, terms = tiny_run.square_loss(outputs, batch)
        area = (batch.boxes_xyxy[..., 2] - batch.boxes_xyxy[..., 0]).prod()
        return total / area, {"total": terms["total"] / area}

    batch = dark_batch()
    batch.boxes_xyxy[0, 0, 3] = batch.boxes_xyxy[0, 0, 1]  # odd, and harmless to this loss
    batch.boxes_xyxy[1, 0, 2] = batch.boxes_xyxy[1, 0, 0]
    batch.boxes_xyxy[3, 1, 0] = np.nan
    batch.mask[:] = True
    found = diagnosis.diagnose(module, loss, variables, batch)
    assert found.first_not_finite() is None
    assert found.suspects() == [1, 3]
    np.testing.assert_array_equal(found.odd_boxes, [1, 1, 0, 1])
