"""What an ablation gave, by numbers worked by hand."""

import json
import math

import numpy as np
import pytest

from tests.support.planned import leave, planned
from yolor_jax.ablation import result as results
from yolor_jax.ablation.table import Table
from yolor_jax.errors import InputError

TABLE = Table("mine", {"baseline": {}, "more": {}, "new": {}}, "baseline", "quickstart",
              {"baseline": 47.8, "more": 48.1})  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    """Four seeds of the baseline, three of another row, a fourth of which is not at its end."""
    left = {
        "baseline": [[0.10, 0.40], [0.20, 0.44], [0.30, 0.42], [0.10, 0.40]],
        "more": [[0.20, 0.41], None, [0.30, 0.45], [0.25, 0.42]],
        "new": [None, None, None, None],
    }
    plan = []
    for row, courses in left.items():
        for seed, ap in enumerate(courses):
            run = planned(tmp_path, row, seed)
            if row != "new":
                leave(run, ap)
            plan.append(run)
    return plan


def test_pairs_by_hand(plan):
    baseline, more, new = results.measure(TABLE, plan).rows
    assert baseline.by_seed == pytest.approx({0: 40, 1: 44, 2: 42, 3: 40})
    deviation = math.sqrt(11 / 3)
    assert baseline.ap == pytest.approx((41.5, deviation / 2, 4, deviation))
    assert baseline.difference is None and baseline.seeds_needed is None
    # Seeds 0, 2 and 3 are pairs: +1, +3 and +2. Unpaired it would be 42.67 - 41.5 = 1.17.
    assert more.difference == pytest.approx((2, 1 / math.sqrt(3), 3, 1))
    assert more.seeds_needed == math.ceil((2.8016 * 1 / 0.3) ** 2 + 1.96**2 / 2) == 90
    assert more.course == ([1, 2], pytest.approx([25, 128 / 3]))
    assert (more.paper, more.paper_difference) == (48.1, 0.3)
    assert (new.ap, new.difference, new.course) == (None, None, ([], []))
    assert (new.paper, new.paper_difference) == (None, None)


@pytest.mark.parametrize(
    ("deviation", "count", "t"),  # t(0.975) of count - 1 degrees of freedom
    [(0.2, 6, 2.571), (0.3, 10, 2.262), (1.0, 90, 1.987)],
)
def test_so_many_seeds_have_that_power(deviation, count, t):
    """Of many attempts with the number of pairs that it says, 80 % find an effect of 0.3 AP."""
    assert results.seeds_needed(deviation) == count
    pairs = np.random.default_rng(0).normal(results.EFFECT, deviation, (20_000, count))
    found = np.abs(pairs.mean(1)) > t * pairs.std(1, ddof=1) / math.sqrt(count)
    assert 0.78 < found.mean() < 0.85


def test_no_scatter_still_takes_three():
    assert results.seeds_needed(0.0) == 3


def test_two_pairs_do_not_say_how_many_are_needed(plan):
    [_, more, _] = results.measure(TABLE, [run for run in plan if run.seed < 3]).rows
    assert more.difference.count == 2 and more.seeds_needed is None


def test_a_run_that_stopped_early_is_averaged_where_it_was_evaluated(plan):
    rows = (plan[0].workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (plan[0].workdir / "metrics.jsonl").write_text("".join(rows[:-1]))
    baseline = results.measure(TABLE, plan).rows[0]
    assert baseline.by_seed[0] == pytest.approx(10)
    assert baseline.course == ([1, 2], pytest.approx([17.5, 42]))


def test_one_seed_has_no_error():
    assert results.estimate([3.0]) == (3.0, None, 1, None)
    assert results.estimate([]) is None


def test_the_text(plan):
    lines = results.text(results.measure(TABLE, plan)).splitlines()
    assert lines[0].split() == "row seeds AP difference seeds for 0.3 paper difference".split()
    assert lines[1].split() == "baseline 4 41.50 ± 0.96 - - 47.8 -".split()
    assert lines[2].split() == "more 3 42.67 ± 1.20 +2.00 ± 0.58 90 48.1 +0.3".split()
    assert lines[3].split() == "new 0 - - - - -".split()


def test_json_there_and_back(plan, tmp_path):
    result = results.measure(TABLE, plan)
    assert result.missing == 5
    written = json.loads(results.write(result, tmp_path).read_text())
    assert written["rows"][1]["difference"]["mean"] == pytest.approx(2)
    again = results.from_json(written)
    assert json.dumps(results.as_json(again)) == json.dumps(written)
    assert results.text(again) == results.text(result)


def test_a_run_without_an_ap_is_named(tmp_path):
    run = planned(tmp_path)
    leave(run, [])
    with pytest.raises(InputError, match="baseline/seed0 has no AP: expected objects in the split"):
        results.measure(TABLE, [run])
