"""The shipped recipes. In a checkout they lie in ``configs/`` at its top level.

A wheel has them in the place of this file (see setup.py), so that they live once and are imported
by one name everywhere: ``from yolor_jax.configs import quickstart``.
"""

import pathlib

__path__ = [str(pathlib.Path(__file__).resolve().parents[2] / "configs")]
