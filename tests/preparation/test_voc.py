"""What is wrong in VOC's XML is counted, with its file; what is lawful is read."""

import pytest

from tests.support.formats import write_text
from tests.support.small_folders import boxes, images, report_of
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import formats

BOX = "<xmin>17</xmin><ymin>13</ymin><xmax>48</xmax><ymax>36</ymax>"


def voc_object(name="<name>cat</name>", box=f"<bndbox>{BOX}</bndbox>", more=""):
    return f"<object>{name}{more}{box}</object>"


def voc(folder, xml):
    """Three images; `xml` is that of the second one."""
    images(folder)
    write_text(folder / "a.xml", f"<annotation>{voc_object()}</annotation>")
    data = xml if isinstance(xml, bytes) else xml.encode()
    (folder / "b.xml").write_bytes(data)
    return folder


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("<annotation><object>", "broken annotation"),
        ("", "broken annotation"),
        (b"\xff\xfe\x00", "broken annotation"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "broken annotation"),
        (f"{BOMB}<annotation><object><name>&y;</name></object></annotation>", "broken annotation"),
        (f"{BOMB}<annotation/>".encode("utf-16"), "broken annotation"),
        (f"<annotation>{voc_object(name='')}</annotation>", "broken annotation"),
        (
            f"<annotation>{voc_object(more='<difficult>maybe</difficult>')}</annotation>",
            "broken annotation",
        ),
        (f"<annotation>{voc_object(box='')}</annotation>", "broken box"),
        *(
            (f"<annotation>{voc_object().replace('>17<', f'>{x}<')}</annotation>", "broken box")
            for x in ("", "nan", "1_7", "0x11", "1e999", "seventeen", "49")
        ),
    ],
)
def test_a_wrong_file_of_voc(tmp_path, xml, kind):
    report = report_of(voc(tmp_path / "pets", xml), tmp_path)
    assert report.counts[kind] == report.broken == 1
    assert report.examples[kind][0].startswith("b.xml")


def test_lawful_files_of_voc(tmp_path):
    part = f"<part><name>head</name><bndbox>{BOX.replace('17', '20')}</bndbox></part>"
    objects = [
        voc_object(name="<name> dog\n</name>", more="<difficult>1</difficult>"),
        voc_object().replace(">17<", "> 17.5 <").replace("</bndbox>", f"</bndbox>{part}"),
        voc_object(
            box="<bndbox><ymax>48</ymax><xmax>64</xmax><ymin>1</ymin><xmin>1</xmin></bndbox>"
        ),
    ]
    size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
    xml = f"<?xml version='1.0' encoding='utf-8'?><annotation>{size}{''.join(objects)}</annotation>"
    folder = voc(tmp_path / "pets", xml)
    write_text(folder / "z.xml", f"<annotation>{voc_object()}</annotation>")
    report = report_of(folder, tmp_path)
    assert report.broken == 0 and report.counts["crowd region"] == 1
    assert boxes(report) == [
        [[16, 12, 48, 36]],
        [[16, 12, 48, 36], [16.5, 12, 48, 36], [0, 0, 64, 48]],
        [],
    ]
    source = open_source(report.directory, "train")
    assert source.class_names == ("cat", "dog") and source[1].labels.tolist() == [1, 0, 0]
    assert source[1].is_crowd.tolist() == [True, False, False]
    assert report.examples["classes in sorted order"] == ["cat, dog"]
    assert report.examples["image without label file"] == ["c.jpg"]
    assert report.examples["label file without image"] == ["z.xml"]


@pytest.mark.parametrize("size", ["<width>65</width><height>48</height>", "<width>x</width>"])
def test_a_size_that_is_not_that_of_the_image(tmp_path, size):
    xml = f"<annotation><size>{size}</size>{voc_object()}</annotation>"
    report = report_of(voc(tmp_path / "pets", xml), tmp_path)
    assert report.counts["size differs"] == report.broken == 1
    assert report.examples["size differs"][0].startswith("b.jpg")


def test_a_split_needs_a_name_for_files(tmp_path):
    folder = voc(tmp_path / "JPEGImages", "<annotation/>").parent
    write_text(folder / "Annotations" / "a.xml", f"<annotation>{voc_object()}</annotation>")
    write_text(folder / "ImageSets" / "Main" / "train+1.txt", "a\n")
    with pytest.raises(InputError, match=r"the split 'train\+1'; expected letters, digits"):
        report_of(folder, tmp_path, "train+1")


def test_lists_of_voc(tmp_path):
    folder = tmp_path / "VOC2007"
    images(folder / "JPEGImages")
    for name, label in (("a", "cat"), ("b", "ape")):
        xml = f"<annotation>{voc_object(name=f'<name>{label}</name>')}</annotation>"
        write_text(folder / "Annotations" / f"{name}.xml", xml)
    lists = {"train": "a\nc\n", "val": "b\ngone\n", "cat_train": "a 1\nc -1\n", "test": "c\n"}
    for name, text in lists.items():
        write_text(folder / "ImageSets" / "Main" / f"{name}.txt", text)
    assert formats.of(folder).find_splits(folder) == ["test", "train", "val"]
    report = report_of(folder, tmp_path)
    assert boxes(report) == [[[16, 12, 48, 36]], []] and report.broken == 0
    assert "file not in the JSON" not in report.counts  # b is of another split
    assert open_source(report.directory, "train").class_names == ("ape", "cat")
    assert report_of(folder, tmp_path, "val").examples["missing image"] == ["gone.jpg"]
    with pytest.raises(InputError, match=r"none of the 1 images .*Annotations/c\.xml"):
        report_of(folder, tmp_path, "test")
    with pytest.raises(
        InputError, match=r"no split 'cat_train'; it has \['test', 'train', 'val'\]"
    ):
        report_of(folder, tmp_path, "cat_train")
