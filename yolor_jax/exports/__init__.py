"""Networks as files for other runtimes, and the proof that they find the same boxes."""
