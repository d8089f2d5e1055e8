"""Folders of a few small images, prepared, and what came of them."""

from tests.support.coco_folder import jpeg
from yolor_jax.data.sources import open_source
from yolor_jax.preparation.prepare import prepare


def images(folder, names=("a.jpg", "b.jpg", "c.jpg")):
    """Writes images of 48 x 64 pixels; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).write_bytes(jpeg(48, 64, seed=seed))
    return folder


def report_of(folder, tmp_path, split="train", **options):
    """What preparation found that leaves out what is broken."""
    return prepare(
        folder, split, tmp_path / "prepared", progress=False, skip_broken=True, **options
    )


def boxes(report, split="train"):
    """Corners of the targets of each prepared image."""
    source = open_source(report.directory, split)
    return [source[i].boxes_xyxy.tolist() for i in range(len(source))]


def prepare_val(folder, tmp_path, **options):
    """Prepares the split ``val``, which stops at what is broken."""
    return prepare(folder, "val", tmp_path / "prepared", progress=False, **options)
