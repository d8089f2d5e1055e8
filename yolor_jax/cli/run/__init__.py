"""One training run, from its start to its pictures."""
