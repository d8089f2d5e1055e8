"""Which checkpoints of a run stay: the latest two, and the best of those that were evaluated.

kept_steps([100, 200, 300, 400], {100: {"AP": 0.4}, 200: {"AP": 0.3}})  # {100, 300, 400}
"""

from collections.abc import Sequence

from orbax.checkpoint import checkpoint_managers

KEEP_LATEST = 2
BEST = "AP"


class KeepLatestAndBest(checkpoint_managers.PreservationPolicy):
    """Orbax's question which checkpoints stay, answered by scores that may come after a save."""

    def __init__(self, scores: dict[int, dict[str, float] | None]):
        self._scores = scores

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """Which of the checkpoints, in their order, stay."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = kept_steps(steps, self._scores)
        return [step in kept for step in steps]


def kept_steps(steps: Sequence[int], scores: dict[int, dict[str, float] | None]) -> set[int]:
    """The latest, and the best of those that were evaluated (the latest of equals)."""
    evaluated = [step for step in steps if BEST in (scores.get(step) or {})]
    best = max(evaluated, key=lambda step: (scores[step][BEST], step), default=None)
    return {*sorted(steps)[-KEEP_LATEST:]} | ({best} - {None})
