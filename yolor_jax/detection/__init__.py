"""The mathematics of detection, no network inside: anchors, assignment, losses, decoding, NMS."""
