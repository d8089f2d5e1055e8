"""The page of an exported file's certificate, beside the file.

```python
write_page(certificate, user_path("yolor_csp.onnx"))     # yolor_csp.onnx.certificate.html
```
"""

from yolor_jax.evaluation.coco import NUMBERS
from yolor_jax.paths import Path
from yolor_jax.reports.page import render
from yolor_jax.runs.certification import Certificate, lines
from yolor_jax.stamp import described
from yolor_jax.whole_file import whole_file

SUFFIX = ".certificate.html"
MOST_NAMES = 8  # of pictures


def path_of(file: Path) -> Path:
    """Where the page on a file lies."""
    return file.with_name(file.name + SUFFIX)


def write_page(certificate: Certificate, file: Path) -> Path:
    """Writes the page and returns its path.

    Args:
        certificate: of `runs.certification.certify`.
        file: that it is of.

    Raises:
        OSError: it cannot be written.
    """
    path = path_of(file)
    about, found, ap = (certificate[name] for name in ("about", "detections", "ap"))
    numbers = [] if ap is None else [(n, ap["network"][n], ap["file"][n]) for n, _ in NUMBERS]
    heading, *rows = lines(certificate)
    contents = {
        "title": f"Certificate of {certificate['file']}",
        "doubts": [],
        "ok": certificate["ok"],
        "heading": heading,
        "rows": rows,
        "detections": [
            ("found by both", f"{found['matched']:,}"),
            ("by the network alone", f"{found['network_only']:,}"),
            ("by the file alone", f"{found['file_only']:,}"),
        ],
        "numbers": numbers,
        "data": ap and ap["data"],
        "made": [
            ("file", certificate["file"]),
            ("SHA-256", certificate["sha256"]),
            ("run by", certificate["runtime"]),
            ("model", about["model"]),
            ("image size", " x ".join(map(str, about["image_size"]))),
            ("batch", about["batch"]),
            ("activations", about["dtype"]),
            ("images", f"{about['pixels']}, {about['layout']}"),
            ("NMS", "inside" if about["nms"] else "outside"),
            ("pictures", _names(list(certificate["canvases_sha256"]))),
            ("licence of the weights", about["licence"]),
            *described(certificate["stamp"]),
        ],
    }
    with whole_file(path) as temporary:
        temporary.write_text(render("certificate.html", contents))
    return path


def _names(pictures: list[str]) -> str:
    """Their number and names; of many the first and the last, for the JSON has all."""
    shown = pictures if len(pictures) <= MOST_NAMES else [*pictures[:3], "...", pictures[-1]]
    return f"{len(pictures)}: {', '.join(shown)}"
