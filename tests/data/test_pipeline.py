"""Batches: the order depends on the seed alone, boxes follow the pixels, nothing vanishes."""

import contextlib
import itertools
import logging
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from jax._src import xla_bridge

from tests.support.coco_folder import jpeg, with_orientation
from yolor_jax.data.example import Batch, Example
from yolor_jax.data.letterbox import letterbox
from yolor_jax.data.pipeline import Reading, eval_batches, train_batches
from yolor_jax.preparation.dataset import open_dataset

ROOT = pathlib.Path(__file__).resolve().parents[2]


class InMemory:
    """A source of given images (bytes) and boxes."""

    def __init__(self, images, boxes):
        self.images, self.boxes = images, [np.float32(b).reshape(-1, 4) for b in boxes]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        boxes = self.boxes[index]
        labels = np.arange(len(boxes), dtype=np.int32)
        return Example(self.images[index], boxes, labels, labels == 1, int(index))

    def name(self, index):
        return f"{index:03d}.jpg"


class WithoutDevices(InMemory):
    """Fails where JAX has started a device."""

    def __getitem__(self, index):
        if xla_bridge.backends_are_initialized():
            raise RuntimeError(f"process {os.getpid()} has started JAX")
        return super().__getitem__(index)


class Deadly(InMemory):
    """Ends the process that reads it."""

    def __getitem__(self, index):
        os._exit(7)


def small(count):
    return InMemory([jpeg(20 + i, 30, seed=i) for i in range(count)], [[[1, 2, 3, 4]]] * count)


def take(source, batches, *, batch_size=4, **options):
    iterator = train_batches(
        source, image_size=32, batch_size=batch_size, max_targets=3, **{"seed": 5, **options}
    )
    return list(itertools.islice(iterator, batches))


def order(batches):
    return np.concatenate([batch.index for batch in batches])


@pytest.fixture(scope="module")
def ten():
    return small(10)


@pytest.fixture(scope="module")
def long_run(ten):
    return take(ten, 8)


