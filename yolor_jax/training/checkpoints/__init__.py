"""Checkpoints of a run: whole folders on disk, sealed, and what of them fits which state."""
