"""COCO format -> TFDS directory: verified once, resumable, nothing lost in silence.

Every image of a split (`coco_files.Original`) is read and decoded, every annotation checked
(`annotations.py`, `report.py`); what is broken stops preparation with a list, or is left out and
counted with `skip_broken`. A fingerprint of the annotations (their content) and the images (names,
sizes, times of change, and the bytes of a sample) tells whether what is prepared is still the same.
After a kill, what was verified is not verified again, and shards that were written are kept: the
files are those of a preparation that was never killed, whoever worked on it (`parallel`).

    report = prepare("coco", "val2017", "prepared")  # one split, on first use
    print(report.table(), report.directory)
    prepare_splits([open_split(coco, s) for s in find_splits(coco)], pathlib.Path("prepared/coco"))
"""

import glob
import hashlib
import json
import logging
import pathlib
import re
import shutil
import sys
from collections.abc import Sequence

from tqdm import tqdm

from yolor_jax.errors import InputError
from yolor_jax.paths import local_path
from yolor_jax.preparation import annotations, formats, joining, records, segmentation
from yolor_jax.preparation.check_images import check_images
from yolor_jax.preparation.coco_files import Original
from yolor_jax.preparation.parallel import HERE, Workers, run
from yolor_jax.preparation.plan import Planned, plan_images, write_planned
from yolor_jax.preparation.report import Report
from yolor_jax.preparation.shards import shard_path, shards
from yolor_jax.progress import progress as progress_bar

VERSION = 3
"""To be raised whenever prepared directories change."""

_SAMPLE = 512  # images of which a fingerprint takes all bytes
_HEX = "[0-9a-f]" * 12  # of a fingerprint, in patterns
_logger = logging.getLogger(__name__)


def prepare(
    folder: str | pathlib.Path,
    split: str,
    prepared_dir: str | pathlib.Path,
    *,
    skip_broken: bool = False,
    progress: bool = True,
    workers: Workers = HERE,
) -> Report:
    """Prepares one split of a folder, unless it is there already and unchanged.

    The prepared directory has the fingerprint in its name, so a changed data set is prepared anew.

    Args:
        folder: the data set, in one of the `formats`.
        split: name of the split.
        prepared_dir: where prepared data sets lie.
        skip_broken: leave broken images and annotations out instead of stopping.
        progress: whether to show progress bars and, at the end, the table of findings.
        workers: who reads the images and writes the files, which are the same for any.

    Returns:
        What was found; `Report.directory` is the TFDS directory.

    Raises:
        InputError: if the folder has no such split, or something is broken and `skip_broken` is
            not set; the message counts and names it and says what to do.
    """
    folder = local_path(folder).resolve()
    original = formats.require(folder).open_split(folder, split)
    prepared_dir = local_path(prepared_dir)
    prepared_dir.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(bytes(folder)).hexdigest()[:4]  # folders of one name stay apart
    stem = f"{folder.name}-{place}-{split}"
    fingerprint = _fingerprint(original)
    directory = prepared_dir / f"{stem}-{fingerprint}"
    with records.lock(prepared_dir / stem):
        new = not directory.exists()
        if new:
            for half in prepared_dir.glob(f".{glob.escape(stem)}-{_HEX}.partial"):
                if half != records.partial_path(directory):
                    shutil.rmtree(half)
            for old in sorted(prepared_dir.glob(f"{glob.escape(stem)}-{_HEX}")):
                _logger.warning(
                    "%s, or how it is prepared, changed since %s was made, which may be deleted",
                    folder, old,
                )  # fmt: skip
        log = prepared_dir / f".{stem}.verified.jsonl"
        report = _prepare(
            original, fingerprint, directory, folder.name, log, skip_broken, progress, workers
        )
    if new and progress:
        tqdm.write(f"prepared {directory}", file=sys.stderr)
    return report


