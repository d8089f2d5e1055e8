"""Pictures: sizes, places and colours; how they look was judged by eye."""

import itertools

import cv2
import numpy as np
import pytest

from yolor_jax.pictures.drawing import class_color, contact_sheet, draw_boxes, draw_pair, save_image

NAMES = ["cat", "dog", "sheep"]
NO_BOXES = (np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def grey(height, width):
    return np.full((height, width, 3), 128, np.uint8)


def boxes(*rows):
    return np.array(rows, np.float32)


def test_a_box_is_drawn_where_it_is_and_in_its_colour():
    image = grey(480, 640)
    before = image.copy()
    picture = draw_boxes(
        image, boxes([100, 200, 300, 400]), np.array([1]), np.array([0.5]), class_names=NAMES
    )
    np.testing.assert_array_equal(image, before)
    assert picture.shape == image.shape and picture.dtype == np.uint8
    for y, x in [(300, 100), (300, 300), (400, 250)]:
        assert tuple(picture[y, x]) == class_color(1), (y, x)
    rows, columns = np.nonzero((picture != 128).any(axis=-1))
    assert 96 <= columns.min() and columns.max() <= 304
    assert 170 <= rows.min() <= 190, "the label stands above the box"
    assert rows.max() <= 404
    assert (picture[210:390, 110:290] == 128).all(), "the inside stays free"


@pytest.mark.parametrize(
    ("size", "factor"), [((96, 128), 5), ((240, 320), 2), ((480, 640), 1), ((1500, 2000), 1)]
)
def test_small_images_are_magnified_by_a_whole_factor(size, factor):
    box = boxes([10, 20, 60, 70])
    picture = draw_boxes(grey(*size), box, np.array([0]), class_names=NAMES)
    assert picture.shape == (size[0] * factor, size[1] * factor, 3)
    assert tuple(picture[45 * factor, 10 * factor]) == class_color(0)


def test_labels_stay_inside_and_beside_each_other():
    """Two equal boxes that fill the picture: two labels, both inside, neither covers the other."""
    image = grey(480, 640)
    two = boxes([0, 0, 639, 479], [0, 0, 639, 479])
    picture = draw_boxes(image, two, np.array([0, 1]), np.array([0.9, 0.8]), class_names=NAMES)
    areas = [(picture == class_color(label)).all(axis=-1)[8:-8, 8:-8].sum() for label in (0, 1)]
    single = draw_boxes(image, two[:1], np.array([0]), np.array([0.9]), class_names=NAMES)
    assert areas[0] == (single == class_color(0)).all(axis=-1)[8:-8, 8:-8].sum()
    assert areas[1] > areas[0] / 2 > 100


def test_the_surest_box_is_on_top():
    twice = boxes([100, 100, 300, 300], [100, 100, 300, 300])
    labels, scores = np.array([0, 1]), np.array([0.3, 0.9])
    picture = draw_boxes(grey(480, 640), twice, labels, scores, class_names=NAMES)
    assert tuple(picture[200, 100]) == class_color(1)


def test_no_boxes():
    np.testing.assert_array_equal(
        draw_boxes(grey(480, 640), *NO_BOXES, class_names=NAMES), grey(480, 640)
    )


def test_boxes_beyond_the_border_and_a_tiny_image():
    far = boxes([-50, -50, 1e4, 1e4])
    draw_boxes(grey(480, 640), far, np.array([2]), class_names=NAMES)
    assert draw_boxes(grey(1, 1), far, np.array([2]), class_names=NAMES).shape == (640, 640, 3)


def test_a_label_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="labels reach from 3 to 3, but there are 3 class names"):
        draw_boxes(grey(9, 9), boxes([0, 0, 5, 5]), np.array([3]), class_names=NAMES)


def test_colours_differ():
    colors = [class_color(label) for label in range(80)]
    assert len(set(colors)) == 80
    for first, second in itertools.pairwise(colors):
        assert np.abs(np.subtract(first, second)).sum() > 100
    assert all(max(color) > 120 for color in colors), "none is nearly black"


def test_pair_shows_predicted_left_and_true_right():
    image = grey(480, 640)
    predicted = (boxes([100, 100, 200, 200]), np.array([0]), np.array([0.9]))
    true = (boxes([300, 300, 400, 400]), np.array([1]))
    picture = draw_pair(image, *predicted, *true, class_names=NAMES)
    assert picture.shape[0] > 480 and picture.shape[1] > 1280
    left, right = np.array_split(picture, 2, axis=1)
    for half, drawn, absent in ((left, 0, 1), (right, 1, 0)):
        assert (half == class_color(drawn)).all(axis=-1).sum() > 100
        assert not (half == class_color(absent)).all(axis=-1).any()
    nothing = draw_pair(image, *NO_BOXES, *true, class_names=NAMES)
    assert nothing.shape == picture.shape
    titles, longer = (int((p[: p.shape[0] - 480] < 128).sum()) for p in (picture, nothing))
    assert longer > 1.3 * titles, "it says that nothing was predicted"


def test_contact_sheet():
    images = [np.full((50, 100, 3), 10 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, titles=list("abcde"), cell=100)
    assert sheet.shape[1] > 3 * 100 and sheet.shape[0] > 2 * 50
    found = [np.unique(np.nonzero((sheet == 10 * i).all(axis=-1))[0] // 60) for i in range(5)]
    assert found[1].max() <= 1 and found[4].min() >= 1, "row by row"
    mixed = contact_sheet([grey(200, 100), grey(100, 200), grey(3, 900)], cell=200, columns=3)
    assert mixed.shape[0] < 230
    assert contact_sheet(images[:1], cell=None).shape[0] > 50
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])
    with pytest.raises(ValueError, match="got 1 titles for 5 images"):
        contact_sheet(images, titles=["a"])


def test_save_image(tmp_path):
    image = grey(20, 30)
    image[..., 0] = 255
    save_image(tmp_path / "red.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "red.png"))[..., ::-1], image)
    with pytest.raises(OSError, match=r"is its ending .jpg or .png"):
        save_image(tmp_path / "red.nothing", image)
    with pytest.raises(FileNotFoundError) as missing:
        save_image(tmp_path / "no" / "red.png", image)
    assert missing.value.filename == str(tmp_path / "no" / "red.png")
    assert [path.name for path in tmp_path.iterdir()] == ["red.png"]
