"""Several processes as one run: each finds its place, they meet, and they end together."""
