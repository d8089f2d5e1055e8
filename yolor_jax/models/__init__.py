"""A model is data: its spec, the table of all, the detector that is built from it, the fold."""
