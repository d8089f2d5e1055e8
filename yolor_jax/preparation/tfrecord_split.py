"""A split that somebody prepared with TFDS as TFRecord, the usual state of coco/2017 in a bucket.

Its features become annotations in COCO format again: boxes from parts of the image to pixels, areas
as TFDS stored them, cut to integers. All records are read once, with their checksums, to find them.

    original = open_split(pathlib.Path("bucket/coco/2017/1.1.0"), "validation", progress=True)
    prepare_splits([original], pathlib.Path("prepared/coco"))
"""

import functools
import json
import pathlib
import zlib
from collections.abc import Iterator

import tensorflow_datasets as tfds
from google.protobuf.message import DecodeError

from yolor_jax.data import classes, stored
from yolor_jax.data.encoded import read_header
from yolor_jax.errors import InputError
from yolor_jax.preparation import tfrecord
from yolor_jax.preparation.coco_files import File, Original
from yolor_jax.progress import progress as progress_bar


def open_split(path: pathlib.Path, split: str, *, progress: bool) -> Original:
    """Reads all records of a split and keeps everything but the images.

    Args:
        path: the directory of dataset_info.json, or one or two levels above it.
        split: name of the split.
        progress: whether to show a bar.

    Raises:
        InputError: if a file is missing, cut off or damaged, or the features are not those of
            coco/2017.
    """
    directory, builder = stored.open_builder(path, split)
    features = builder.info.features
    names = tuple(features["objects"]["label"].names)
    category_ids = classes.category_ids(names)
    coco = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": n} for i, n in zip(category_ids, names, strict=True)],
    }
    files, places = {}, {}
    for shard, place, data in _records(builder.info.splits[split], progress):
        row = _parse(features, shard, data)
        name = row["image/filename"].decode(errors="backslashreplace")
        if name in places:
            raise InputError(f"{directory} holds two images of the name {name} in {split!r}")
        places[name] = (shard, place)
        files[name] = File(len(row["image"]), zlib.crc32(row["image"]))
        image, annotations = _to_coco(row, name, category_ids)
        coco["images"].append(image)
        coco["annotations"] += annotations
    encoded = json.dumps(coco).encode()

    read = functools.partial(_read_image, features, places)
    return Original(split, f"{directory}, {split}", lambda: encoded, files, read)


def _read_image(
    features: tfds.features.FeaturesDict,
    places: dict[str, tuple[pathlib.Path, tfrecord.Place]],
    name: str,
) -> bytes:
    shard, place = places[name]
    return _parse(features, shard, tfrecord.read_record(shard, place))["image"]


def _records(
    split: tfds.core.SplitInfo, progress: bool
) -> Iterator[tuple[pathlib.Path, tfrecord.Place, bytes]]:
    """All records of a split, which must be as many as dataset_info.json says."""
    shards = [pathlib.Path(path) for path in split.filepaths]
    if missing := [str(shard) for shard in shards if not shard.is_file()]:
        raise InputError(
            f"{len(missing)} of {len(shards)} files of the split {split.name!r} are missing: "
            f"{', '.join(missing[:3])}; copy the directory again"
        )
    bar = progress_bar(
        total=split.num_examples, desc=f"reading {split.name}", unit="image", disable=not progress
    )
    with bar:
        for shard, expected in zip(shards, split.shard_lengths, strict=True):
            count = 0
            for place, data in tfrecord.read_records(shard):
                yield shard, place, data
                count += 1
                bar.update()
            if count != expected:
                raise InputError(
                    f"{shard} holds {count} records, not the {expected} that dataset_info.json "
                    "names; copy it again"
                )


def _parse(features: tfds.features.FeaturesDict, shard: pathlib.Path, data: bytes) -> dict:
    """The features of a record; its image stays encoded."""
    try:
        return features.deserialize_example_np(data, decoders={"image": tfds.decode.SkipDecoding()})
    except (DecodeError, KeyError, ValueError) as error:
        raise InputError(
            f"a record of {shard} does not have the features that features.json beside it names: "
            f"{error}"
        ) from error


def _to_coco(row: dict, name: str, category_ids: tuple[int, ...]) -> tuple[dict, list[dict]]:
    """COCO's entries of an image and its objects; of an image without a sound header no objects.

    The header is looked at again when the image is verified, which then says what is wrong.
    """
    image = {"id": int(row["image/id"]), "file_name": name}
    try:
        height, width = read_header(row["image"])[:2]
    except ValueError:
        return image, []
    objects, annotations = row["objects"], []
    for box, label, crowd, number, area in zip(
        *(objects[k] for k in ("bbox", "label", "is_crowd", "id", "area")), strict=True
    ):
        top, left, bottom, right = (float(v) for v in box)
        annotations.append(
            {
                "id": int(number),
                "image_id": image["id"],
                "category_id": category_ids[label],
                "bbox": [
                    left * width, top * height, (right - left) * width, (bottom - top) * height,
                ],
                "area": int(area),
                "iscrowd": int(crowd),
            }
        )  # fmt: skip
    return {**image, "height": height, "width": width}, annotations
