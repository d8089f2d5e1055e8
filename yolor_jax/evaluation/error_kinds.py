"""What kinds of error cost how much average precision, in the manner of TIDE."""

import dataclasses

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
SPECIAL_KINDS = ("false_positive", "false_negative")


@dataclasses.dataclass(frozen=True)
class ErrorKind:
    """One kind of error.

    Attributes:
        count: how many there are.
        delta_ap50: what mending them alone adds to AP50; None where there is nothing to measure.
        ap50: the AP50 with them mended; None likewise.
    """

    count: int
    delta_ap50: float | None
    ap50: float | None
