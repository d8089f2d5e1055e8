"""A bounded run of `tests.fuzz`: three minutes over all kinds of input."""

import pytest

from tests.fuzz.running import COUNTS, fuzz


@pytest.mark.long
@pytest.mark.parametrize("kind", COUNTS)
def test_spoilt_input_gets_a_sentence(kind):
    assert fuzz(kind, range(COUNTS[kind]), seed=0, seconds=20) == []
