"""The loop with a step that only counts: when it records, evaluates, saves and stops."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.training import bad_batch, loop, metrics, optim, state, window
from yolor_jax.training.checkpoints import checkpoint
from yolor_jax.training.window import CLOCK_METRICS

RUN = optim.RunLength(batch_size=4, steps_per_epoch=5, total_steps=10)
META = {"model": {"name": "none"}}


def first_state():
    zero = jnp.zeros((), jnp.int32)
    return state.TrainState(zero, zero, {"x": jnp.zeros(2)}, {}, {}, {}, {}, {})


def make_step(values):
    """A step whose loss is ``values[step]``, or the step's number."""

    def advance(now, batch):
        step = int(now.step) + 1
        one = jnp.ones(())
        given = {"loss/box": float(step), "loss/total": 2.0 * step, "gradient_norm": 1.0}
        given |= values.get(step, {})
        now = now.replace(step=now.step + 1, params={"x": now.params["x"] + step})
        return now, {name: (jnp.float32(value), one) for name, value in given.items()}

    return advance


def batches(start=0):
    return (tiny_run.make_batch(4, seed=seed) for seed in itertools.count(start))


def run_loop(
    workdir, *, advance=None, values=None, now=None, source=None, keep_until=0, every=None,
    **changes,
):  # fmt: skip
    """The loop with checkpoints and rows in a folder; ``every`` changes some intervals."""
    now = first_state() if now is None else now
    arguments = {
        "advance": advance or make_step(values or {}),
        "batches": source or batches(int(now.step)),
        "run": RUN,
        "every": loop.Every(**({"save": 4, "log": 3} | (every or {}))),
        "progress": False,
    }
    with (
        checkpoint.Checkpoints(workdir, META) as checkpoints,
        metrics.JsonLines(workdir / "rows.jsonl", keep_until=keep_until) as writer,
    ):
        return loop.train(now, checkpoints=checkpoints, writers=[writer], **(arguments | changes))


def latest(workdir):
    """The latest state, its position, and its number."""
    shapes = jax.eval_shape(first_state)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
        ),
        shapes,
    )
    with checkpoint.Checkpoints(workdir, META) as checkpoints:
        if checkpoints.latest_step is None:
            return None
        return *checkpoints.restore(shapes), checkpoints.latest_step


def test_rows_evaluations_and_checkpoints(tmp_path):
    evaluated = []

    def evaluate(now):
        evaluated.append(int(now.step))
        return {"AP": 1.0 / int(now.step)}

    last = run_loop(tmp_path, evaluate=evaluate, every={"evaluate": 6})
    assert int(last.step) == 10
    assert evaluated == [6, 10]
    rows = metrics.read_json_lines(tmp_path / "rows.jsonl")
    assert [row["step"] for row in rows] == [3, 4, 6, 8, 9, 10]
    # Means since the row before: steps 1-3, 4, 5-6, 7-8, 9, 10.
    assert [row["loss/box"] for row in rows] == [2.0, 4.0, 5.5, 7.5, 9.0, 10.0]
    assert [row["loss/total"] for row in rows] == [4.0, 8.0, 11.0, 15.0, 18.0, 20.0]
    assert {row["step"]: row["eval/AP"] for row in rows if "eval/AP" in row} == {6: 1 / 6, 10: 0.1}
    assert all(row["images_per_second"] > 0 for row in rows if row["step"] in (3, 6))
    restored, position, step = latest(tmp_path)
    assert (step, position) == (10, 40)
    np.testing.assert_array_equal(restored.params["x"], [55.0, 55.0])
    # 6 is the best, 8 and 10 are the latest.
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"6", "8", "10"}


def test_a_finished_run_is_left_alone(tmp_path):
    now = first_state().replace(step=jnp.int32(10))
    assert int(run_loop(tmp_path, now=now, source=iter(())).step) == 10
    assert latest(tmp_path) is None


@pytest.mark.parametrize("log_every", [1, 3])
def test_two_parts_record_what_one_run_records(tmp_path, log_every):
    run_loop(tmp_path / "whole", every={"log": log_every})
    with pytest.raises(KeyboardInterrupt):
        run_loop(
            tmp_path / "parts", every={"log": log_every},
            source=itertools.chain(itertools.islice(batches(), 7), interrupt()),
        )  # fmt: skip
    restored, position, step = latest(tmp_path / "parts")
    assert (step, position) == (4, 16)
    last = run_loop(tmp_path / "parts", every={"log": log_every}, now=restored, keep_until=step)
    assert int(last.step) == 10
    whole, parts = (
        [{k: v for k, v in row.items() if k not in CLOCK_METRICS} for row in rows]
        for rows in (
            metrics.read_json_lines(tmp_path / name / "rows.jsonl") for name in ("whole", "parts")
        )
    )
    assert whole == parts
    assert latest(tmp_path / "parts")[1:] == (40, 10)


