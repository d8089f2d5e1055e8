"""TFRecord without TensorFlow: what the stock TFDS builder wrote is read, and damage is found.

``tests/tfrecord`` holds a COCO-format folder and what TensorFlow made of it.
"""

import json
import pathlib
import shutil
import struct

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from tests.support.small_recipe import train
from yolor_jax.cli.main import main
from yolor_jax.configs import quickstart
from yolor_jax.data.sources import open_source
from yolor_jax.data.stored import read
from yolor_jax.errors import InputError
from yolor_jax.preparation import tfrecord

FIXTURE = pathlib.Path(__file__).parent / "tfrecord"
SPLITS = {"train": "train2017", "validation": "val2017"}


def crc_bit_by_bit(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data):
    """A record as TensorFlow writes it."""

    def masked(part):
        crc = crc_bit_by_bit(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


@pytest.fixture
def bucket(tmp_path):
    """A copy of the directory that TensorFlow wrote."""
    return pathlib.Path(shutil.copytree(FIXTURE / "coco", tmp_path / "coco")) / "2017" / "1.1.0"


def run(*arguments):
    return main(["prepare", *map(str, arguments)])


def test_crc32c_of_known_messages():
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert tfrecord.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert tfrecord.crc32c(bytes(range(32))) == 0x46DD794E
    assert tfrecord.crc32c(b"") == 0


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 4096, 5000])
def test_crc32c_in_blocks(length):
    data = np.random.default_rng(length).bytes(length)
    assert tfrecord.crc32c(data) == crc_bit_by_bit(data)


def test_records_and_their_places(tmp_path):
    contents = [b"first", b"", np.random.default_rng(0).bytes(3000)]
    path = tmp_path / "records"
    path.write_bytes(b"".join(map(record, contents)))
    found = list(tfrecord.read_records(path))
    assert [data for _, data in found] == contents
    assert [tfrecord.read_record(path, place) for place, _ in found] == contents


def test_every_cut_is_found(tmp_path):
    whole, path = record(b"one") + record(b"two"), tmp_path / "records"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size in (0, len(record(b"one"))):  # whole records: their number tells
            assert len(list(tfrecord.read_records(path))) == (1 if size else 0)
        else:
            with pytest.raises(ValueError, match=r"is cut off in record \d, after .* copy it"):
                list(tfrecord.read_records(path))


def test_every_flipped_bit_is_found(tmp_path):
    whole, path = record(b"one") + record(b"two"), tmp_path / "records"
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"record \d does not have its checksum"):
            list(tfrecord.read_records(path))


def test_converting_equals_preparing_the_folder(tmp_path, capsys):
    assert run(FIXTURE / "coco", tmp_path / "converted") == 0
    assert "--config.data.eval_split=validation\n" in capsys.readouterr().out
    assert run(FIXTURE / "folder", tmp_path / "prepared") == 0
    for converted_split, prepared_split in SPLITS.items():
        converted = read(tmp_path / "converted", converted_split)
        prepared = read(tmp_path / "prepared", prepared_split)
        assert converted.class_names == prepared.class_names
        rows, expected = ({r["image/id"]: r for r in s.rows} for s in (converted, prepared))
        assert rows.keys() == expected.keys()
        for number, row in rows.items():
            assert row["image"] == expected[number]["image"]
            assert row["image/filename"] == expected[number]["image/filename"]
            objects, wanted = row["objects"], expected[number]["objects"]
            order, by_id = np.argsort(objects["id"]), np.argsort(wanted["id"])  # TFDS sorts by id
            for name in objects:
                values = np.asarray(objects[name])[order]
                np.testing.assert_array_equal(values, np.asarray(wanted[name])[by_id])
        sources = [
            open_source(tmp_path / "converted", converted_split),
            open_source(tmp_path / "prepared", prepared_split),
        ]
        assert sources[0].category_ids == sources[1].category_ids
        got, want = (
            {a["id"]: a for a in source.ground_truth()["annotations"]} for source in sources
        )
        assert got.keys() == want.keys()
        for number, annotation in got.items():
            np.testing.assert_allclose(annotation.pop("bbox"), want[number].pop("bbox"), atol=1e-4)
            assert annotation.pop("area") == int(want[number].pop("area"))  # TFDS cuts it
            assert annotation == want[number]
    assert run("--verify", tmp_path / "converted") == 0


def test_a_chosen_split_and_the_name_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(FIXTURE / "coco" / "2017", "--splits", "validation") == 0
    assert len(open_source("data/prepared/coco", "validation")) == 2