def prepare_splits(
    originals: Sequence[Original],
    directory: pathlib.Path,
    *,
    skip_broken: bool = False,
    progress: bool = True,
    workers: Workers = HERE,
) -> dict[str, Report]:
    """Prepares splits of one data set into one TFDS directory, unless it is there already.

    Args:
        originals: the splits; all have the same categories.
        directory: of the prepared data set. Until all is done there is only a hidden one beside it.
        skip_broken: leave broken images and annotations out instead of stopping.
        progress: whether to show progress bars and the table of findings of each split.
        workers: see `prepare`.

    Returns:
        What was found in each split.

    Raises:
        InputError: if something is broken and `skip_broken` is not set, or `directory` is there and
            holds something else.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {directory.parent} cannot be made ({error.strerror}); name another one"
        ) from error
    fingerprints = {original.split: _fingerprint(original) for original in originals}
    state = hashlib.sha256(json.dumps(fingerprints).encode()).hexdigest()[:12]
    partial = directory.with_name(f".{directory.name}-{state}.partial")
    with records.lock(directory):
        if not directory.exists():
            halves = f".{glob.escape(directory.name)}-{_HEX}.partial"
            for other in directory.parent.glob(halves):
                if other != partial:
                    shutil.rmtree(other)
            if not joining.has_begun(partial):
                partial.mkdir(exist_ok=True)
                report = None
                for original in originals:
                    log = partial / f".{original.split}.verified.jsonl"
                    report = _prepare(
                        original, fingerprints[original.split], partial / original.split,
                        directory.name, log, skip_broken, progress, workers, alike=report,
                    )  # fmt: skip
            joining.join(partial, list(fingerprints), directory)
    return _reports(directory, fingerprints, skip_broken)


def _reports(
    directory: pathlib.Path, fingerprints: dict[str, str], skip_broken: bool
) -> dict[str, Report]:
    """The reports of a prepared directory, which must be that of these originals."""
    reports = {}
    for split, fingerprint in fingerprints.items():
        path = Report.path(directory, split)
        report = Report.load(directory, split) if path.is_file() else None
        if report is None or report.fingerprint != fingerprint:
            raise InputError(
                f"{directory} is there and holds something else, or another state of the split "
                f"{split!r}; delete it, or name another folder"
            )
        _stop_if_broken(report, str(directory), skip_broken)
        reports[split] = report
    return reports


def _prepare(
    original: Original,
    fingerprint: str,
    directory: pathlib.Path,
    name: str,
    log: pathlib.Path,
    skip_broken: bool,
    progress: bool,
    workers: Workers,
    alike: Report | None = None,
) -> Report:
    """Prepares one split into a directory of its own, unless it is there already.

    Args:
        original: the split.
        fingerprint: of it.
        directory: to write; its parent exists.
        name: of the data set.
        log: file that remembers which images were verified.
        skip_broken: see `prepare`.
        progress: see `prepare`.
        workers: see `prepare`.
        alike: of a split that must have the same categories.
    """
    if directory.exists():
        report = Report.load(directory, original.split)
        _stop_if_broken(report, original.where, skip_broken)
        return report
    coco = annotations.parse(original.annotations(), original.where)
    categories = annotations.categories(coco, original.where)
    if alike is not None and alike.categories != categories:
        raise InputError(
            f"{original.where} has other categories than the split before it; prepare each into a "
            "folder of its own with --splits"
        )
    report = Report(fingerprint=fingerprint, categories=categories)
    for kind, example in original.findings():
        report.add(kind, example)
    coco = segmentation.add_boxes(coco, report)
    images = annotations.unique_images(coco, report)
    names = {image["file_name"] for image in images}
    verified = check_images(original, names, log, progress, workers)
    labels = {category["id"]: label for label, category in enumerate(categories)}
    planned = plan_images(coco, images, verified, original.files, labels, report, original.where)
    _stop_if_broken(report, original.where, skip_broken)
    if not planned:
        raise InputError(f"{original.where} leaves no image for the split {original.split!r}")
    _write_shards(original, directory, categories, planned, workers, progress)
    records.finish(
        directory,
        name=re.sub(r"\W", "_", name.lower()),
        categories=categories,
        splits={original.split: [plan.record for plan in planned]},
        extra_files={Report.path(directory, original.split).name: report.to_json()},
    )
    report.directory = directory
    if progress:
        tqdm.write(f"{original.split}:\n{report.table()}", file=sys.stderr)
    return report


def _write_shards(
    original: Original,
    directory: pathlib.Path,
    categories: list[dict],
    planned: list[Planned],
    workers: Workers,
    progress: bool,
) -> None:
    """Writes the shards of a split that are not there yet."""
    partial = records.partial_path(directory)
    partial.mkdir(exist_ok=True)
    class_names = [category["name"] for category in categories]
    tasks = []
    for number, positions in enumerate(shards(len(planned))):
        path = shard_path(partial, original.split, number)
        if not path.exists():
            chunk = planned[positions.start : positions.stop]
            tasks.append((path, class_names, chunk, original.read))
    missing = sum(len(chunk) for _, _, chunk, _ in tasks)
    bar = progress_bar(
        desc=f"writing {original.split}", unit="image", total=len(planned),
        initial=len(planned) - missing, disable=not progress,
    )  # fmt: skip
    with bar:
        for written in run(write_planned, tasks, workers):
            bar.update(written)


def _fingerprint(original: Original) -> str:
    """Twelve digits that change with the annotations and the images.

    Of every image the name, the size and the time of change count, and of a sample all bytes:
    programs that copy or make files can leave a time as it was.
    """
    digest = hashlib.sha256(original.annotations())
    listing = sorted((name, *file) for name, file in original.files.items())
    digest.update(json.dumps([VERSION, listing]).encode())
    for name, *_ in listing[:: -(-len(listing) // _SAMPLE) or 1]:
        digest.update(_bytes_or_problem(original, name))
    return digest.hexdigest()[:12]


def _bytes_or_problem(original: Original, name: str) -> bytes:
    try:
        return original.read(name)
    except ValueError as error:  # it is named when the image is verified
        return str(error).encode()


def _stop_if_broken(report: Report, where: str, skip_broken: bool) -> None:
    if report.broken and not skip_broken:
        raise InputError(
            f"{where}: {report.broken} entries are broken\n{report.table()}\n"
            "Repair the data set, or leave the broken entries out with skip_broken=True "
            "(--skip-broken of yolor prepare)"
        )
