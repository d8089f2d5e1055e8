"""``yolor convert``: every format in, ours and the original's out, to the bit; wrong input."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.support import golden_models
from tests.support import torch_archives as archives
from tests.support.leaves import random_state_dict
from tests.support.saved_run import META, save_run
from yolor_jax.cli.main import main
from yolor_jax.data.classes import COCO_NAMES
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.stamp import STAMPS
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights import store
from yolor_jax.weights.convert import from_torch
from yolor_jax.weights.darknet_file import conv_sections, write_darknet

SMALL = MODELS["yolor_test"]
FIRST = "module_list.1.Conv2d.weight"  # of SMALL; section 0 is the space-to-depth
KINDS = {np.dtype(dtype): kind for kind, dtype in archives.DTYPES.items()}
UNUSED = "head.anchors"


def write_torch(path, state_dict):
    """What ``torch.save({"model": state_dict}, path)`` writes."""
    tensors = {
        name: archives.tensor(
            shape=array.shape,
            stride=[stride // array.itemsize for stride in array.strides],
            key=str(i),
            size=array.size,
            kind=KINDS[array.dtype],
        )
        for i, (name, array) in enumerate(state_dict.items())
    }
    value = archives.mapping({"epoch": archives.NONE, "model": archives.mapping(tensors)})
    storages = {str(i): array for i, array in enumerate(state_dict.values())}
    return archives.save(path, value, storages)


def require_equal(got, expected):
    """The same names, shapes, dtypes and bits."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape, name
        assert got[name].tobytes() == array.tobytes(), name


@pytest.fixture(scope="module")
def small():
    return random_state_dict(SMALL, 3)


@pytest.fixture
def here(tmp_path, monkeypatch, small):
    """A folder to work in, with the weights of a small network for three classes in it."""
    monkeypatch.chdir(tmp_path)
    safetensors.numpy.save_file(small, "theirs.safetensors")
    return tmp_path


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def refusal(capsys, *arguments):
    """What the command says of wrong input; it must leave nothing behind."""
    before = sorted(pathlib.Path().rglob("*"))
    assert convert(*arguments) == 2
    assert sorted(pathlib.Path().rglob("*")) == before
    out, err = capsys.readouterr()
    assert "written" not in out and err.startswith("yolor convert: ")
    return err.removeprefix("yolor convert: ").rstrip("\n")


# There and back


def there_and_back(folder, spec, tensors, state_dict):
    """From a file of the original to ours and out again."""
    assert convert(tensors, folder / "ours.safetensors") == 0
    variables, meta = store.load_variables(folder / "ours.safetensors")
    [made_by] = meta.pop("stamps")
    assert made_by["version"] == "0.1.0"
    assert meta == {
        "model": spec.name,
        "implicit": None,
        "num_classes": 80,
        "class_names": list(COCO_NAMES),
        "image_size": 640 if spec.strides[-1] == 32 else 1280,
        "fused": False,
    }
    assert convert(folder / "ours.safetensors", folder / "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file(folder / "back.safetensors"), state_dict)
    return variables


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("main__yolor_csp", "module_list.0.Conv2d", "stem"),
        ("paper__yolor-ssss-dwt", "model.3.m.0.cv2.conv", "stage1/csp/bottleneck0/expand"),
    ],
)
def test_pytorch_there_and_back(golden, tmp_path, name, theirs, ours, capsys):
    spec, facts, _, state_dict = golden_models.load(golden, name)
    write_torch(tmp_path / "a.pt", state_dict)
    variables = there_and_back(tmp_path, spec, tmp_path / "a.pt", state_dict)
    out = capsys.readouterr().out
    assert f"PyTorch checkpoint, tensors: {len(state_dict)} float32\n{spec.name}: 80 classes" in out
    assert f"(person ...), {facts['num_params']:,} parameters" in out
    assert f"yolor detect IMAGE... --checkpoint {tmp_path / 'ours.safetensors'}" in out
    assert 'load_state_dict(safetensors.torch.load_file("' in out
    got = flatten_by_path(variables)[f"params/backbone/{ours}/conv/kernel"]
    assert got[0, 2, 1, 5] == state_dict[f"{theirs}.weight"][5, 1, 0, 2]
    assert got.dtype == np.float32