def test_training_refuses_it_with_the_command(bucket, tmp_path):
    config = quickstart.get_config()
    config.data.path = str(bucket.parents[1])
    config.data.prepared = str(tmp_path / "prepared")
    with pytest.raises(InputError, match=f"convert it once: yolor prepare {bucket}$"):
        train(config, tmp_path / "run")


def shard(bucket, number=1):
    return bucket / f"coco-train.tfrecord-0000{number}-of-00002"


def cut_in_a_record(bucket):
    data = shard(bucket).read_bytes()
    shard(bucket).write_bytes(data[: len(data) // 2])
    return "00001-of-00002 is cut off in record 1, after 3,151 bytes; copy it again"


def cut_between_records(bucket):
    data = shard(bucket).read_bytes()
    shard(bucket).write_bytes(data[: 16 + struct.unpack("<Q", data[:8])[0]])
    return "00001-of-00002 holds 1 records, not the 3 that dataset_info.json names"


def missing_file(bucket):
    shard(bucket).unlink()
    return "1 of 2 files of the split 'train' are missing: "


def damaged(bucket):
    data = bytearray(shard(bucket).read_bytes())
    data[1000] ^= 8
    shard(bucket).write_bytes(data)
    return "is damaged, or no TFRecord file: record 0 does not have its checksum"


def no_tfrecord(bucket):
    shard(bucket).write_text("<html>404 not found</html>")
    return "is damaged, or no TFRecord file: record 0"


def other_features(bucket):
    path = bucket / "features.json"
    path.write_text(path.read_text().replace('"objects"', '"panoptic_objects"'))
    return "lacks the features ['objects']; expected those of coco/2017"


def edit_first(bucket, edit):
    """Changes the first record of a file and gives it its checksum."""
    records = [data for _, data in tfrecord.read_records(shard(bucket))]
    example = tf_example_pb2.Example.FromString(records[0])
    edit(example.features.feature)
    records[0] = example.SerializeToString()
    shard(bucket).write_bytes(b"".join(map(record, records)))


def records_without_a_feature(bucket):
    edit_first(bucket, lambda feature: feature.pop("objects/bbox"))
    return "does not have the features that features.json beside it names"


def records_of_something_else(bucket):
    shard(bucket).write_bytes(b"".join(map(record, [b"\x0a\xff\xff", b"two", b"three"])))
    return "does not have the features that features.json beside it names"


def truncated_image(bucket):
    def edit(feature):
        image = feature["image"].bytes_list.value
        image[0] = image[0][:300]

    edit_first(bucket, edit)
    return "1 broken: unreadable image (truncated, damaged, or no image): 0000000000"


def two_of_one_name(bucket):
    other = tf_example_pb2.Example.FromString(
        next(iter(tfrecord.read_records(shard(bucket, 0))))[1]
    ).features.feature["image/filename"]
    edit_first(bucket, lambda feature: feature["image/filename"].CopyFrom(other))
    return "holds two images of the name 0000000000"


def two_of_one_id(bucket):
    other = tf_example_pb2.Example.FromString(
        next(iter(tfrecord.read_records(shard(bucket, 0))))[1]
    ).features.feature["image/id"]
    edit_first(bucket, lambda feature: feature["image/id"].CopyFrom(other))
    return "1 broken: duplicate image id"


def cut_dataset_info(bucket):
    path = bucket / "dataset_info.json"
    path.write_text(path.read_text()[:200])
    return "dataset_info.json or features.json is damaged or missing; copy the directory again"


@pytest.mark.parametrize(
    "spoil",
    [
        cut_in_a_record, cut_between_records, missing_file, damaged, no_tfrecord, other_features,
        records_without_a_feature, records_of_something_else, truncated_image, two_of_one_name,
        two_of_one_id, cut_dataset_info,
    ],
)  # fmt: skip
def test_wrong_input_gets_a_sentence(bucket, tmp_path, capsys, spoil):
    sentence = spoil(bucket)
    assert run(bucket, tmp_path / "made") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_broken_image_is_left_out_if_told_to(bucket, tmp_path):
    truncated_image(bucket)
    assert run(bucket, tmp_path / "made", "--skip-broken") == 0
    assert len(open_source(tmp_path / "made", "train")) == 4
    report = json.loads((tmp_path / "made" / "report_train.json").read_text())
    assert report["counts"]["unreadable image"] == 1


def test_what_is_prepared_already_is_said_so(tmp_path, capsys):
    assert run(FIXTURE / "coco", tmp_path / "made") == 0
    assert run(tmp_path / "made") == 2
    assert "holds array_record files, which training reads as they are" in capsys.readouterr().err
