"""``yolor ablate``: what it says, its exit code, and what it leaves."""

import argparse
import json

import pytest

from tests.support.planned import leave
from yolor_jax.ablation import training
from yolor_jax.ablation.plan import standing
from yolor_jax.ablation.training import Done
from yolor_jax.cli import recipes
from yolor_jax.cli.arguments import positive
from yolor_jax.cli.main import main
from yolor_jax.preparation import shapes

SMALL = ("--recipe=quickstart", "--config.model.name=yolor_test", "--config.image_size=64")


@pytest.fixture
def trained(monkeypatch):
    """Trainings that take no time; ``trained`` has them, and those of seed 1 of add_iFA fail."""
    begun = []

    def train_all(plan, command, places, stop):
        for run in plan:
            begun.append(run)
            if run.row == "add_iFA" and run.seed == 1 and len(begun) < 5:
                yield Done(run, "no memory left", run.workdir.with_name("seed1.log"))
            else:
                leave(run, [0.1, 0.4 + 0.01 * run.seed + 0.02 * (run.row == "add_iFA")])
                yield Done(run, None, run.workdir)

    monkeypatch.setattr(training, "train_all", train_all)
    monkeypatch.setattr(training, "devices", lambda: [{}])
    return begun


def test_what_is_missing_and_only_that(trained, tmp_path, capsys):
    command = ["ablate", "table1", "--seeds=2", f"--workdir={tmp_path}", *SMALL]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "4 runs, 0 of them finished" in said.out
    assert "not finished: add_iFA, seed 1: no memory left (" in said.err
    assert "1 runs are missing" in said.out
    assert main(command) == 0
    assert [run.name for run in trained[4:]] == ["add_iFA, seed 1"]
    said = capsys.readouterr()
    assert "add_iFA       2  42.50 ± 0.50  +2.00 ± 0.00" in said.out
    assert main(command) == 0 and len(trained) == 5
    left = json.loads((tmp_path / "ablation.json").read_text())
    assert (left["missing"], left["recipe"]) == (0, "quickstart")


def test_a_run_is_what_its_command_says(trained, tmp_path):
    """The words that a process is given make the recipe that its folder is compared with."""
    main(["ablate", "table1", "--seeds=1", f"--workdir={tmp_path}", "--data=shapes", *SMALL])
    for run in trained:
        recipe, option, folder, *settings = run.train
        assert (option, folder) == ("--workdir", str(run.workdir))
        assert recipes.read_recipe(recipe, settings) == run.recipe
        assert standing(run) == "finished"


def test_the_page_and_the_picture(trained, tmp_path):
    main(["ablate", "table1", "--seeds=2", f"--workdir={tmp_path}", *SMALL])
    page = (tmp_path / "report.html").read_text()
    assert "Ablation table1" in page and "1 runs are missing" in page and "42.00" in page
    assert page.count("<svg") >= 2
    assert (tmp_path / "ap_over_epochs.svg").read_text().count("add_iFA") == 1
    (tmp_path / "ablation.json").write_text("{")
    assert main(["report", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["table9"], "no table 'table9'; expected one of table1"),
        (["table1", "--rows=JDC"], "table1 has no row 'JDC'; expected some of baseline, add_iFA"),
        (["table1", "--config.seed=3"], "the seeds are 0 to N - 1 by --seeds N; leave --config.s"),
        (["table1", "--config.epoch=3"], 'Did you mean "epochs"'),
        (
            ["table1", "--config.batch_size=auto"],
            "auto, which may differ from row to row; give --c",
        ),
        (["table1", "--config.batchsize=8"], "(of the row baseline)"),
        (["implicit_tuning"], "--config.init is missing: expected the workdir of a run"),
        (["table1", "--recipe=nowhere"], "no recipe 'nowhere'; expected one of ablations"),
    ],
)
def test_wrong_input_is_a_sentence(words, sentence, trained, tmp_path, capsys):
    assert main(["ablate", *words, f"--workdir={tmp_path}"]) == 2
    assert sentence in capsys.readouterr().err
    assert not trained and not any(tmp_path.iterdir())


def test_other_settings_are_refused_before_anything_begins(trained, tmp_path, capsys):
    command = ["ablate", "table1", "--seeds=1", f"--workdir={tmp_path}", *SMALL]
    main(command)
    before = len(trained)
    assert main([*command, "--seeds=2", "--config.epochs=9"]) == 2
    assert "holds a run with epochs = 10.8, and 9.0 is asked for" in capsys.readouterr().err
    assert len(trained) == before


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_seeds_are_counted(count):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1 on"):
        positive(count)


@pytest.mark.long  # two processes that train
def test_a_training_for_real(tmp_path, capsys):
    """One run, cut off behind its training, goes on there when the command is given again."""
    data = shapes.prepare(tmp_path, sizes={"train": 8, "validation": 8}, progress=False)
    settings = ["--config.epochs=2.0", "--config.eval.batch_size=8", f"--data={data}"]
    command = ["ablate", "table1", "--rows=baseline", "--seeds=1", f"--workdir={tmp_path}/abl"]
    assert main([*command, *SMALL, *settings]) == 0
    assert "1 runs, 0 of them finished" in capsys.readouterr().out
    folder = tmp_path / "abl" / "baseline"
    (folder / "seed0" / "pictures" / "validation.png").unlink()
    assert main([*command, *SMALL, *settings]) == 0
    assert "1 runs, 0 of them finished" in capsys.readouterr().out
    assert "continuing at step 2 of 2" in (folder / "seed0.log").read_text()
