"""The parity certificate: how far a network is from outputs that the original gave.

    reference = read_reference("reference.npz")
    rows = certify(build("yolor_p6"), variables, reference, tolerance=1e-4)
    print(format_certificate(rows))
    assert all(row.ok for row in rows)

A reference is made where the original runs, on its CPU or with TF32 switched off:

    images = torch.rand(1, 3, 640, 640)
    with torch.no_grad():
        decoded, levels = model.float().eval()(images)[:2]
    arrays = {f"level{i}": level.numpy() for i, level in enumerate(levels)}
    np.savez("reference.npz", images=images.numpy(), decoded=decoded.numpy(), **arrays)
"""

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax.detection.decode import decode
from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector, require_multiple
from yolor_jax.models.fold import fold
from yolor_jax.table import text_table
from yolor_jax.weights.foreign import WeightsError, naming

BOX_PIXELS, BOX_SHARE = 100, 0.1
"""Tolerance of a box in pixels: tolerance * (BOX_PIXELS + BOX_SHARE * abs(coordinate))."""


class Row(NamedTuple):
    """One output of one network against the reference.

    Attributes:
        network: "trained" or "folded".
        output: "level0" and so on; "boxes" and "scores" are `decoded[..., :4]` and ``[..., 4:]``.
        max_error: largest absolute difference; NaN if the network gives NaN.
        mean_error: mean absolute difference.
        reference_std: standard deviation of the reference.
        excess: largest ratio of a difference to what is allowed there; at most 1 if all is well.
        worst: index of that difference in the output, in the reference's layout.
        got: what the network has there.
        expected: what the reference has there.
    """

    network: str
    output: str
    max_error: float
    mean_error: float
    reference_std: float
    excess: float
    worst: tuple[int, ...]
    got: float
    expected: float

    @property
    def ok(self) -> bool:
        """Within the tolerance everywhere."""
        return self.excess <= 1


