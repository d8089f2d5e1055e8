"""The largest batch that fits: the search, what devices can share, and real programs."""

import jax
import numpy as np
import pytest

from tests.support import coco_folder
from yolor_jax.cli.main import main
from yolor_jax.cli.recipes import read_draft
from yolor_jax.errors import InputError
from yolor_jax.runs import largest_batch, programs
from yolor_jax.runs.draft import continued, decide
from yolor_jax.runs.largest_batch import in_eights, search, shared_evenly
from yolor_jax.runs.recipe import save
from yolor_jax.training import mesh as meshes
from yolor_jax.training.programs.cost import Memory
from yolor_jax.training.programs.topology import DoesNotFit

IMAGES = 40


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Settings for a network of eight devices, as small as there is, and its data."""
    folder = coco_folder.write(tmp_path_factory.mktemp("data") / "pets", images=IMAGES)
    return [
        f"--config.data.path={folder}",
        f"--config.data.prepared={folder}-prepared",
        "--config.data.train_split=val",
        "--config.data.eval_split=val",
        "--config.image_size=64",
        "--config.augment.mosaic=0.0",
    ]


def linear(state, each, tried):
    def needed(size):
        tried.append(size)
        return state + each * size

    return needed


@pytest.mark.parametrize(("room", "expected"), [(100, 80), (99, 72), (1000, 200), (36, 16)])
def test_a_linear_need_is_found_with_one_more_try(room, expected):
    """20 for the state and 1 an image; of eights up to 200."""
    tried = []
    assert search([*range(8, 201, 8)], linear(20, 1, tried), float(room)) == expected
    assert tried == [8, 16, *([expected] if expected > 16 else [])]


@pytest.mark.parametrize("power", [0.8, 1.0, 1.2])
def test_a_need_that_is_not_linear_never_ends_above_the_room(power):
    tried = []

    def needed(size):
        tried.append(size)
        return 20 + size**power

    sizes = [*range(8, 2001, 8)]
    found = search(sizes, needed, 300.0)
    largest = max(size for size in sizes if 20 + size**power <= 300)
    assert 0.9 * largest <= found <= largest
    assert len(tried) <= 1 + largest_batch.TRIES


def test_beyond_eight_images_a_device_come_multiples_of_eight():
    mesh = meshes.make_mesh(jax.devices()[:2])
    assert in_eights([*range(2, 50, 2)], mesh) == [2, 4, 6, 8, 10, 12, 14, 16, 32, 48]


def test_the_first_that_does_not_fit_and_the_only_one():
    assert search([8, 16], linear(20, 1, []), 27.0) is None
    assert search([8], linear(20, 1, []), 28.0) == 8


def test_devices_and_mosaics_share_evenly(given):
    mesh = meshes.make_mesh()
    plain = decide(read_draft("quickstart", given)).recipe
    assert shared_evenly(plain, mesh, IMAGES) == [8, 16, 24, 32, 40]
    mosaic = plain.with_changes(augment={"mosaic": 1.0, "group": 4})
    assert shared_evenly(mosaic, mesh, 100) == [32, 64, 96]
    assert shared_evenly(plain, mesh, 7) == []


def test_a_compiled_step_says_what_it_needs(given, monkeypatch):
    """A step that is quickly compiled, of 4 MiB an image in and out."""

    def lower_step(recipe, module, mesh, size):
        return jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((size, 2**20), np.float32))

    monkeypatch.setattr(programs, "lower_step", lower_step)
    monkeypatch.setattr(largest_batch, "device_bytes", lambda mesh: 200 * 2**20)
    draft = read_draft("quickstart", [*given, "--config.batch_size=auto"])
    said = []
    assert decide(draft, say=said.append).recipe.batch_size == 16  # 22.5 images
    assert "compiling the training step with 8 images" in said[0]
    monkeypatch.setattr(largest_batch, "device_bytes", lambda mesh: 2**20)
    with pytest.raises(InputError, match=r"even a batch of 8 needs more than 90% of the 1\.0 MiB"):
        decide(draft)


def test_the_batch_is_what_compiled_steps_leave_room_for(given, monkeypatch):
    """Steps that need 2,000 bytes and 100 an image; one of 32 images is too large to compile."""

    def compiled(batch_size):
        if batch_size == 32:
            raise DoesNotFit(5300, 4500)
        return Memory(2000, 2000, 2000, 100 * batch_size)

    monkeypatch.setattr(programs, "lower_step", lambda recipe, module, mesh, size: size)
    monkeypatch.setattr(largest_batch, "compile_for_tpu", compiled)
    monkeypatch.setattr(Memory, "of", lambda memory: memory)
    draft = read_draft("quickstart", [*given, "--config.batch_size", "auto"])
    for available, expected in ((5000, 24), (4899, 24), (4888, 16), (5778, 24)):
        monkeypatch.setattr(largest_batch, "device_bytes", lambda mesh, bytes_=available: bytes_)
        decided = decide(draft)
        assert decided.recipe.batch_size == expected
        assert decided.said.endswith(f"\n  --config.batch_size={expected}")


def test_own_data_decide_the_rest_for_that_batch(given, monkeypatch):
    monkeypatch.setattr(largest_batch, "search", lambda sizes, needed, room: sizes[-1])
    decided = decide(read_draft("own", [*given, "--config.batch_size=auto"]))
    assert decided.recipe.batch_size == IMAGES  # five on each of eight devices
    assert decided.recipe.epochs == 1600  # of one step


def test_the_last_batch_size_that_is_given_counts(given):
    words = ["--config.batch_size=auto", "--config.batch_size=16"]
    drafted = read_draft("quickstart", [*given, *words])
    assert not drafted.auto_batch and drafted.recipe.batch_size == 16
    assert read_draft("quickstart", [*given, *reversed(words)]).auto_batch


def test_processes_compare_what_was_asked_and_not_what_stands_for_it(given):
    auto = read_draft("quickstart", [*given, "--config.batch_size=auto"])
    eight = read_draft("quickstart", [*given, "--config.batch_size=8"])
    assert auto.recipe == eight.recipe
    assert auto.asked()["batch_size"] == "auto" and eight.asked()["batch_size"] == 8
    own = read_draft("own", given).asked()
    assert own["loss"]["classification"] is None and own["data"]["train_split"] == "val"


def test_a_run_that_goes_on_keeps_its_batch(given, tmp_path):
    draft = read_draft("quickstart", [*given, "--config.batch_size=auto"])
    assert continued(draft, tmp_path) == draft
    save(draft.recipe.with_changes(batch_size=24), tmp_path)
    again = continued(draft, tmp_path)
    assert again.recipe.batch_size == 24 and not again.open and not again.auto_batch


def test_fewer_images_than_devices_share(given, tmp_path):
    few = coco_folder.write(tmp_path / "few", images=4)
    words = [f"--config.data.path={few}", f"--config.data.prepared={few}-prepared"]
    with pytest.raises(InputError, match=r"4 images to train on are fewer than the smallest batch"):
        decide(read_draft("quickstart", [*given, *words, "--config.batch_size=auto"]))


def test_a_slice_that_is_not_here_finds_no_batch(given, capsys):
    words = ["--config", "quickstart", *given, "--config.batch_size=auto", "--topology", "v5e:2x2"]
    assert main(["doctor", *words]) == 2
    assert "expected --config.batch_size=N and not auto" in capsys.readouterr().err