def interrupt():
    raise KeyboardInterrupt
    yield


def keep_in(folder):
    return bad_batch.keep_in(
        folder, key=jax.random.key(0), image_id=lambda position: 1000 + position
    )


@pytest.mark.parametrize("bad", [7, 8])
@pytest.mark.parametrize("term", ["loss/box", "gradient_norm"])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path, bad, term):
    with pytest.raises(FloatingPointError) as error:
        run_loop(
            tmp_path, values={bad: {term: float("nan")}}, every={"log": 1}, keep=keep_in(tmp_path)
        )
    message = str(error.value)
    path = tmp_path / f"bad_batch_{bad}.npz"
    assert f"yolor doctor --replay {path}." in message
    kept = bad_batch.load(path)
    assert kept.step == bad and np.isnan(kept.terms[term]) and kept.terms["loss/total"] == 2 * bad
    np.testing.assert_array_equal(kept.key_data, jax.random.key_data(jax.random.key(0)))
    jax.tree.map(np.testing.assert_array_equal, kept.batch, tiny_run.make_batch(4, seed=bad - 1))
    assert f"stopped at step {bad}," in message
    assert f"{term} nan" in message and f"loss/total {2 * bad}" in message
    images = [1000 + 4 * (bad - 1) + i for i in range(4)]
    assert f"(image ids): {images}" in message and kept.image_ids == images
    assert "checkpoint of step 4 is intact" in message
    restored, position, step = latest(tmp_path)
    assert (step, position) == (4, 16)
    np.testing.assert_array_equal(restored.params["x"], [10.0, 10.0])
    rows = metrics.read_json_lines(tmp_path / "rows.jsonl")
    assert [row["step"] for row in rows] == list(range(1, bad))


def test_an_infinite_loss_without_ids_and_checkpoints(tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"no checkpoint\. .*split\): \[4, 5, 6, 7\]\. Look"
    ):
        run_loop(tmp_path, values={2: {"loss/total": float("inf")}})
    assert latest(tmp_path) is None


def test_a_batch_that_cannot_be_kept_hides_nothing(tmp_path):
    values = {2: {"loss/total": float("inf")}}
    with pytest.raises(FloatingPointError, match=r"total inf\. .*could not be kept .*No such"):
        run_loop(tmp_path, values=values, keep=keep_in(tmp_path / "nowhere"))


def test_the_progress_bar_shows_terms_and_speed(tmp_path, capfd):
    run_loop(tmp_path, progress=True)
    shown = capfd.readouterr().err
    assert "10/10" in shown and "box=" in shown and "total=" in shown and "images/s=" in shown


@pytest.mark.parametrize(
    ("data_seconds", "step_seconds", "share"), [(3.0, 1.0, 0.75), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0)]
)
def test_the_share_of_time_without_data(
    tmp_path, capfd, monkeypatch, data_seconds, step_seconds, share
):
    """By a clock that only the data and the steps set forward."""
    now = 0.0

    def spend(seconds):
        nonlocal now
        now += seconds

    clock = types.SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    for module in (loop, window):
        monkeypatch.setattr(module, "time", clock)
    source = (spend(data_seconds) or batch for batch in batches())
    step = make_step({})
    run_loop(
        tmp_path, source=source, every={"save": 100, "log": 100}, progress=True,
        advance=lambda *args: spend(step_seconds) or step(*args),
    )  # fmt: skip
    (row,) = metrics.read_json_lines(tmp_path / "rows.jsonl")
    assert row["data_wait_share"] == share
    assert ("data wait=" in capfd.readouterr().err) == (share > 0)


def test_an_evaluation_is_no_wait_for_data(tmp_path, monkeypatch):
    now = 0.0

    def spend(seconds):
        nonlocal now
        now += seconds

    clock = types.SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    for module in (loop, window):
        monkeypatch.setattr(module, "time", clock)
    step = make_step({})
    run_loop(
        tmp_path, source=(spend(1.0) or batch for batch in batches()),
        every={"save": 100, "log": 2, "evaluate": 5},
        advance=lambda *args: spend(1.0) or step(*args),
        evaluate=lambda state: spend(100.0) or {"AP": 0.5},
    )  # fmt: skip
    rows = metrics.read_json_lines(tmp_path / "rows.jsonl")
    assert {row["data_wait_share"] for row in rows if "data_wait_share" in row} == {0.5}


