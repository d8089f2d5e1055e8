"""Boxes on images, contact sheets, curves, the figure of g(z)."""
