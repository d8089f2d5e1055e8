"""The host pipeline: prepared images on disk to batches, read and decoded in order."""