def test_half_precision_and_counters(golden, tmp_path, capsys):
    """Halves become the same numbers in float32; counters go."""
    spec, _, _, state_dict = golden_models.load(golden, "paper__yolor-ssss-s2d")
    state_dict = {name: array.astype(np.float16) for name, array in state_dict.items()}
    count = {"model.3.cv1.bn.num_batches_tracked": np.array([7])}
    write_torch(tmp_path / "a.pt", {f"module.{k}": v for k, v in (state_dict | count).items()})
    wide = {name: array.astype(np.float32) for name, array in state_dict.items()}
    there_and_back(tmp_path, spec, tmp_path / "a.pt", wide)
    assert f"tensors: {len(state_dict)} float16\nyolor_ssss_s2d: 80" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("name", golden_models.OF_EACH_FORM)
def test_models_there_and_back(golden, tmp_path, name):
    spec, _, _, state_dict = golden_models.load(golden, name)
    safetensors.numpy.save_file(state_dict, tmp_path / "theirs.safetensors")
    there_and_back(tmp_path, spec, tmp_path / "theirs.safetensors", state_dict)


def test_a_state_dict_to_a_state_dict(here, small):
    write_torch(here / "a.pt", small)
    assert convert("a.pt", "b.safetensors", "--to", "torch", "--model", "yolor_test") == 0
    require_equal(safetensors.numpy.load_file("b.safetensors"), small)


def plain(monkeypatch, *names):
    """A zoo of small models without implicit knowledge."""
    spec = with_implicit(SMALL, {})
    for model in list(MODELS):
        monkeypatch.delitem(MODELS, model)
    for name in names:
        monkeypatch.setitem(MODELS, name, dataclasses.replace(spec, name=name))
    return spec


def write_weights(path, spec, num_classes):
    state_dict = random_state_dict(spec, num_classes)
    shapes = {name: array.shape for name, array in state_dict.items()}
    write_darknet(path, state_dict, conv_sections(shapes))
    return state_dict


def test_darknet(here, monkeypatch, capsys):
    spec = plain(monkeypatch, "plain")
    state_dict = write_weights(here / "a.weights", spec, 20)
    assert convert("a.weights", "ours.safetensors", "--classes", 20) == 0
    assert "a.weights: darknet file, tensors: " in capsys.readouterr().out
    variables, meta = store.load_variables("ours.safetensors")
    assert (meta["model"], meta["num_classes"]) == ("plain", 20)
    assert meta["class_names"][:2] == ["class0", "class1"] and len(meta["class_names"]) == 20
    require_equal(flatten_by_path(variables), flatten_by_path(from_torch(spec, state_dict)[0]))
    assert convert("ours.safetensors", "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file("back.safetensors"), state_dict)


@pytest.mark.long
def test_darknet_of_the_zoo(golden, tmp_path):
    spec, _, _, state_dict = golden_models.load(golden, "main__yolov4_csp")
    shapes = {name: array.shape for name, array in state_dict.items()}
    write_darknet(tmp_path / "a.weights", state_dict, conv_sections(shapes))
    there_and_back(tmp_path, spec, tmp_path / "a.weights", state_dict)


def test_wrong_darknet_files(here, monkeypatch, capsys):
    spec = plain(monkeypatch, "plain", "twin")
    write_weights(here / "a.weights", spec, 80)
    said = refusal(capsys, "a.weights", "b.safetensors")
    assert "a.weights: these weights fit plain and twin" in said
    assert said.endswith("with 80 classes, which have equal tensors; name the model")
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 20)
    assert "the sizes of none of plain, twin with 20 classes" in said
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 0)
    assert said == "--classes is 0; expected at least 1"
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 20, "--model", "plain")
    assert "numbers, expected" in said
    monkeypatch.setitem(MODELS, "yolor_test", SMALL)
    said = refusal(capsys, "a.weights", "b.safetensors", "--model", "yolor_test")
    assert "yolor_test has them; expected one of plain, twin" in said
    assert convert("a.weights", "b.safetensors", "--model", "twin") == 0


