"""The five formats of detections; a file has all rows that were added, whatever ends the program.

    writer = JsonLinesWriter(path, settings)
    writer.add(row)          # of `rows.row_of`

| format | files | what |
| --- | --- | --- |
| json | detections.json | settings, and a list of rows |
| jsonl | detections.jsonl | a row a line |
| csv | detections.csv | a box a line; of a picture without boxes a line without one |
| coco | coco.json, coco-images.json | COCO's results, and the ids of the pictures |
| yolo | labels/, labels.jsonl | a text for each picture, and which is of which |

Beside all but the first lies ``NAME-settings.json``. A file that is there is gone on with.
"""

import csv
import io
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from yolor_jax.data.classes import category_ids
from yolor_jax.inference.growing import GrowingLines, GrowingList
from yolor_jax.inference.places import Places
from yolor_jax.inference.rows import Row
from yolor_jax.whole_file import whole_file

Key = tuple[str, int | None]
Settings = Mapping[str, Any]


def key_of(row: Mapping[str, Any]) -> Key:
    """The file, and of a film the frame, that a row is of."""
    return row["file"], row.get("frame")


@runtime_checkable
class Writer(Protocol):
    """A file of detections.

    Attributes:
        path: of the file that people are told of.
        done: of which pictures and frames it has rows from before.
    """

    path: pathlib.Path
    done: set[Key]

    def add(self, row: Row) -> None:
        """Writes a row.

        Raises:
            OSError: it cannot be written.
        """


class JsonWriter:
    """Settings and a list of rows."""

    NAME = "detections.json"

    def __init__(self, path: pathlib.Path, settings: Settings):
        """Opens the file; one that is there is gone on with."""
        self.path = path
        self._rows = GrowingList(path, f'{json.dumps(dict(settings))[:-1]}, "images": [', "]}")
        self.done = {key_of(row) for row in self._rows.before}

    @staticmethod
    def settings_of(path: pathlib.Path) -> Settings:
        """The settings of a file that is there."""
        with open(path, encoding="utf-8") as file:
            return json.loads(file.readline().rstrip().removesuffix(', "images": [') + "}")

    def add(self, row: Row) -> None:
        """Writes a row."""
        self._rows.add(row)


class _WithSettings:
    """What lies beside files that have no place for settings."""

    def __init__(self, path: pathlib.Path, settings: Settings):
        self.path = path
        self._class_names: Sequence[str] = settings["class_names"]
        if not _settings_file(path).exists():
            with whole_file(_settings_file(path)) as file:
                file.write_text(json.dumps(dict(settings), indent=1) + "\n")

    @staticmethod
    def settings_of(path: pathlib.Path) -> Settings:
        """The settings of a file that is there."""
        return json.loads(_settings_file(path).read_text())


class JsonLinesWriter(_WithSettings):
    """A row a line."""

    NAME = "detections.jsonl"

    def __init__(self, path: pathlib.Path, settings: Settings):
        """Opens the file; one that is there is gone on with."""
        super().__init__(path, settings)
        self._lines = GrowingLines(path)
        self.done = {key_of(json.loads(line)) for line in self._lines.before}

    def add(self, row: Row) -> None:
        """Writes a row."""
        self._lines.add(json.dumps(row))


class CsvWriter(_WithSettings):
    """A box a line; a picture in which nothing was found has a line without a box."""

    NAME = "detections.csv"
    COLUMNS = (
        "file", "frame", "seconds", "height", "width", "name", "label", "score", "x1", "y1", "x2",
        "y2",
    )  # fmt: skip

    def __init__(self, path: pathlib.Path, settings: Settings):
        """Opens the file; one that is there is gone on with."""
        super().__init__(path, settings)
        self._lines = GrowingLines(path, _csv_line(self.COLUMNS))
        self.done = {
            (file, int(frame) if frame else None)
            for file, frame, *_ in csv.reader(self._lines.before[1:])
        }

    def add(self, row: Row) -> None:
        """Writes the boxes of a row."""
        start = [row.get(name, "") for name in self.COLUMNS[:5]]
        boxes = [
            (box["name"], box["label"], box["score"], *box["box_xyxy"]) for box in row["detections"]
        ]
        self._lines.add(*(_csv_line((*start, *box)) for box in boxes or [[""] * 7]))