def test_every_epoch_is_another_permutation(long_run):
    epochs = order(long_run)[:30].reshape(3, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_order_depends_on_the_seed_alone(ten, long_run):
    for threads in (1, 5):
        np.testing.assert_array_equal(
            order(take(ten, 8, reading=Reading(threads=threads))), order(long_run)
        )
    np.testing.assert_array_equal(order(take(ten, 4, batch_size=8)), order(long_run))
    assert (order(take(ten, 8, seed=6)) != order(long_run)).any()


@pytest.mark.parametrize("start", [4, 7, 12, 123_456])
def test_start_goes_on_where_a_run_stopped(ten, long_run, start):
    expected = (
        order(take(ten, 4, start=0))[start:] if start < 16 else order(take(ten, 2, start=start))
    )
    if start < 16:
        got = take(ten, 4, start=start)
        np.testing.assert_array_equal(order(got)[: len(expected)], expected)
    else:  # far into a run: the same as counted from one batch before
        before = take(ten, 3, start=start - 4)
        np.testing.assert_array_equal(order(before)[4:], expected)


def test_a_resumed_batch_is_equal_in_every_field(ten, long_run):
    for got, expected in zip(take(ten, 2, start=12)[0], long_run[3], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_processes_in_order_make_the_batch(ten, long_run):
    parts = [take(ten, 6, reading=Reading(p, 2), start=4) for p in range(2)]
    for step in range(6):
        for field, expected in enumerate(long_run[step + 1]):
            got = np.concatenate([part[step][field] for part in parts])
            np.testing.assert_array_equal(got, expected)


def test_a_split_smaller_than_a_batch():
    batch = take(small(3), 1, batch_size=8)[0]
    np.testing.assert_array_equal(np.sort(np.bincount(batch.index)), [2, 3, 3])


def test_shapes_types_and_padding(long_run):
    batch = long_run[0]
    expected = {
        "image": ((4, 32, 32, 3), np.uint8),
        "boxes_xyxy": ((4, 3, 4), np.float32),
        "labels": ((4, 3), np.int32),
        "mask": ((4, 3), np.bool_),
        "is_crowd": ((4, 3), np.bool_),
        "index": ((4,), np.int32),
        "original_size": ((4, 2), np.int32),
        "letterbox": ((4, 3), np.float32),
        "valid": ((4,), np.bool_),
        "identity": ((4, 3), np.int32),
    }
    assert {k: (v.shape, v.dtype) for k, v in batch._asdict().items()} == expected
    np.testing.assert_array_equal(batch.mask, [[True, False, False]] * 4)
    assert (batch.boxes_xyxy[~batch.mask] == 0).all() and batch.valid.all()
    np.testing.assert_array_equal(batch.original_size, [[20 + i, 30] for i in batch.index])


def test_boxes_follow_the_pixels():
    """A white rectangle in a black image: where it lands, its box lies."""
    image = np.zeros((60, 100, 3), np.uint8)
    image[12:30, 40:80] = [255, 0, 0]  # red in RGB
    data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    source = InMemory([data], [[[40, 12, 80, 30], [0, 0, 100, 60]]])
    batch = next(train_batches(source, image_size=320, batch_size=1, max_targets=4, seed=0))
    np.testing.assert_allclose(batch.letterbox[0], [3.2, 0, 64])
    ys, xs = np.nonzero(batch.image[0, ..., 0] > 127)
    np.testing.assert_allclose(
        batch.boxes_xyxy[0, 0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1
    )
    np.testing.assert_allclose(batch.boxes_xyxy[0, 0], [128, 102.4, 256, 160], atol=1e-4)
    np.testing.assert_allclose(batch.boxes_xyxy[0, 1], [0, 64, 320, 256], atol=1e-4)
    np.testing.assert_array_equal(batch.is_crowd[0], [False, True, False, False])
    np.testing.assert_array_equal(batch.labels[0], [0, 1, 0, 0])
    scale, pad_x, pad_y = batch.letterbox[0]
    back = (batch.boxes_xyxy[0, 0] - [pad_x, pad_y, pad_x, pad_y]) / scale
    np.testing.assert_allclose(back, [40, 12, 80, 30], atol=1e-4)


def test_too_many_targets_keep_the_largest_and_say_so(caplog):
    boxes = [[0, 0, 5, 5], [0, 0, 9, 9], [0, 0, 2, 2], [1, 1, 9, 9], [3, 3, 9, 9]]
    source = InMemory([jpeg(32, 32)], [boxes])
    with caplog.at_level(logging.WARNING):
        batch = take(source, 1, batch_size=1)[0]
    np.testing.assert_array_equal(batch.labels[0], [0, 3, 4])  # 1 is a crowd
    np.testing.assert_array_equal(batch.boxes_xyxy[0, 1], [1, 1, 9, 9])
    assert "000.jpg has 4 objects, more than max_targets=3" in caplog.text
    assert "raise max_targets to keep all" in caplog.text


def test_crowds_take_no_room_from_objects(caplog):
    boxes = [[0, 0, 5, 5], [0, 0, 30, 30], [1, 1, 9, 9], [0, 0, 2, 2]]  # 1 is a crowd
    both = InMemory([jpeg(32, 32)] * 2, [boxes, boxes[:2]])
    with caplog.at_level(logging.WARNING):
        batch = next(eval_batches(both, image_size=32, batch_size=2, max_targets=3))
    np.testing.assert_array_equal(batch.labels, [[0, 2, 3], [0, 1, 0]])
    np.testing.assert_array_equal(batch.is_crowd, [[False] * 3, [False, True, False]])
    assert not caplog.records


def test_evaluation_may_go_without_targets(caplog):
    source = InMemory([jpeg(32, 32)], [[[0, 0, 5, 5]]])
    batch = next(eval_batches(source, image_size=32, batch_size=1, max_targets=0))
    assert batch.boxes_xyxy.shape == (1, 0, 4) and not caplog.records


def test_no_targets_at_all():
    batch = take(InMemory([jpeg(32, 32)], [[]]), 1, batch_size=2)[0]
    assert not batch.mask.any() and (batch.boxes_xyxy == 0).all() and batch.valid.all()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_evaluation_sees_every_image_once(ten, processes):
    runs = [
        list(
            eval_batches(
                ten, image_size=32, batch_size=4, max_targets=3,
                reading=Reading(p, processes),
            )
        )
        for p in range(processes)
    ]  # fmt: skip
    assert [len(run) for run in runs] == [3] * processes
    index = np.concatenate([run[step].index for step in range(3) for run in runs])
    valid = np.concatenate([run[step].valid for step in range(3) for run in runs])
    np.testing.assert_array_equal(index, [*range(10), -1, -1])
    np.testing.assert_array_equal(valid, [True] * 10 + [False] * 2)
    last = runs[-1][-1]
    assert not last.mask[~last.valid].any() and (last.letterbox[~last.valid] == [1, 0, 0]).all()


def assert_equal(got, expected):
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        for field, other in zip(ours, theirs, strict=True):
            assert field.dtype == other.dtype
            np.testing.assert_array_equal(field, other)


def test_workers_make_the_same_batches_and_start_no_device(ten, long_run):
    source = WithoutDevices(ten.images, ten.boxes)
    assert_equal(take(source, 5, start=12, reading=Reading(workers=2)), long_run[3:])
    assert not multiprocessing.active_children()


def test_partners_follow_each_image_and_depend_on_seed_and_example_alone(ten):
    plain, whole = take(ten, 6), take(ten, 6, partners=3)
    for one, four in zip(plain, whole, strict=True):
        assert four.image.shape[0] == 4 * one.image.shape[0]
        np.testing.assert_array_equal(four.index[::4], one.index)
        np.testing.assert_array_equal(four.image[::4], one.image)
    drawn = np.concatenate([batch.index.reshape(-1, 4)[:, 1:] for batch in whole])
    assert set(drawn.ravel().tolist()) == set(range(10))
    assert_equal(take(ten, 4, start=8, partners=3), whole[2:])
    half = take(ten, 6, partners=3, reading=Reading(1, 2))
    np.testing.assert_array_equal(half[0].index, whole[0].index[8:])


@pytest.mark.long
@pytest.mark.parametrize(
    ("workers", "start", "processes"), [(1, 7, 1), (2, 7, 1), (3, 0, 1), (2, 123_456, 2)]
)
def test_any_number_of_workers_from_any_position(ten, workers, start, processes):
    expected = take(ten, 5, start=start)
    for index in range(processes):
        part = Reading(index, processes, threads=1 + workers, workers=workers)
        got = take(ten, 5, start=start, reading=part)
        half = slice(index * 4 // processes, (index + 1) * 4 // processes)
        assert_equal(got, [Batch(*(f[half] for f in batch)) for batch in expected])


@pytest.mark.long
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_see_every_image_of_an_evaluation_once(ten, workers):
    sizes = {"image_size": 32, "batch_size": 4, "max_targets": 3}
    assert_equal(
        list(eval_batches(ten, **sizes, reading=Reading(workers=workers))),
        list(eval_batches(ten, **sizes)),
    )


def test_an_error_in_a_worker_has_the_same_words():
    source = InMemory([jpeg(20, 30), jpeg(20, 30)[:-30]], [[], []])
    said = []
    for workers in (0, 1):
        batches = eval_batches(
            source, image_size=32, batch_size=1, max_targets=3, reading=Reading(workers=workers)
        )
        next(batches)
        with pytest.raises(ValueError) as error:
            next(batches)
        said.append((type(error.value), str(error.value)))
    assert said[0] == said[1]
    assert not multiprocessing.active_children()


def test_a_worker_that_ends_by_itself():
    with pytest.raises(ChildProcessError, match=r"ended with exit code 7; .* fewer workers"):
        take(Deadly([b""], [[]]), 1, reading=Reading(workers=1))
    assert not multiprocessing.active_children()


ENDLESS = """
import signal
from tests.data.test_pipeline import Reading, small, train_batches
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
if __name__ == "__main__":
    batches = train_batches(
        small(10), image_size=32, batch_size=4, max_targets=3, seed=0, reading=Reading(workers=2)
    )
    for batch in batches:
        print("ready", flush=True)
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_program(tmp_path, number):
    """Whatever ends it; Ctrl-C in a terminal and some schedulers reach the workers, too."""
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    program = subprocess.Popen(
        [sys.executable, script], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert program.stdout.readline() == "ready\n"
    if number == signal.SIGINT:
        os.killpg(program.pid, number)
    else:
        program.send_signal(number)
    try:
        errors = program.communicate(timeout=60)[1]  # the pipe is open until the last worker ends
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    assert "leaked" not in errors and "spawn_main" not in errors


@pytest.mark.parametrize("spoil", [lambda d: d[:-30], lambda d: b"not an image", lambda d: b""])
def test_an_undecodable_image_is_named(spoil):
    source = InMemory([jpeg(20, 30), spoil(jpeg(20, 30))], [[], []])
    batches = eval_batches(source, image_size=32, batch_size=1, max_targets=3)
    next(batches)
    with pytest.raises(
        ValueError, match=r"image 001\.jpg \(position 1\): (truncated|empty|damaged)"
    ):
        next(batches)


def test_exif_is_not_applied_again():
    data = jpeg(20, 30)
    source = InMemory([data, with_orientation(data, 6)], [[], []])
    batch = next(eval_batches(source, image_size=32, batch_size=2, max_targets=1))
    np.testing.assert_array_equal(batch.original_size, [[20, 30]] * 2)
    np.testing.assert_array_equal(batch.image[0], batch.image[1])


@pytest.mark.parametrize(
    ("batch_size", "start", "reading", "sentence"),
    [
        (6, 0, {"process_count": 4}, "got batch_size=6 for 4 processes"),
        (4, 0, {"process_index": 2, "process_count": 2}, "process 2 of 2"),
        (0, 0, {}, "got batch_size=0"),
        (4, -1, {}, "got start=-1"),
        (4, 0, {"threads": 0}, "got threads=0, workers=0"),
        (4, 0, {"workers": -1}, "workers=-1"),
    ],
)
def test_wrong_arguments_are_said_at_once(ten, batch_size, start, reading, sentence):
    sizes = {"image_size": 32, "batch_size": batch_size, "max_targets": 3}
    with pytest.raises(ValueError, match=sentence):
        train_batches(ten, **sizes, seed=0, start=start, reading=Reading(**reading))


def test_real_images_the_whole_way(shared, tmp_path):
    """COCO folder -> prepared -> batch: pixels by the letterbox rule, a known box in its place."""
    folder = shared / "data" / "coco128"
    source = open_dataset(folder, "val2017", tmp_path, progress=False)
    batches = eval_batches(source, image_size=320, batch_size=32, max_targets=64)
    batch = next(batches)
    row = int(np.flatnonzero(batch.index == source.image_ids.index(139))[0])
    path = folder / "val2017" / "000000000139.jpg"
    canvas, parameters = letterbox(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), (320, 320))
    np.testing.assert_array_equal(batch.image[row], canvas)
    np.testing.assert_array_equal(batch.letterbox[row], parameters)
    # Annotation 1: 236.98, 142.51, 24.7 x 69.5 of 640 x 426: scale 1/2, padding 53.5 (213 rows).
    expected = [118.49, 71.255 + 53.5, 130.84, 106.005 + 53.5]
    np.testing.assert_allclose(batch.boxes_xyxy[row, 0], expected, atol=1e-3)
    assert sum(int(b.mask.sum()) for b in [batch, *batches]) == 903
