"""Linen modules of the network, importable one by one; start with ``yolor_jax.nn.implicit``."""
