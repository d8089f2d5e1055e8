"""Writes the page: one HTML file that opens from a disk without a network.

    write_report([user_path("runs/quickstart")], user_path("report.html"))

Style, script, charts and images are inside it. The templates beside this file have its words.
"""

import datetime
import pathlib
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.reports import ablation, comparison, report
from yolor_jax.reports.gather import gather
from yolor_jax.reports.report import percent
from yolor_jax.whole_file import whole_file

TEMPLATES = pathlib.Path(__file__).with_name("templates")
FILE = "report.html"
SEVERAL = "comparison.html"


class Written(NamedTuple):
    """A page that was written.

    Attributes:
        path: the file.
        size: of it in bytes.
        doubts: a sentence for each thing that could not be read, which the page has too.
    """

    path: Path
    size: int
    doubts: Sequence[str]


def write_report(paths: Sequence[Path], output: Path | None = None) -> Written:
    """Writes the report of a run, an evaluation or an ablation, or of several runs side by side.

    Args:
        paths: workdirs of runs, or folders of evaluations; or the one folder of an ablation.
        output: the file; if None, ``report.html`` in the one folder, or ``comparison.html`` in the
            current one.

    Raises:
        InputError: a folder holds neither, or is named twice.
        OSError: something cannot be read or written.
    """
    if len(set(paths)) < len(paths):
        raise InputError("a folder is named twice; expected each once")
    found = ablation.read(paths[0]) if len(paths) == 1 else None
    subjects = [] if found else [gather(path) for path in paths]
    if found:
        template, contents = "ablation.html", ablation.contents(found, paths[0])
        output = output or paths[0] / FILE
    elif len(subjects) == 1:
        template, contents = "report.html", report.contents(subjects[0])
        output = output or paths[0] / FILE
    else:
        template, contents = "comparison.html", comparison.contents(subjects)
        output = output or pathlib.Path(SEVERAL)
    text = render(template, contents).encode()
    with whole_file(output) as file:
        file.write_bytes(text)
    return Written(output, len(text), contents["doubts"])


def render(template: str, contents: dict[str, Any]) -> str:
    """A page of a template, with what every page has.

    Args:
        template: its file.
        contents: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "drawn": Markup}
    now = datetime.datetime.now(datetime.UTC)
    return environment.get_template(template).render(
        contents, written=f"{now:%Y-%m-%d %H:%M} UTC", version=metadata.version("yolor-jax")
    )