class CocoWriter(_WithSettings):
    """COCO's results format, and beside it the pictures with their ids as a data set of COCO.

    The id of a picture is the number that is its name, as in COCO (000000000139.jpg), if it has one
    that no other had; else the next above all others.
    """

    NAME = "coco.json"

    def __init__(self, path: pathlib.Path, settings: Settings):
        """Opens the files; those that are there are gone on with."""
        super().__init__(path, settings)
        self._category_ids = category_ids(tuple(self._class_names))
        categories = [
            {"id": category_id, "name": name}
            for category_id, name in zip(self._category_ids, self._class_names, strict=True)
        ]
        start = f'{{"categories": {json.dumps(categories)}, "annotations": [], "images": ['
        self._images = GrowingList(path.with_stem(f"{path.stem}-images"), start, "]}")
        self.done = {(row["file_name"], row.get("frame")) for row in self._images.before}
        self._ids = {row["id"] for row in self._images.before}
        # A kill may have come between the boxes of a picture and the picture, which comes again.
        self._results = GrowingList(path, keep=lambda box: box["image_id"] in self._ids)
        self._largest = max(self._ids, default=0)

    def add(self, row: Row) -> None:
        """Writes the boxes of a row, and its picture."""
        image_id = self._id(row)
        self._results.add(
            *(
                {
                    "image_id": image_id,
                    "category_id": self._category_ids[box["label"]],
                    "bbox": _xywh(box["box_xyxy"]),
                    "score": box["score"],
                }
                for box in row["detections"]
            )
        )
        film = {name: row[name] for name in ("frame", "seconds") if name in row}
        size = {"height": row["height"], "width": row["width"]}
        self._images.add({"id": image_id, "file_name": row["file"], **size, **film})

    def _id(self, row: Row) -> int:
        stem = pathlib.PurePath(row["file"]).stem
        is_number = re.fullmatch(r"[0-9]{1,18}", stem) and "frame" not in row
        number = int(stem) if is_number else self._largest + 1
        if number in self._ids:
            number = self._largest + 1
        self._ids.add(number)
        self._largest = max(self._largest, number)
        return number


class YoloWriter(_WithSettings):
    """A text for each picture: class number, centre x y, width, height, score, a box a line.

    Centre and size are parts of the picture's width and height.
    """

    NAME = "labels.jsonl"

    def __init__(self, path: pathlib.Path, settings: Settings):
        """Opens the folder of texts and their list; those that are there are gone on with."""
        super().__init__(path, settings)
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        self._places = Places(folder)
        self._lines = GrowingLines(path)
        self.done = {key_of(json.loads(line)) for line in self._lines.before}

    def add(self, row: Row) -> None:
        """Writes the text of a picture."""
        frame = f"-{row['frame']}" if "frame" in row else ""
        stem = pathlib.PurePath(row["file"]).stem + frame
        place = self._places.take(f"{stem}.txt")
        height, width = row["height"], row["width"]
        lines = []
        for box in row["detections"]:
            left, top, right, bottom = box["box_xyxy"]
            parts = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            numbers = " ".join(f"{part:.6f}" for part in parts)
            lines.append(f"{box['label']} {numbers} {box['score']}\n")
        place.write_text("".join(lines))
        film = {name: row[name] for name in ("frame", "seconds") if name in row}
        labels = f"{place.parent.name}/{place.name}"
        self._lines.add(json.dumps({"file": row["file"], **film, "labels": labels}))


def _settings_file(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.stem}-settings.json")


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _xywh(box_xyxy: Sequence[float]) -> list[float]:
    left, top, right, bottom = box_xyxy
    return [left, top, round(right - left, 2), round(bottom - top, 2)]
