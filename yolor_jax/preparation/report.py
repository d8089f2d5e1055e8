"""What preparation found in a data set: counts of everything that is not as it should be.

Two kinds of findings. *Broken*: the annotations and the images do not fit together, or a number
means nothing; preparation stops, or leaves these entries out if it was told to. *Noted*: lawful,
but good to know; what was done about it stands beside it. Nothing is left out uncounted.

    report = Report()
    report.add("missing image", "a.jpg")
    print(report.table())
"""

import dataclasses
import json
import pathlib

from yolor_jax.errors import InputError

BROKEN = {
    "broken image entry": "lacks file_name or an integer id of 64 bits",
    "duplicate image id": "the second one counts as broken",
    "duplicate file name": "the second entry of a file counts as broken",
    "missing image": "named in the JSON, not in the folder",
    "unreadable image": "truncated, damaged, or no image",
    "size differs": "height and width in the JSON are not those of the image, turned or not",
    "broken annotation": "lacks a field, or a field is of another type or out of range",
    "unknown image id": "of an annotation; no such image in the JSON",
    "unknown category id": "of an annotation; no such category in the JSON",
    "broken identity": "no integer of 0 or more, of a crowd, of two classes, or twice in one image",
    "broken box": "not four finite numbers, a negative width or height, or no sound area",
}
"""Findings that stop preparation, with their meaning."""

NOTED = {
    "image without size": "height and width taken from the image",
    "EXIF applied": "pixels turned upright, as people see them, and encoded anew as PNG",
    "EXIF not applied": "the JSON gives the stored size: boxes refer to the stored pixels",
    "animation": "of several frames or pages the first one taken",
    "image without boxes": "kept",
    "image without label file": "kept, as an image without objects",
    "label file without image": "not used",
    "classes in sorted order": "the files number none",
    "super-category left out": "category 0, which no annotation has and others name as theirs",
    "file name matched by its end": "the one file whose path ends so",
    "file name of several files": "none of them taken",
    "box from its segmentation": "the box around it",
    "file not in the JSON": "not used",
    "crowd region": "kept, marked as crowd",
    "box clipped": "it reached out of the image; evaluation uses the original",
    "box outside": "entirely outside the image: no target for training; evaluation uses it",
    "box without area": "thinner than 0.01 pixel: no target for training; evaluation uses it",
    "annotation without id": "given a free one",
    "annotation id used twice": "the second one given a free id",
    "annotation without area": "the area of its box taken",
    "annotation of a left-out image": "left out with it",
    "no target": "nothing in the split to learn from, or to find",
    "object now background": "its annotation is broken, and its image stays with most of its boxes",
    "image that lost most boxes": "more than half of its annotations are broken: left out",
}
"""Findings that do not stop it, with what is done."""

_EXAMPLES = 3


@dataclasses.dataclass
class Report:
    """Counts of what preparation kept and found.

    Attributes:
        directory: the prepared TFDS directory, once there is one.
        images: number of images kept.
        annotations: number of annotations kept, as evaluation sees them.
        targets: number of boxes for training.
        counts: number of findings of each kind.
        examples: the first few findings of each kind.
        fingerprint: of the annotations and images that were prepared.
        categories: COCO's entries (id, name), in the order of the classes.
    """

    directory: pathlib.Path | None = None
    images: int = 0
    annotations: int = 0
    targets: int = 0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    categories: list[dict] = dataclasses.field(default_factory=list)

    def add(self, kind: str, example: str) -> None:
        """Counts one finding; `example` says where."""
        if kind not in BROKEN and kind not in NOTED:
            raise InputError(f"got the finding {kind!r}; expected one of BROKEN or NOTED")
        self.counts[kind] = self.counts.get(kind, 0) + 1
        first = self.examples.setdefault(kind, [])
        if len(first) < _EXAMPLES:
            first.append(example)

    @property
    def broken(self) -> int:
        """Number of entries that are broken."""
        return sum(self.counts.get(kind, 0) for kind in BROKEN)

    def table(self) -> str:
        """A line for each kind that was found, broken ones first."""
        lines = [f"{self.images:>9,} images, {self.annotations:,} annotations kept"]
        lines[0] += f", {self.targets:,} of them targets for training"
        for kinds, word in ((BROKEN, "broken"), (NOTED, "noted")):
            for kind, meaning in kinds.items():
                if count := self.counts.get(kind, 0):
                    more = ", ..." if count > _EXAMPLES else ""
                    examples = ", ".join(self.examples[kind]) + more
                    lines.append(f"{count:>9,} {word}: {kind} ({meaning}): {examples}")
        return "\n".join(lines)

    @staticmethod
    def path(directory: pathlib.Path, split: str) -> pathlib.Path:
        """Where the report on a split lies in a prepared directory."""
        return directory / f"report_{split}.json"

    def to_json(self) -> str:
        """All but the directory."""
        return json.dumps({k: v for k, v in vars(self).items() if k != "directory"}, indent=2)

    @classmethod
    def load(cls, directory: pathlib.Path, split: str) -> "Report":
        """Reads the report that lies in a prepared directory.

        Raises:
            InputError: it is damaged.
        """
        path = cls.path(directory, split)
        try:
            report = cls(directory=directory, **json.loads(path.read_bytes()))
            known = {*BROKEN, *NOTED} >= report.counts.keys() == report.examples.keys()
            numbers = [report.images, report.annotations, report.targets, *report.counts.values()]
            sound = known and all(type(number) is int for number in numbers)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} is damaged ({error}); prepare the data set again") from error
        if not sound:
            raise InputError(f"{path} is damaged; prepare the data set again")
        return report
