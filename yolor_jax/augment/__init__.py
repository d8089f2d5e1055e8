"""Variation of training images on the device, in JAX."""
