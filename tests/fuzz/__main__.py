"""Spoilt input gets a sentence and the exit code 2, never a traceback, a crash or a hang.

    python -m tests.fuzz                     # all kinds: 5,600 inputs
    python -m tests.fuzz images --count 200  # --seed N for others, --seconds S for a bounded run

Every input is a pure function of (kind, seed, number); a finding names them, and
``--first N --count 1`` gives it again.
"""

import argparse
import os
import sys

from tests.fuzz.running import COUNTS, fuzz


def main() -> int:
    """Fuzzes, and prints what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(COUNTS))
    parser.add_argument("--count", type=int, help="inputs of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each kind")
    args = parser.parse_args()
    findings = []
    for kind in args.kinds or COUNTS:
        numbers = range(args.first, args.first + (args.count or COUNTS[kind]))
        findings += fuzz(kind, numbers, args.seed, args.seconds)
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.exit(main())
