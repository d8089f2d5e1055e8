"""What ``yolor doctor`` finds, and what it says of TPUs that are not there."""

import json
import pathlib

import jax
import pytest

from tests.support import coco_folder
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.cli.main import main
from yolor_jax.preparation import shapes
from yolor_jax.runs import ahead_of_time, checks
from yolor_jax.runs.sources import open_sources
from yolor_jax.training import mesh as meshes
from yolor_jax.training.programs.cost import Collectives, Memory
from yolor_jax.training.programs.topology import GIB
from yolor_jax.training.programs.traffic import Traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    sizes = {"train": 20, "validation": 10}
    return shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture
def config(prepared):
    config = small_recipe(prepared)
    config.batch_size = 16
    return config


def test_a_machine_without_a_recipe(tmp_path, capsys):
    file = tmp_path / "doctor.json"
    workdir = tmp_path / "not" / "yet"
    assert main(["doctor", "--workdir", str(workdir), "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"jax {jax.__version__}" in out
    assert "warn  devices    8 x cpu: enough for small" in out
    assert [check["subject"] for check in json.loads(file.read_text())["checks"]] == [
        "versions", "devices", "disk",
    ]  # fmt: skip
    assert not workdir.exists()


def test_an_accelerator_that_jax_does_not_see(tmp_path, monkeypatch):
    device = tmp_path / "nvidia0"
    device.touch()
    monkeypatch.setattr(checks, "ACCELERATORS", {str(device): "pip install jax[cuda13]"})
    check = checks.devices()
    assert check.verdict == "warn"
    assert f"although there is {device}: pip install jax[cuda13]" in check.sentence


def test_a_workdir_below_a_file_and_one_without_room(tmp_path):
    (tmp_path / "file").touch()
    assert checks.disk(tmp_path / "file" / "run", None).verdict == "fail"
    assert checks.disk(tmp_path / "run", 1000).verdict == "ok"
    full = checks.disk(tmp_path / "run", 2**60)
    assert (
        full.verdict == "fail" and "up to 4 checkpoints take 4,294,967,296.0 GiB" in full.sentence
    )


def test_data_that_are_not_there(config, tmp_path):
    config.data.path = str(tmp_path / "nowhere")
    found = list(checks.examine(typed(config), tmp_path))
    assert [check.subject for check in found] == ["versions", "devices", "disk", "data"]
    assert found[-1].verdict == "fail" and "nowhere" in found[-1].sentence


def test_a_batch_that_the_devices_cannot_share(config, tmp_path):
    config.batch_size = 12
    found = list(checks.examine(typed(config), tmp_path))
    assert found[-1].subject == "batch" and found[-1].verdict == "fail"
    assert "12 is not a multiple of the 8 devices" in found[-1].sentence


def test_data_counts_and_doubts(config):
    sources = open_sources(typed(config).data)
    check = checks.data(typed(config), sources)
    counts = [int((~sources.train[i].is_crowd).sum()) for i in range(20)]
    empty = counts.count(0)
    assert f"20 images to train on, {empty} of them without objects" in check.sentence
    assert f"{sum(counts)} objects of 6 classes; 10 images to evaluate on" in check.sentence
    config.data.max_targets = 1
    check = checks.data(typed(config), sources)
    crowded = sum(count > 1 for count in counts)
    assert check.verdict == "warn"
    assert f"{crowded} images have more objects than --config.data.max_targets=1" in check.sentence


def test_memory_against_that_of_the_device(monkeypatch):
    monkeypatch.setattr(checks, "device_bytes", lambda mesh: 1000)
    verdicts = [
        checks._memory("step", Memory(size, 0, 0, 0), meshes.make_mesh()).verdict
        for size in (900, 901, 1000, 1001)
    ]
    assert verdicts == ["ok", "warn", "warn", "fail"]


def program(batch_size, needed, *, name=ahead_of_time.TRAINING, available=16 * GIB):
    memory = Memory(GIB, GIB, GIB, needed - GIB) if needed <= available else None
    return ahead_of_time.Program(
        name, batch_size, memory, needed, available, {"all-reduce": Collectives(3, 2**20)},
        {"convolution": Traffic(7, 3 * GIB), "layout": Traffic(2, GIB)}, 2 * GIB, 7.0,
    )  # fmt: skip


def compiler(config, monkeypatch, compiled):
    """A compiler that says what ``compiled(batch_size)`` says, for a state of 1 GiB."""
    monkeypatch.setattr(ahead_of_time._Compiler, "training", lambda _, batch: compiled(batch))
    monkeypatch.setattr(ahead_of_time._Compiler, "_state_bytes", lambda _: GIB)
    recipe = typed(config)
    module = recipe.network(6)
    return ahead_of_time._Compiler(recipe, module, meshes.make_mesh(), 16 * GIB, print)


def test_the_batch_that_fits_is_found_by_compiling(config, monkeypatch):
    """1 GiB of state and a ninth for each image; 0.9 of 16 GiB hold 120.6 images, by eights 120."""
    tried = []

    def compiled(batch_size):
        tried.append(batch_size)
        return program(batch_size, round((1 + batch_size / 9) * GIB))

    first = program(450, 51 * GIB)
    fitting = compiler(config, monkeypatch, compiled).fitting(first)
    assert fitting.batch_size == 120 and tried == [120]
    config.augment.mosaic = 1.0  # now by 8 devices with groups of 8
    by_groups = compiler(config, monkeypatch, compiled)
    assert by_groups.fitting(first).batch_size == 64

    tried.clear()  # a GiB too many of 400 images, which the compiler has squeezed
    fitting = by_groups.fitting(program(400, 17 * GIB))
    assert fitting.batch_size == 64 and tried == [256, 64]

    never = compiler(config, monkeypatch, lambda batch_size: program(batch_size, 17 * GIB))
    assert never.fitting(first) is None


def test_the_report_of_what_fits_and_what_does_not():
    fine = program(8, 4 * GIB)
    prediction = program(32, 2 * GIB, name=ahead_of_time.PREDICTION)
    report = ahead_of_time.Report("a title", (fine, prediction), None, 5e12)
    text = ahead_of_time.format_report(report)
    assert report.fits and "does not fit" not in text
    assert "training step, batch 8: 3 all-reduce, 1.0 MiB on each chip" in text
    assert "over all chips: 5,000.0 GFLOP" in text
    [line] = [line for line in text.split("\n") if line.startswith("prediction, batch 32 ")]
    assert line.split()[3:] == ["1.000", "1.000", "1.000", "1.000", "2.000", "12.5%", "7"]
    table = [line.split() for line in text.split("\n")]
    start = table.index("moved by the training step instructions on each chip".split())
    assert table[start + 1 : start + 5] == [
        ["convolution", "7", "3.0", "GiB"], ["layout", "2", "1.0", "GiB"],
        ["in", "all", "4.0", "GiB"], "arrays of convolutions, each once 2.0 GiB".split(),
    ]  # fmt: skip

    large = program(400, 41 * GIB)
    report = ahead_of_time.Report("a title", (large, prediction), program(144, 15 * GIB), 5e12)
    text = ahead_of_time.format_report(report)
    assert not report.fits
    assert f"{41 * GIB:,} bytes of {16 * GIB:,} on a chip, {25 * GIB:,} too many" in text
    assert "A batch of 144 fits, with 15.0 GiB (none between was tried)" in text
    assert ahead_of_time.as_dict(report)["programs"][0]["memory"] is None
    json.dumps(ahead_of_time.as_dict(report))


def test_a_recipe_that_does_not_fit_ends_with_one(monkeypatch, capsys):
    report = ahead_of_time.Report("a title", (program(400, 41 * GIB),), None, 5e12)
    monkeypatch.setattr(ahead_of_time, "compile_recipe", lambda *_, **rest: report)
    assert main(["doctor", "--config", "quickstart", "--topology", "v5e:2x2"]) == 1
    assert "Nor does any smaller batch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "words", "classes"),
    [("shapes", [], 6), ("pets", [], 3), ("nowhere", [], 80), ("shapes", ["--classes", "7"], 7)],
)
def test_a_topology_takes_the_classes_of_the_data_and_prepares_nothing(
    data, words, classes, tmp_path, monkeypatch
):
    coco_folder.write(tmp_path / "pets", split="validation")
    monkeypatch.chdir(tmp_path)
    taken = []

    def compile_recipe(recipe, topology, num_classes, say):
        taken.append(num_classes)
        return ahead_of_time.Report("a title", (program(8, GIB),), None, 5e12)

    monkeypatch.setattr(ahead_of_time, "compile_recipe", compile_recipe)
    setting = f"--config.data.path={data}"
    call = ["doctor", "--config", "quickstart", "--topology", "v5e:2x2", setting, *words]
    assert main(call) == 0 and taken == [classes]
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "nowhere.py"], "no recipe 'nowhere.py'; expected one of"),
        (["--topology", "v5e:2x2"], "--topology compiles the programs of a recipe; expected"),
        (["--replay", "nowhere.npz"], "no bad batch nowhere.npz; expected a file bad_batch_STEP"),
        (["--replay", "nowhere.npz", "--topology", "v5e:2x2", "--config", "RECIPE"], "no other"),
        (["--json", "nowhere/doctor.json"], "--json nowhere/doctor.json cannot be written"),
        (["--json", "."], "--json . cannot be written; expected a file in a folder"),
        (["--config.seed=1"], "got --config.seed=1 without --config"),
        (["--config", "RECIPE", "--config.seed=-1"], "--config.seed is -1; expected 0"),
        (["--config", "RECIPE", "--topology", "v5e"], "expected a name such as v5e:4x4"),
        (["--config", "RECIPE", "--config.optim.momentun=1"], 'Did you mean "momentum"'),
    ],
)
def test_wrong_input_gets_a_sentence(arguments, sentence, capsys):
    file = str(ROOT / "configs" / "quickstart.py")
    arguments = [file if argument == "RECIPE" else argument for argument in arguments]
    try:
        code = main(["doctor", *arguments])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_other_commands_take_no_settings(capsys):
    with pytest.raises(SystemExit):
        main(["summary", "yolor_test", "--config.seed=1"])
    assert "unrecognized arguments: --config.seed=1" in capsys.readouterr().err


@pytest.mark.long
def test_a_recipe_on_this_machine(config, tmp_path, capsys, monkeypatch):
    found = {check.subject: check for check in checks.examine(typed(config), tmp_path / "run")}
    assert {check.verdict for check in found.values()} <= {"ok", "warn"}
    assert "2 traced and compiled in" in found["programs"].sentence
    assert "GFLOP for one training step" in found["FLOPs"].sentence
