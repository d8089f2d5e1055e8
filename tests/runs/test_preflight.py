"""What real processes say that do not mean the same run, and what is compared."""

import shutil

import pytest

from tests.support import launching
from yolor_jax.data.sources import Source
from yolor_jax.errors import InputError
from yolor_jax.preparation import shapes
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.runs import preflight
from yolor_jax.training.processes import group


def test_facts_of_the_code():
    facts = preflight.code_facts()
    assert facts == preflight.code_facts()
    assert facts.keys() >= {"yolor_jax", "Python", "jax", "flax"}


def test_facts_of_a_split(tmp_path, monkeypatch):
    def facts(folder, seed, **sizes):
        directory = shapes.prepare(tmp_path / folder, sizes=sizes, seed=seed, progress=False)
        return preflight.split_facts(open_dataset(str(directory), "train", tmp_path))

    one = facts("one", 0, train=6)
    assert one == facts("two", 0, train=6) and one["train: images"] == "6"
    other = facts("one", 1, train=6)  # of the same names
    assert [name for name in one if one[name] != other[name]] == ["train: digest of images"]
    assert facts("one", 0, train=7)["train: images"] == "7"
    read = Source.__getitem__
    changed = lambda self, index: read(self, index)._replace(jpeg=b"other pixels")  # noqa: E731
    monkeypatch.setattr(Source, "__getitem__", changed)
    assert facts("one", 0, train=6) != one


def test_devices_of_each_process():
    preflight.require_equal_devices({0: ["cpu"] * 4, 1: ["cpu"] * 4})
    found = {0: ["H100"] * 8, 1: ["H100"] * 7, 2: ["H100"] * 8}
    with pytest.raises(InputError, match="different devices: 8 x H100 in process 0, 2; 7 x H100"):
        preflight.require_equal_devices(found)


def test_a_port_alone_is_no_place(monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    with pytest.raises(InputError, match="JAX_PROCESS_ID=1; expected the host:port of process 0"):
        preflight.meet({})


def test_a_host_that_never_comes(monkeypatch):
    assert preflight.TIMEOUT + group.ANSWER < 60, "it is told within a minute"
    monkeypatch.setattr(preflight, "TIMEOUT", 1.0)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", f"localhost:{launching.free_port()}")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    with pytest.raises(InputError, match=r"only 1 of 2 processes came.*Absent: 1\."):
        preflight.meet({})


# Two processes


def train(workdir, data, *flags, root=launching.ROOT):
    return [
        str(root / "train_main.py"), f"--workdir={workdir}", "--config.model.name=yolor_test",
        "--config.image_size=64", "--config.batch_size=8", "--config.epochs=1",
        f"--config.data.path={data}", *flags,
    ]  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    """Folders of two hosts, with the same few shapes in ``data``."""
    made = []
    for host in ("first", "second"):
        made.append(tmp_path / host)
        prepared = shapes.prepare(made[-1], sizes={"train": 16, "validation": 4}, progress=False)
        prepared.rename(made[-1] / "data")
    return made


def require_refused(ended, *sentences):
    for code, _, errors in ended:
        assert code == 2, errors
        assert "Traceback" not in errors
        assert errors.count("yolor train: ") == 1
        for sentence in sentences:
            assert sentence in errors


def test_different_recipes(tmp_path):
    commands = [
        train(tmp_path / "run", "shapes", f"--config.optim.learning_rate={rate}")
        for rate in (0.01, 0.02)
    ]
    require_refused(
        launching.finish(launching.start(commands)),
        "yolor train: the processes of this run differ in command:\n"
        "  config.optim.learning_rate: 0.01 in process 0; 0.02 in process 1\n"
        "Give every process the same command and recipe.",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_different_code(tmp_path):
    copy = tmp_path / "copy"
    for name in ("yolor_jax", "configs"):
        shutil.copytree(launching.ROOT / name, copy / name)
    shutil.copy(launching.ROOT / "train_main.py", copy)
    (copy / "yolor_jax" / "boxes.py").open("a").write("\n")
    commands = [train(tmp_path / "run", "shapes", root=r) for r in (launching.ROOT, copy)]
    ended = launching.finish(launching.start(commands))
    require_refused(ended, "differ in code:\n  yolor_jax: ", "Bring the same code")
    assert all(errors.count(" in process ") == 2 for _, _, errors in ended)


@pytest.mark.long
def test_different_device_counts(tmp_path):
    commands = [train(tmp_path / "run", "shapes")] * 2
    ended = launching.finish(launching.start(commands, devices=[4, 2]))
    require_refused(ended, "different devices: 4 x cpu in process 0; 2 x cpu in process 1")


@pytest.mark.long
def test_different_data(tmp_path, folders):
    shutil.rmtree(folders[1] / "data")
    shapes.prepare(folders[1], sizes={"train": 17, "validation": 4}, progress=False).rename(
        folders[1] / "data"
    )
    commands = [train(tmp_path / "run", "data")] * 2
    ended = launching.finish(launching.start(commands, folders=folders))
    require_refused(ended, "differ in data:\n  train: images: 16 in process 0; 17 in process 1\n")


@pytest.mark.long
def test_data_that_one_host_lacks(tmp_path, folders):
    shutil.rmtree(folders[1] / "data")
    commands = [train(tmp_path / "run", "data")] * 2
    ended = launching.finish(launching.start(commands, folders=folders))
    require_refused(ended[:1], "yolor train: process 1 gave up: ")
    require_refused(ended[1:])


@pytest.mark.long
def test_a_workdir_that_is_not_shared(folders):
    commands = [train("run", "data")] * 2
    ended = launching.finish(launching.start(commands, folders=folders))
    require_refused(
        ended, "  run, as process 0 sees it: there in process 0; not there in process 1\nUse a"
    )
    assert [list(folder.glob("run/*")) for folder in folders] == [[], []]
