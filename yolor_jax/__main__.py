"""``python -m yolor_jax``: the console script ``yolor``, where its folder is on no path."""

import sys

from yolor_jax.cli.main import main

sys.exit(main())