def test_a_run_that_is_stopped_saves_its_step_and_continues_to_the_same_state(tmp_path):
    run_loop(tmp_path / "whole", every={"log": 1})
    made = []
    source = (made.append(batch) or batch for batch in batches())
    stopped = run_loop(
        tmp_path / "parts", every={"log": 1}, source=source, stop=lambda: len(made) == 7
    )
    assert int(stopped.step) == 7
    restored, position, step = latest(tmp_path / "parts")
    assert (step, position) == (7, 28)
    run_loop(tmp_path / "parts", every={"log": 1}, now=restored, keep_until=step)
    whole, parts = latest(tmp_path / "whole"), latest(tmp_path / "parts")
    assert whole[1:] == parts[1:] == (40, 10)
    np.testing.assert_array_equal(whole[0].params["x"], parts[0].params["x"])
    names = ("whole", "parts")
    rows = [metrics.read_json_lines(tmp_path / name / "rows.jsonl") for name in names]
    assert [row["step"] for row in rows[1]] == list(range(1, 11))
    assert [r["loss/box"] for r in rows[0]] == [r["loss/box"] for r in rows[1]]


@pytest.mark.parametrize("scores", [{"AP": 0.5}, None])
def test_a_stop_during_an_evaluation_that_is_cut_short_or_not(tmp_path, scores):
    asked = []

    def evaluate(now):
        asked.append(int(now.step))
        return scores

    last = run_loop(tmp_path, evaluate=evaluate, every={"evaluate": 6}, stop=lambda: bool(asked))
    assert int(last.step) == 6 and asked == [6]
    restored, position, step = latest(tmp_path)
    assert (step, position) == (6, 24)
    row = metrics.read_json_lines(tmp_path / "rows.jsonl")[-1]
    assert row["step"] == 6 and ("eval/AP" in row) == (scores is not None)
    # What was cut short is done first when the run continues; the rest is not done again.
    again = []
    run_loop(
        tmp_path, evaluate=lambda now: again.append(int(now.step)) or {"AP": 0.5},
        every={"evaluate": 6}, now=restored, keep_until=6,
    )  # fmt: skip
    assert again == ([10] if scores else [6, 10])
    rows = metrics.read_json_lines(tmp_path / "rows.jsonl")
    assert [row["step"] for row in rows if "eval/AP" in row] == [6, 10]


def test_an_evaluation_that_ends_the_process_loses_no_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_loop(tmp_path, evaluate=lambda now: next(interrupt()), every={"evaluate": 6})
    assert latest(tmp_path)[1:] == (24, 6)
    row = metrics.read_json_lines(tmp_path / "rows.jsonl")[-1]
    assert row["step"] == 6 and "loss/box" in row and "eval/AP" not in row


def test_a_stop_before_the_first_step_leaves_all_as_it_is(tmp_path):
    now = run_loop(tmp_path, source=iter(()), stop=lambda: True)
    assert int(now.step) == 0 and latest(tmp_path) is None


def test_a_run_whose_scores_no_longer_rise_ends_and_keeps_the_best(tmp_path):
    scores = {2: 0.1, 4: 0.3, 6: 0.2, 8: 0.25, 10: 0.9}
    every = {"evaluate": 2, "save": 1, "give_up": 4}

    def evaluate(now):
        return {"AP": scores[int(now.step)]}

    assert int(run_loop(tmp_path, evaluate=evaluate, every=every).step) == 8
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"4", "7", "8"}
    # At its end it stays; with more patience it goes on.
    ended, _, step = latest(tmp_path)
    again = {"now": ended, "evaluate": evaluate, "keep_until": step}
    assert int(run_loop(tmp_path, source=iter(()), every=every, **again).step) == 8
    assert int(run_loop(tmp_path, every=every | {"give_up": 6}, **again).step) == 10


def test_an_equal_score_is_no_reason_to_give_up(tmp_path):
    every = {"evaluate": 2, "give_up": 2}
    assert int(run_loop(tmp_path, evaluate=lambda now: {"AP": 0.0}, every=every).step) == 10