def read_reference(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Raises:
        WeightsError: it is damaged or another kind of file.
        OSError: it cannot be opened.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file, naming(path):
        try:
            archive = np.load(file)
            return {name: archive[name] for name in archive.files}
        except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise WeightsError(
                f"is no whole .npz of plain arrays ({str(error)[:100]!a}); write it with "
                "numpy.savez and the arrays images, level0, level1, ..."
            ) from error


def certify(
    module: Detector,
    variables: Mapping,
    reference: Mapping[str, np.ndarray],
    tolerance: float,
) -> list[Row]:
    """Compares a network, and the same folded, with outputs of the original.

    Args:
        module: not fused.
        variables: of the module.
        reference: ``images`` ``[B, 3, H, W]``, RGB in 0..1; ``level0`` and so on, the logits
            ``[B, A, h, w, 5 + K]``; if it has been kept, ``decoded`` ``[B, N, 5 + K]`` with
            centre and size in pixels, N over levels, anchors, y, x.
        tolerance: largest allowed difference of a logit or a score; for boxes see `BOX_PIXELS`
            (1e-4 allows 0.01 pixels and 1e-5 of the coordinate).

    Returns:
        A row for each output, of the network as trained and folded.

    Raises:
        InputError: the reference does not fit the model; lists what differs.
    """
    _check(module, reference)
    images = jnp.asarray(reference["images"], jnp.float32).transpose(0, 2, 3, 1)
    rows = []
    with jax.default_matmul_precision("highest"):  # GPUs and TPUs round to fewer bits otherwise
        for network, fused in (("trained", False), ("folded", True)):
            apply = jax.jit(module.clone(fused=fused).apply)
            tree = fold(module.spec, variables) if fused else variables
            outputs = _in_layout_of_reference(module, apply(tree, images).detect)
            rows += _rows(network, outputs, reference, tolerance)
    return rows


def format_certificate(rows: list[Row]) -> str:
    """The rows as a table of text."""
    heading = ("network", "output", "max error", "mean error", "std of reference", "")
    lines = [heading] + [
        (
            row.network,
            row.output,
            f"{row.max_error:.2e}",
            f"{row.mean_error:.2e}",
            f"{row.reference_std:.3g}",
            "ok" if row.ok else "NOT ok",
        )
        for row in rows
    ]
    return text_table(lines, left=(0, 1, 5))


def _check(module: Detector, reference: Mapping[str, np.ndarray]) -> None:
    """Raises an InputError that lists all that is wrong with a reference."""
    images = reference.get("images", np.zeros(0))
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype.kind != "f" or not images.size:
        got = f"{images.dtype}{list(images.shape)}" if "images" in reference else "none"
        raise InputError(f"the reference needs images, float32 [B, 3, H, W]; got {got}")
    low, high = images.min(), images.max()
    if not 0 <= low <= high <= 1:
        raise InputError(f"images of the reference go from {low} to {high}; expected 0 to 1")
    require_multiple(images.shape[2:], module.spec.strides[-1])
    expected = _reference_shapes(module, images.shape)
    required = expected.keys() - {"decoded"}
    wrong = [f"{name} is missing" for name in sorted(required - reference.keys())]
    wrong += [f"{name} is unused" for name in sorted(reference.keys() - expected.keys())]
    for name in expected.keys() & reference.keys():
        array = reference[name]
        if array.shape != expected[name] or array.dtype.kind != "f":
            wrong.append(
                f"{name} is {array.dtype}{list(array.shape)}, "
                f"expected float32{list(expected[name])}"
            )
        elif not np.isfinite(array).all():
            wrong.append(f"{name} has infinite values or NaN")
    if wrong:
        raise InputError(
            f"the reference does not fit {module.spec.name} with {module.num_classes} classes: "
            + "; ".join(sorted(wrong))
        )


def _reference_shapes(module: Detector, images: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes that the arrays of a reference must have."""
    batch, _, height, width = images
    anchors, outputs = len(module.spec.anchors[0]), 5 + module.num_classes
    cells = [(height // stride, width // stride) for stride in module.spec.strides]
    predictions = sum(anchors * h * w for h, w in cells)
    levels = {f"level{i}": (batch, anchors, h, w, outputs) for i, (h, w) in enumerate(cells)}
    return {"images": images, **levels, "decoded": (batch, predictions, outputs)}


def _in_layout_of_reference(
    module: Detector, logits: tuple[jax.Array, ...]
) -> dict[str, np.ndarray]:
    """Logits by level, and all predictions decoded."""
    outputs, decoded = {}, []
    for i, level in enumerate(logits):
        stride, anchors = module.spec.strides[i], module.spec.anchors[i]
        outputs[f"level{i}"] = np.moveaxis(np.asarray(level), 3, 1)  # [B, A, h, w, 5 + K]
        parts = decode((level,), anchors=(anchors,), strides=(stride,))
        cells = [np.asarray(part).reshape(*level.shape[:4], -1) for part in parts]
        rows = np.moveaxis(np.concatenate(cells, axis=-1), 3, 1)
        decoded.append(rows.reshape(len(rows), -1, rows.shape[-1]))
    return {**outputs, "decoded": np.concatenate(decoded, axis=1)}


def _rows(
    network: str,
    outputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    tolerance: float,
) -> list[Row]:
    rows = []
    for name in (name for name in outputs if name != "decoded"):
        rows.append(_row(network, name, outputs[name], reference[name], tolerance))
    if "decoded" in reference:
        got, expected = outputs["decoded"], np.asarray(reference["decoded"], np.float64)
        boxes = expected[..., :4]
        allowed = tolerance * (BOX_PIXELS + BOX_SHARE * np.abs(boxes))
        rows.append(_row(network, "boxes", got[..., :4], boxes, allowed))
        rows.append(_row(network, "scores", got[..., 4:], expected[..., 4:], tolerance))
    return rows


def _row(
    network: str,
    output: str,
    got: np.ndarray,
    expected: np.ndarray,
    allowed: float | np.ndarray,
) -> Row:
    expected = np.asarray(expected, np.float64)
    errors = np.abs(np.asarray(got, np.float64) - expected)
    excess = np.nan_to_num(errors / allowed, nan=np.inf, posinf=np.inf)
    worst = np.unravel_index(excess.argmax(), excess.shape)
    return Row(
        network,
        output,
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        reference_std=float(expected.std()),
        excess=float(excess[worst]),
        worst=tuple(map(int, worst)),
        got=float(got[worst]),
        expected=float(expected[worst]),
    )
