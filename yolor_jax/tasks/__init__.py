"""The tasks beside detection: classification of images, embedding of objects."""
