"""What an ablation gave, by numbers worked by hand."""

import json
import math
import statistics

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
    """Three seeds of the baseline, two of another row, the third of which is not at its end."""
    left = {
        "baseline": [[0.10, 0.40], [0.20, 0.44], [0.30, 0.42]],
        "more": [[0.20, 0.41], None, [0.30, 0.45]],
        "new": [None, None, None],
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
    assert baseline.by_seed == pytest.approx({0: 40, 1: 44, 2: 42})
    assert baseline.ap == pytest.approx((42, 2 / math.sqrt(3), 3, 2))
    assert baseline.difference is None and baseline.seeds_needed is None
    # Seeds 0 and 2 are pairs: +1 and +3. Unpaired it would be 43 - 42 = 1.
    assert more.difference == pytest.approx((2, 1, 2, math.sqrt(2)))
    assert more.seeds_needed == math.ceil((2.8016 * math.sqrt(2) / 0.3) ** 2) == 175
    assert more.course == ([1, 2], pytest.approx([25, 43]))
    assert (more.paper, more.paper_difference) == (48.1, 0.3)
    assert (new.ap, new.difference, new.course) == (None, None, ([], []))
    assert (new.paper, new.paper_difference) == (None, None)


def test_so_many_seeds_have_that_power():
    """Of many attempts with the number of pairs that it says, 80 % find an effect of 0.3 AP."""
    deviation = 1.0
    count = results.seeds_needed(deviation)
    assert count == 88
    means = np.random.default_rng(0).normal(results.EFFECT, deviation, (20_000, count)).mean(1)
    found = np.abs(means) > statistics.NormalDist().inv_cdf(0.975) * deviation / math.sqrt(count)
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_no_scatter_still_takes_two():
    assert results.seeds_needed(0.0) == 2


def test_one_seed_has_no_error():
    assert results.estimate([3.0]) == (3.0, None, 1, None)
    assert results.estimate([]) is None


def test_the_text(plan):
    lines = results.text(results.measure(TABLE, plan)).splitlines()
    assert lines[0].split() == "row seeds AP difference seeds for 0.3 paper difference".split()
    assert lines[1].split() == "baseline 3 42.00 ± 1.15 - - 47.8 -".split()
    assert lines[2].split() == "more 2 43.00 ± 2.00 +2.00 ± 1.00 175 48.1 +0.3".split()
    assert lines[3].split() == "new 0 - - - - -".split()


def test_json_there_and_back(plan, tmp_path):
    result = results.measure(TABLE, plan)
    assert result.missing == 4
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
