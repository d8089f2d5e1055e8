"""``yolor prepare``: folders and zip files, kills at any moment, wrong input, and looking again."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.support.coco_folder import write
from yolor_jax.cli import prepare as command
from yolor_jax.cli.main import main
from yolor_jax.data.sources import open_source
from yolor_jax.data.targets import targets_path
from yolor_jax.preparation import joining, plan
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.preparation.prepare import prepare
from yolor_jax.preparation.report import Report

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def pets(tmp_path):
    """A folder with two splits."""
    folder = write(tmp_path / "pets", split="train", images=5)
    other = write(tmp_path / "other", split="val", images=3)
    (other / "val").rename(folder / "val")
    (other / "annotations" / "instances_val.json").rename(
        folder / "annotations" / "instances_val.json"
    )
    return folder


def zipped(folder, target):
    """The same as zip files, as COCO publishes it."""
    target.mkdir()
    for name in ("annotations", "train", "val"):
        archive = {"annotations": "annotations_trainval2017"}.get(name, name)
        with zipfile.ZipFile(target / f"{archive}.zip", "w") as file:
            file.mkdir(name)
            for path in sorted((folder / name).iterdir()):
                file.write(path, f"{name}/{path.name}")
    return target


def contents(directory):
    """All files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def run(*arguments):
    return main(["prepare", *map(str, arguments)])


def test_a_folder_becomes_one_directory_with_all_splits(pets, tmp_path, capsys):
    target = tmp_path / "made" / "pets"
    assert run(pets, target) == 0
    out = capsys.readouterr().out
    assert ["train", "5", "5", "5", "0"] in [line.split() for line in out.splitlines()]
    assert f"--data {target} --config.data.train_split=train" in out
    assert "--config.data.eval_split=val\n" in out
    for split, count in (("train", 5), ("val", 3)):
        alone = open_dataset(pets, split, tmp_path / "prepared", progress=False)
        source = open_dataset(target, split, tmp_path, progress=False)
        assert len(source) == count and source.class_names == alone.class_names
        assert source.ground_truth() == alone.ground_truth()
        for index in range(count):
            for got, expected in zip(source[index], alone[index], strict=True):
                np.testing.assert_array_equal(got, expected)
    assert [p.name for p in target.parent.iterdir() if p != target] == [".pets.lock"]


