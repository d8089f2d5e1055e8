"""COCO-format folders (in work)."""


def prepare(folder, split, prepared_dir, *, skip_broken=False, progress=True):
    """Not there yet."""
    raise NotImplementedError
