"""Compiled programs: how long they took to compile, what they need, and devices not there."""