def test_the_default_target_and_chosen_splits(pets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("pets", "--splits", "val") == 0
    out = capsys.readouterr().out
    assert "yolor eval --workdir WORKDIR --data data/prepared/pets --split val\n" in out
    assert len(open_source("data/prepared/pets", "val")) == 3
    with pytest.raises(ValueError, match=r"has no split 'train'; it has \['val'\]"):
        open_source("data/prepared/pets", "train")


def test_again_does_nothing_and_a_change_is_refused(pets, tmp_path, capsys):
    target = tmp_path / "made"
    assert run(pets, target) == 0
    before = contents(target), target.stat().st_mtime_ns
    assert run(pets, target) == 0
    assert (contents(target), target.stat().st_mtime_ns) == before
    (pets / "val" / "001.jpg").write_bytes((pets / "val" / "001.jpg").read_bytes() + b"\0")
    assert run(pets, target) == 2
    assert "holds something else, or another state of the split 'val'" in capsys.readouterr().err
    assert contents(target) == before[0]


def test_halves_of_another_state_go_and_those_of_other_data_stay(pets, tmp_path):
    old, other = (tmp_path / f".{name}-0123456789ab.partial" for name in ("made", "made-too"))
    old.mkdir(), other.mkdir()
    assert run(pets, tmp_path / "made") == 0
    assert other.exists() and not old.exists()


def test_zip_files_give_the_same_bytes(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    assert run(pets, tmp_path / "a" / "pets") == 0
    assert run(packed, tmp_path / "b" / "pets") == 0
    one, other = (contents(tmp_path / name / "pets") for name in "ab")
    reports = {name for name in one if name.startswith("report")}  # with fingerprints of the files
    assert one.keys() == other.keys()
    assert {n: one[n] for n in one.keys() - reports} == {n: other[n] for n in one.keys() - reports}
    assert sorted(p.name for p in packed.iterdir()) == [
        "annotations_trainval2017.zip", "train.zip", "val.zip",
    ]  # fmt: skip
    assert len(open_dataset(packed, "val", tmp_path / "prepared", progress=False)) == 3


KILLED = """
import os, signal, sys
from yolor_jax.cli.main import main
from yolor_jax.preparation import shards
add = shards._to_features
seen = []
def killed(record):
    seen.append(record)
    if len(seen) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return add(record)
shards._to_features = killed
main(["prepare", sys.argv[1], sys.argv[2]])
"""


@pytest.mark.parametrize("images", [pytest.param(3, marks=pytest.mark.long), 7])
def test_killed_while_writing_goes_on_and_keeps_whole_splits(pets, tmp_path, images, monkeypatch):
    whole, target = tmp_path / "whole" / "pets", tmp_path / "killed" / "pets"
    assert run(pets, whole) == 0
    command = [sys.executable, "-c", KILLED, str(pets), str(target), str(images)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
    assert not target.exists()

    written = []
    original = plan.write_shard
    monkeypatch.setattr(plan, "write_shard", lambda *a: written.append(a) or original(*a))
    assert run(pets, target) == 0
    assert len(written) == (2 if images == 3 else 1)  # 5 in train: killed in train, or in val
    assert contents(target) == contents(whole)


def test_killed_while_joining_goes_on(pets, tmp_path, monkeypatch):
    whole = tmp_path / "whole" / "pets"
    assert run(pets, whole) == 0
    calls = dict.fromkeys(("replace", "rename", "rmtree"), 0)
    moments = 0
    for moment in range(30):
        target = tmp_path / str(moment) / "pets"
        count = 0

        def dying(name, function, moment=moment):
            def call(*arguments, **options):
                nonlocal count
                calls[name] += 1
                count += 1
                if count == moment + 1:
                    raise KeyboardInterrupt
                function(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            fake = type("os", (), {n: dying(n, getattr(os, n)) for n in ("replace", "rename")})
            patch.setattr(joining, "os", fake)
            patch.setattr(joining.shutil, "rmtree", dying("rmtree", joining.shutil.rmtree))
            code = run(pets, target)
        assert code == (130 if not target.exists() else 0)
        moments += code == 130
        assert run(pets, target) == 0
        assert contents(target) == contents(whole)
        assert run("--verify", target) == 0
        if code == 0:
            break
    assert moments > 10 and min(calls.values()) > 0


def test_verify_finds_what_has_gone_wrong(pets, tmp_path, capsys):
    target = tmp_path / "made"
    assert run(pets, target) == 0
    assert run("--verify", target) == 0
    assert ["train", "5", "5", "0"] in map(str.split, capsys.readouterr().out.splitlines())

    path = targets_path(target, "val")
    with np.load(path) as arrays:
        arrays = dict(arrays)
    whole = {name: array.copy() for name, array in arrays.items()}
    arrays["boxes_xyxy"][0, 2] = 65  # the images are 64 wide
    np.savez(path, **arrays)
    assert run("--verify", target, "--splits", "val") == 1
    out = capsys.readouterr().out
    assert "val: image 0 (001.jpg): a box reaches outside, or has no class\n" in out
    assert "2 whole images with 2 boxes; 3 with 3 were prepared" in out
    np.savez(path, **whole)
    assert run("--verify", target) == 0

    (shard,) = target.glob("*train.array_record*")
    data = bytearray(shard.read_bytes())
    data[data.index(b"\xff\xd9")] ^= 1
    shard.write_bytes(data)
    assert run("--verify", target) == 1
    assert "record 0 of the split train" in capsys.readouterr().out


def no_annotations(pets, tmp_path):
    (pets / "annotations").rename(pets / "labels")
    return pets, "is no data set: expected"


def no_images(pets, tmp_path):
    for split in ("train", "val"):
        (pets / split).rename(pets / f"{split}_images")
    return pets, "holds no split with both annotations and images (annotations of: train, val)"


def empty_file(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    (packed / "val.zip").write_bytes(b"")
    return packed, "val.zip is empty, cut off or no zip file"


def empty_zip(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    with zipfile.ZipFile(packed / "val.zip", "w"):
        pass
    return packed, "val.zip is empty; expected the images of the split 'val'"


def cut_zip(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    data = (packed / "train.zip").read_bytes()
    (packed / "train.zip").write_bytes(data[: len(data) // 2])
    return packed, "train.zip is empty, cut off or no zip file"


def cut_annotations(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    path = packed / "annotations_trainval2017.zip"
    path.write_bytes(path.read_bytes()[:-30])
    return packed, "annotations_trainval2017.zip is empty, cut off or no zip file"


def flipped_bit(pets, tmp_path):
    packed = zipped(pets, tmp_path / "packed")
    data = bytearray((packed / "val.zip").read_bytes())
    data[data.index(b"\xff\xda") + 50] ^= 4
    (packed / "val.zip").write_bytes(data)
    return packed, "1 broken: unreadable image"


def duplicate_id(pets, tmp_path):
    path = pets / "annotations" / "instances_val.json"
    coco = json.loads(path.read_text())
    coco["images"][1]["id"] = coco["images"][0]["id"]
    path.write_text(json.dumps(coco))
    return pets, "1 broken: duplicate image id (the second one counts as broken): 1 (002.jpg)"


def other_categories(pets, tmp_path):
    path = pets / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace('"cat"', '"tiger"'))
    return pets, "has other categories than the split before it"


def absent(pets, tmp_path):
    return tmp_path / "nowhere", "nowhere is no data set: there is no such folder; expected"


@pytest.mark.parametrize(
    "spoil",
    [
        no_annotations, no_images, empty_file, empty_zip, cut_zip, cut_annotations, flipped_bit,
        duplicate_id, other_categories, absent,
    ],
)  # fmt: skip
def test_wrong_input_gets_a_sentence(pets, tmp_path, capsys, spoil):
    source, sentence = spoil(pets, tmp_path)
    assert run(source, tmp_path / "made") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_what_is_broken_is_left_out_if_told_to(pets, tmp_path, capsys):
    source, _ = flipped_bit(pets, tmp_path)
    assert run(source, tmp_path / "made", "--skip-broken") == 0
    out = capsys.readouterr().out
    assert ["val", "2", "2", "2", "1"] in [line.split() for line in out.splitlines()]
    assert len(open_source(tmp_path / "made", "val")) == 2


def test_a_target_that_cannot_be_written(pets, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(pets, tmp_path / "file" / "made") == 2
    assert "file cannot be made (File exists); name another one" in capsys.readouterr().err
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("precious")
    assert run(pets, tmp_path / "made") == 2
    assert "made is there and holds something else" in capsys.readouterr().err
    assert (tmp_path / "made" / "thesis.tex").read_text() == "precious"


def test_a_full_disk_then_room_again(pets, tmp_path, capsys):
    target, whole = tmp_path / "full" / "pets", tmp_path / "whole" / "pets"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))  # bytes of a file
    try:
        assert run(pets, target) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "could not be written; make room, then give the same com" in capsys.readouterr().err
    assert not target.exists()
    assert run(pets, target) == run(pets, whole) == 0
    assert contents(target) == contents(whole)


def test_shapes_need_no_preparation(capsys):
    assert run("shapes") == 2
    assert "the built-in shapes are drawn on first use" in capsys.readouterr().err


def test_verify_compares_with_the_source_to_the_byte(pets, tmp_path, capsys):
    target = tmp_path / "made"
    assert run(pets, target) == run("--verify", pets, target) == 0
    capsys.readouterr()
    image = next((pets / "val").iterdir())
    data = bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    next((pets / "train").iterdir()).unlink()
    assert run("--verify", pets, target) == 1
    out = capsys.readouterr().out
    assert f"val: {image.name}: other bytes" in out and "not there any more" in out


def test_verify_makes_nothing(pets, tmp_path, capsys):
    assert run("--verify", pets, "--skip-broken") == 2
    assert "--verify makes nothing" in capsys.readouterr().err
    assert run("--verify", pets, tmp_path / "made") == 2
    assert not (tmp_path / "made").exists()
    assert run("--verify", pets) == 2


def test_what_training_prepares_has_the_same_records(pets, tmp_path):
    assert run(pets, tmp_path / "made" / "pets") == 0
    alone = prepare(pets, "val", tmp_path / "prepared", progress=False).directory
    (name,) = [p.name for p in alone.glob("*array_record*")]
    assert (alone / name).read_bytes() == (tmp_path / "made" / "pets" / name).read_bytes()


def test_the_recipe_of_coco_is_proposed_for_as_many_images(tmp_path):
    def proposed(images):
        reports = {"train": Report(images=images), "val": Report(images=100)}
        return command._next(tmp_path, reports)

    assert proposed(49_999).startswith("yolor train --data ")
    assert proposed(50_000).startswith("yolor train coco640:yolor_csp --data ")
