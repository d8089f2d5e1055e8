"""What TensorBoard gets can be read back: pictures, scalars and a histogram of each implicit."""

import jax
import numpy as np
import pytest

from tests.support.event_files import events
from yolor_jax.models import detector, implicits
from yolor_jax.pictures.drawing import save_image
from yolor_jax.preparation import shapes
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.runs.board import Board
from yolor_jax.training.metrics import TensorBoard

pytest.importorskip("tensorboardX")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    shapes.prepare(folder, sizes={"train": 4, "validation": 6}, progress=False)
    return open_dataset(str(folder), "validation", folder)


def test_pictures_and_histograms(source, tmp_path):
    module = detector.build("yolor_test", len(source.class_names))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32),
        detector.variable_shapes(module)["params"],
    )
    results = [
        {
            "image_id": source.image_ids[i], "category_id": source.category_ids[i % 3],
            "bbox": [4.0, 6.0, 20.0, 30.0], "score": score,
        }
        for i in range(5) for score in (0.9, 0.1)
    ]  # fmt: skip
    picture = tmp_path / "augmented.png"
    save_image(picture, np.full((8, 8, 3), 7, np.uint8))
    with TensorBoard(tmp_path / "events") as writer:
        board = Board(writer, source, module.spec)
        board.show_augmented(0, picture)
        board.show_evaluation(40, params, results)
        board.show_evaluation(80, params, [])
        writer.write(40, {"loss/box": 0.25})
    found = events(tmp_path / "events")
    by_tag = {(tag, step): value for tag, step, value in found}
    assert by_tag["loss/box", 40].simple_value == 0.25
    assert by_tag["augmented", 0].image.width == 8
    sheets = [by_tag["predictions", step].image for step in (40, 80)]
    assert sheets[0].height == sheets[1].height > 500 and sheets[0].width > 2000  # four pairs
    assert sheets[0].encoded_image_string != sheets[1].encoded_image_string
    knowledge = implicits.representations(module.spec, params)
    assert knowledge
    for path, values in knowledge.items():
        histogram = by_tag[f"implicit/{path}", 40].histo
        assert histogram.num == np.size(values)
        np.testing.assert_allclose(histogram.sum, np.sum(values), rtol=1e-4, atol=1e-4)