def test_a_training_run(here, small, capsys):
    """The moving average, with what the run knows of itself."""
    variables, _ = from_torch(SMALL, small)
    variables = jax.tree.map(np.ascontiguousarray, variables)
    save_run("run", variables)
    capsys.readouterr()
    assert convert("run", "ours.safetensors") == 0
    assert "run: moving average of a run, tensors: " in capsys.readouterr().out
    got, known = store.load_variables("ours.safetensors")
    assert len(known.pop(STAMPS)) == 1
    assert known == META | {"fused": False, "step": 1}
    require_equal(flatten_by_path(got), flatten_by_path(variables))
    assert convert("run", "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file("back.safetensors"), small)


def test_ours_to_ours_with_other_names_and_size(here):
    pathlib.Path("names.txt").write_text("cat\n dog\nBär\n\n", encoding="utf-8")
    arguments = ("--class-names", "names.txt", "--image-size", 96)
    assert convert("theirs.safetensors", "a.safetensors", *arguments) == 0
    assert convert("a.safetensors", "b.safetensors", "--image-size", 64) == 0
    variables, meta = store.load_variables("b.safetensors")
    assert (meta["class_names"], meta["image_size"]) == (["cat", "dog", "Bär"], 64)
    require_equal(
        flatten_by_path(variables), flatten_by_path(store.load_variables("a.safetensors")[0])
    )


def ours(path, spec, variables, **meta):
    """Writes a file of ours."""
    known = {"model": "yolor_test", "implicit": None, "num_classes": 3, "image_size": 64}
    known |= {"class_names": ["a", "b", "c"], "fused": False}
    store.save_variables(path, variables, known | meta)


def test_folded_weights(here, small, capsys):
    """They can be copied, and nothing that needs what the fold has merged."""
    folded = fold(SMALL, from_torch(SMALL, small)[0])
    ours("folded.safetensors", SMALL, folded, fused=True)
    assert convert("folded.safetensors", "copy.safetensors") == 0
    assert "yolor_test, folded: 3 classes" in capsys.readouterr().out
    got, _ = store.load_variables("copy.safetensors")
    require_equal(flatten_by_path(got), flatten_by_path(jax.device_get(folded)))
    said = refusal(capsys, "folded.safetensors", "b.safetensors", "--to", "torch")
    assert "is folded; the original has no names for such weights" in said
    said = refusal(capsys, "folded.safetensors", "b.safetensors", "--verify", "r.npz")
    assert "is folded; --verify needs the weights before the fold" in said


def test_implicit_knowledge_that_the_original_does_not_have(here, small, capsys):
    implicit = {"alignment": "multiply"}
    spec = with_implicit(SMALL, implicit)
    shapes = variable_shapes(build(spec, 3))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    ours("laboratory.safetensors", spec, variables, implicit=implicit)
    assert convert("laboratory.safetensors", "copy.safetensors") == 0
    assert store.load_variables("copy.safetensors")[1]["implicit"] == implicit
    capsys.readouterr()
    said = refusal(capsys, "laboratory.safetensors", "b.safetensors", "--to", "torch")
    assert "implicit knowledge for which the original's checkpoints have no name" in said


def test_anchors_of_its_own(here, small, capsys):
    """They stay with a file of ours; the original has no place for them in its weights."""
    anchors = [[[9.0, 8.0]] * 3, [[31.0, 33.0]] * 3, [[90.0, 77.0]] * 3]
    ours("own.safetensors", SMALL, from_torch(SMALL, small)[0], anchors=anchors)
    assert convert("own.safetensors", "copy.safetensors") == 0
    assert store.load_variables("copy.safetensors")[1]["anchors"] == anchors
    assert f"anchors of its own: {anchors}\n" in capsys.readouterr().out
    assert convert("own.safetensors", "back.safetensors", "--to", "torch") == 0
    assert f"{anchors}; the original must be built with them\n" in capsys.readouterr().out


# The model


def test_the_nearest_model_is_named(here, small, capsys):
    tensors = {name: array for name, array in small.items() if name != FIRST}
    safetensors.numpy.save_file(tensors | {UNUSED: np.zeros(3)}, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors")
    assert "these 317 tensors are those of no model of the zoo; nearest is yolor_" in said
    assert "with 1 names missing and 1 unused. Name the model" in said and "yolor_e6, " in said


def test_names_fit_but_no_shapes(here, small, capsys):
    safetensors.numpy.save_file(small | {FIRST: np.zeros((9, 12, 3, 3))}, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors")
    assert "have the sizes of none of yolor_nano, yolor_test; name the model" in said


def test_two_models_fit(here, monkeypatch, capsys):
    twin = dataclasses.replace(SMALL, name="twin", activation="mish")
    monkeypatch.setitem(MODELS, "twin", twin)
    said = refusal(capsys, "theirs.safetensors", "b.safetensors")
    assert said == (
        "these weights fit yolor_test and twin, which have equal tensors; name the model"
    )
    assert convert("theirs.safetensors", "b.safetensors", "--model", "twin") == 0
    assert store.load_variables("b.safetensors")[1]["model"] == "twin"


def test_every_difference_is_listed(here, small, capsys):
    tensors = {name: array for name, array in small.items() if name != FIRST}
    second = "module_list.2.Conv2d.weight"
    tensors |= {UNUSED: np.zeros(3, np.float32), second: np.zeros((8, 8, 1, 1), np.float32)}
    safetensors.numpy.save_file(tensors, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors", "--model", "yolor_test")
    first, *rest = said.splitlines()
    assert first.endswith("not those of yolor_test with 3 classes, 3 differences:")
    assert sorted(rest) == [
        f"  {UNUSED} is unused: got float32[3], expected no such leaf",
        f"  {FIRST} is missing: expected float32[8, 12, 3, 3]",
        f"  {second} has shape [8, 8, 1, 1]: expected [8, 8, 3, 3]",
    ]


def test_our_file_with_other_leaves(here, small, capsys):
    variables, _ = from_torch(SMALL, small)
    del variables["params"]["backbone"]["stem"]
    ours("broken.safetensors", SMALL, variables)
    said = refusal(capsys, "broken.safetensors", "b.safetensors")
    assert said.startswith("broken.safetensors does not hold what yolor_test needs, 3 differences:")
    assert "params/backbone/stem/conv/kernel is missing" in said


# Wrong input

JUNK = bytes(range(200, 256))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "x.pt: is empty"),
        (b"<!DOCTYPE html><html>", "x.pt: is a web page"),
        (JUNK, "expected a PyTorch checkpoint (.pt), a safetensors file or a darknet file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "begins with b'\\x93NUMPY"),
        (b"abc", "begins with b'abc'"),
        (b"PK\x03\x04" + JUNK, "x.pt: is cut off or damaged"),
        (b"\x80\x02}q\x00.", "expected a zip archive as torch.save writes it"),
        (b"\x09\0\0\0\0\0\0\0{" + JUNK, "x.pt: is no safetensors file that NumPy can hold"),
        ((0).to_bytes(4) * 10, "has format version 0.0.0, expected darknet"),
    ],
    ids=["empty", "html", "junk", "numpy", "short", "zip", "pickle", "safetensors", "darknet"],
)
def test_files_of_no_use(here, capsys, content, sentence):
    pathlib.Path("x.pt").write_bytes(content)
    assert sentence in refusal(capsys, "x.pt", "b.safetensors", "--model", "yolov4_csp")


def test_files_cut_off(here, small, capsys):
    write_torch(here / "a.pt", small)
    convert("theirs.safetensors", "ours.safetensors")
    capsys.readouterr()
    for name in ("a.pt", "theirs.safetensors", "ours.safetensors"):
        data = pathlib.Path(name).read_bytes()
        pathlib.Path(name).write_bytes(data[: len(data) // 2])
        said = refusal(capsys, name, "b.safetensors")
        assert said.startswith(f"{name}: is ") and "\n" not in said


def test_a_file_before_torch_1_6(golden, here, capsys):
    said = refusal(capsys, golden / "weights" / "legacy_not_zip.pt", "b.safetensors")
    assert "is in the format of torch before 1.6" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone.pt", "b.safetensors"], "gone.pt: No such file or directory"),
        ([".", "b.safetensors"], "expected the workdir of a training run"),
        (["theirs.safetensors", "b.pt"], "OUTPUT is b.pt; expected a name that ends in .safet"),
        (["theirs.safetensors", "theirs.safetensors"], "theirs.safetensors exists; choose anoth"),
        (["theirs.safetensors", "d.safetensors", "--overwrite"], "d.safetensors exists; choose"),
        (["theirs.safetensors", "gone/b.safetensors"], "no folder gone to write b.safetensors to"),
        ([..., "--model", "yolor_tset"], "no model 'yolor_tset'; did you mean 'yolor_test'?"),
        ([..., "--model", "yolor_nano"], "not those of yolor_nano with 3 classes"),
        ([..., "--model", "yolor_e6"], "these are the weights of another model. They begin with"),
        ([..., "--classes", "80"], "theirs.safetensors is of 3 classes; leave out --classes 80"),
        ([..., "--class-names", "two.txt"], "has 2 lines with 2 different names; expected one na"),
        ([..., "--class-names", "same.txt"], "has 3 lines with 2 different names; expected one n"),
        ([..., "--class-names", "gone.txt"], "gone.txt: No such file or directory"),
        ([..., "--class-names", "binary.txt"], "can't decode byte"),
        ([..., "--image-size", "100"], "100 is not a multiple of the largest stride 32; use 96 or"),
        ([..., "--verify", "gone.npz"], "gone.npz: No such file or directory"),
        ([..., "--verify", "two.txt"], "two.txt: is no whole .npz of plain arrays"),
        (
            ["ours.safetensors", "b.safetensors", "--model", "yolor_p6"],
            "leave out --model yolor_p6",
        ),
    ],
)
def test_wrong_arguments(here, capsys, arguments, sentence):
    pathlib.Path("two.txt").write_text("a\nb\n")
    pathlib.Path("same.txt").write_text("a\nb\na\n")
    pathlib.Path("binary.txt").write_bytes(JUNK)
    pathlib.Path("d.safetensors").mkdir()
    if arguments[0] == "ours.safetensors":
        convert("theirs.safetensors", "ours.safetensors")
        capsys.readouterr()
    if arguments[0] is ...:
        named = ["theirs.safetensors", "b.safetensors", "--model", "yolor_test"]
        arguments = [*named, *arguments[1:]]
    assert sentence in refusal(capsys, *arguments)


@pytest.mark.parametrize("tolerance", ["0", "-1", "nan", "x"])
def test_wrong_tolerance(here, capsys, tolerance):
    with pytest.raises(SystemExit) as stop:
        convert("theirs.safetensors", "b.safetensors", "--tolerance", tolerance)
    assert stop.value.code == 2 and "--tolerance" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["yolor", "torch"])
def test_overwrite(here, monkeypatch, capsys, form):
    """The old file stays until the new one is whole."""
    pathlib.Path("b.safetensors").write_text("old")
    arguments = ("theirs.safetensors", "b.safetensors", "--to", form, "--overwrite")

    def fail(tensors, path, **metadata):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.numpy, "save_file", fail)
        assert "no space left" in refusal(capsys, *arguments)
    assert pathlib.Path("b.safetensors").read_text() == "old"
    assert convert(*arguments) == 0
    assert len(safetensors.numpy.load_file("b.safetensors")) == 317
    pathlib.Path("plain").touch()
    assert pathlib.Path("b.safetensors").stat().st_mode == pathlib.Path("plain").stat().st_mode
