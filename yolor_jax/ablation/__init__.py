"""Rows of settings compared over seeds: what they are, their runs, and what these gave."""
