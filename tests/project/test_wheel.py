"""The built wheel in an empty environment, used from a folder that has nothing to do with it."""

import os
import pathlib
import subprocess
import sys
import venv
import zipfile

import pytest

from tests.support import compiling

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ("--config.model.name=yolor_test", "--config.image_size=64", "--config.epochs=0.01")
LOAD = """
import sys
import yolor_jax
assert "jax" not in sys.modules
[found] = yolor_jax.load("run").predict(sys.argv[1])
print(yolor_jax.__file__, yolor_jax.__version__, found.boxes_xyxy.shape[1])
"""


def run(*words, cwd, **more):
    """What a command prints; the test fails with what it says where it does."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=kept | more, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    run("git", "clone", "--quiet", ROOT, source, cwd=folder)  # only what is committed is shipped
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source, cwd=folder)
    [file] = folder.glob("*.whl")
    return file


@pytest.mark.long
def test_the_wheel_holds_the_recipes_once_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {name for name in names if name.startswith("yolor_jax/configs/")}
    files = {f"yolor_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert recipes == files
    assert "yolor_jax/py.typed" in names
    templates = {path.name for path in (ROOT / "yolor_jax/reports/templates").iterdir()}
    assert templates <= {name.removeprefix("yolor_jax/reports/templates/") for name in names}
    assert {name.partition("/")[0] for name in names} == {
        "yolor_jax", next(n for n in names if ".dist-info" in n).partition("/")[0]
    }  # fmt: skip


@pytest.mark.long
def test_every_step_of_the_quickstart_runs_from_the_wheel(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    commands = environment / "bin"
    run(commands / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    home = tmp_path / "elsewhere"
    home.mkdir()
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "XLA_FLAGS": compiling.QUICKLY,
    }

    def yolor(*words):
        return run(commands / "yolor", *words, cwd=home, **compiled)

    assert yolor("--version").startswith("yolor ")
    assert "--config.optim.learning_rate=0.01" in yolor("train", "--help")
    said = yolor("train", "quickstart", "--workdir", "run", *SMALL)
    assert "yolor_test is trained" in said and (home / "run" / "curves.png").is_file()
    assert "All of it on one page" in said and (home / "run" / "report.html").is_file()
    assert "AP50" in yolor("eval", "--workdir", "run", "--folded")
    picture = home / "run" / "pictures" / "validation.png"
    yolor("detect", picture, "--checkpoint", "run")
    assert (home / "detections" / "detections.json").is_file()
    (home / "mine.py").write_text(
        "from yolor_jax.configs import quickstart\n\n\ndef get_config():\n"
        "    return quickstart.get_config()\n"
    )
    assert "ok    batch" in yolor("doctor", "--config", "mine.py", *SMALL)
    where, _, four = run(commands / "python", "-c", LOAD, picture, cwd=home, **compiled).split()
    assert where.startswith(str(environment)) and four == "4"
