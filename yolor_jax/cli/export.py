"""Export a network for other runtimes, with a certificate that it finds the same boxes.

Writes the folded network to one file: ONNX for onnxruntime and others, StableHLO for JAX without
this package on CPU, CUDA and TPU; or to a folder, a SavedModel for TensorFlow. It describes itself:
class names, letterbox, strides, thresholds, licence, and who made it.

    yolor export runs/quickstart --format onnx --output quickstart.onnx
    yolor export csp.safetensors --format onnx --batch dynamic --nms inside --verify photos/
    yolor export csp.safetensors --format stablehlo --dtype bfloat16 --verify --data data/coco
    yolor export csp.safetensors --format onnx --dtype int8 --calibrate photos/ --verify others/
    yolor export csp.safetensors --format savedmodel --environment ~/tf --verify photos/

--verify runs the file by its own runtime on pictures and compares it with the network at four
borders; the certificate lies beside the file, as JSON and as a page. Exit code 1: a tolerance is
missed.
"""

import argparse
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import add_step_argument, any_path, local_path
from yolor_jax.cli.output import weights_file
from yolor_jax.errors import InputError
from yolor_jax.exports import SUFFIXES
from yolor_jax.progress import to_stderr
from yolor_jax.table import text_table

if TYPE_CHECKING:
    import numpy as np

    from yolor_jax.exports.exported import Exported
    from yolor_jax.inference.prediction import NmsConfig
    from yolor_jax.paths import Path
    from yolor_jax.runs.certification import Picture
    from yolor_jax.runs.recipe import Recipe
    from yolor_jax.runs.trained import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor export``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="CHECKPOINT", help="workdir of a run, or a file"
    )
    parser.add_argument("--format", choices=SUFFIXES, required=True, help="of the file")
    parser.add_argument(
        "--output", type=any_path, metavar="FILE", help="the file (MODEL-SIZE with its ending)"
    )
    add_step_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--licence", metavar="TEXT", help="of the weights; written into the file")
    parser.add_argument(
        "--environment", type=local_path, metavar="FOLDER",
        help="for savedmodel, where TensorFlow is not installed: a virtual environment with it, "
        "which is made by pip if it is not there, and in which this command then runs",
    )  # fmt: skip
    form = parser.add_argument_group("form of the file")
    form.add_argument(
        "--image-size", type=_size, metavar="N|HxW", help="pixels (those of the training)"
    )
    form.add_argument(
        "--batch", type=_batch, default=1, metavar="N|dynamic",
        help="images that go through together; dynamic: any number (%(default)s)",
    )  # fmt: skip
    form.add_argument(
        "--nms", choices=("none", "inside"), default="none",
        help="all boxes, or detections alone (%(default)s)",
    )  # fmt: skip
    form.add_argument("--score", type=float, default=0.25, help="of NMS (%(default)s)")
    form.add_argument("--iou", type=float, default=0.45, help="of NMS (%(default)s)")
    form.add_argument("--max", type=int, default=300, help="boxes of an image (%(default)s)")
    form.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16", "int8"), default="float32",
        help="of activations and weights (%(default)s)",
    )  # fmt: skip
    form.add_argument(
        "--calibrate", metavar="FOLDER",
        help="for int8: pictures that show its ranges, best of the training data",
    )  # fmt: skip
    form.add_argument(
        "--layout", choices=("nhwc", "nchw"), default="nhwc", help="of images (%(default)s)"
    )
    form.add_argument(
        "--pixels", choices=("uint8", "float32"), default="uint8",
        help="images of 0..255 or 0..1 (%(default)s)",
    )  # fmt: skip
    form.add_argument(
        "--detection-only", action="store_true", help="leave out what it does beside detection"
    )
    certificate = parser.add_argument_group("certificate")
    certificate.add_argument(
        "--verify", nargs="?", const="", metavar="FOLDER",
        help="compare the file with the network on these pictures, or on painted ones",
    )  # fmt: skip
    certificate.add_argument(
        "--data", metavar="FOLDER", help="with --verify: compare AP on this data set too"
    )
    certificate.add_argument("--split", metavar="NAME", help="of the data set")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor export``.

    Returns:
        0; 1 if the certificate misses a tolerance.

    Raises:
        InputError: no such checkpoint, or what is asked for does not fit the network or the format.
        ImportError: the library of the format is not installed.
    """
    if args.format == "savedmodel" and (code := _elsewhere(args)) is not None:
        return code
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.inference.prediction import NmsConfig
    from yolor_jax.reports import certificate_page
    from yolor_jax.runs import certification
    from yolor_jax.runs.opening import load

    if args.data is not None and args.verify is None:
        raise InputError("--data compares AP for the certificate; add --verify")
    if args.split is not None and args.data is None:
        raise InputError("--split is of the data set; add --data FOLDER")
    quiet_libraries()
    use_compilation_cache()
    trained = load(args.checkpoint, args.step)
    size = args.image_size or (trained.image_size, trained.image_size)
    output = weights_file(
        args.output or _default_output(trained, size, args),
        overwrite=args.overwrite,
        suffix=SUFFIXES[args.format],
        folder=args.format == "savedmodel",
    )
    nms = NmsConfig(args.score, args.iou, max_detections=args.max)
    # All before anything is written.
    pictures = _pictures(args)
    calibration = _calibration(args)
    recipe = None if args.data is None else _recipe(args, trained, size)
    file = trained.export(
        output,
        image_size=size,
        batch=args.batch,
        nms=nms if args.nms == "inside" else None,
        dtype=args.dtype,
        layout=args.layout,
        pixels=args.pixels,
        licence=args.licence,
        detection_only=args.detection_only,
        calibration=calibration,
    )
    for beside in (certification, certificate_page):
        beside.path_of(output).unlink(missing_ok=True)  # it was of the file that is replaced
    print(f"wrote {output}, {_size_bytes(output) / 1e6:.1f} MB, for {file.runtime}")
    if pictures is None:
        print("no certificate: --verify FOLDER compares it with the network on pictures")
        return 0
    return _verify(trained, file, nms, pictures, recipe)


def _elsewhere(args: argparse.Namespace) -> int | None:
    """The exit code of this command in the environment that was named; None to go on here."""
    if importlib.util.find_spec("tensorflow") is not None:
        return None
    if args.environment is None:
        raise InputError(
            "a SavedModel is written by TensorFlow, which is not installed: pip install "
            "'yolor-jax[tf]', or add --environment FOLDER, in which this command makes a virtual "
            "environment with it and runs"
        )
    from yolor_jax.cli import environment

    if environment.is_this(args.environment):
        raise InputError(f"{args.environment} lacks TensorFlow; delete it, and it is made anew")
    from yolor_jax.runs.opening import load_meta

    load_meta(args.checkpoint, args.step)  # whether there is one, before gigabytes are installed
    return environment.run_in(args.environment, "tf", args.words)


def _size_bytes(output: "Path") -> int:
    """Of a file, or of all in a folder."""
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files if file.is_file())


def _verify(
    trained: "Trained",
    file: "Exported",
    nms: "NmsConfig",
    pictures: "Iterator[Picture]",
    recipe: "Recipe | None",
) -> int:
    """Makes the certificate, prints it and writes it; the exit code."""
    from yolor_jax.reports.certificate_page import write_page
    from yolor_jax.runs import certification

    certificate = certification.certify(
        trained, file, pictures, nms=nms, recipe=recipe, progress=True
    )
    path = certification.write(certificate, file.path)
    page = write_page(certificate, file.path)
    print(text_table(certification.lines(certificate), left=(0, 3, 5)))
    if certificate["ap"] is not None:
        network, exported = (certificate["ap"][side]["AP"] for side in ("network", "file"))
        print(f"AP of the network {_percent(network)}, of the file {_percent(exported)}")
    print(f"certificate: {path} and {page}")
    return 0 if certificate["ok"] else 1


def _pictures(args: argparse.Namespace) -> "Iterator[Picture] | None":
    """What the certificate looks at; None for no certificate."""
    from yolor_jax.runs import certification

    if args.verify is None:
        return None
    return (
        certification.pictures_of(args.verify, say=to_stderr)
        if args.verify
        else certification.painted_pictures()
    )


def _calibration(args: argparse.Namespace) -> "Iterator[np.ndarray] | None":
    """Pixels of the pictures that show the ranges of int8; None for other dtypes."""
    from yolor_jax.runs import certification

    if (args.dtype == "int8") != (args.calibrate is not None):
        raise InputError(
            "--dtype int8 and --calibrate FOLDER go together, for pictures show the ranges of "
            f"integers; got --dtype {args.dtype} "
            f"{'without' if args.calibrate is None else 'with'} --calibrate"
        )
    if args.calibrate is None:
        return None
    pictures = certification.pictures_of(args.calibrate, "--calibrate", to_stderr)
    return (image for _, image in pictures)


def _recipe(args: argparse.Namespace, trained: "Trained", size: tuple[int, int]) -> "Recipe":
    """Of the evaluation, on data that can be opened and have the classes of the network."""
    from yolor_jax.runs import evaluation, exported, recipe_files, sources

    exported.require_square(size)
    recipe = evaluation.of_network(recipe_files.defaults(), trained)
    recipe = evaluation.on(recipe, data=args.data, split=args.split)
    source = sources.open_split(recipe.data, recipe.data.eval_split, progress=True)
    evaluation.require_classes(source, trained.class_names)
    return recipe


def _default_output(trained: "Trained", size: tuple[int, int], args: argparse.Namespace) -> "Path":
    """``yolor_csp-640.onnx``, in the current folder."""
    height, width = size
    sides = f"{height}" if height == width else f"{height}x{width}"
    return any_path(f"{trained.meta['model']}-{sides}{SUFFIXES[args.format]}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(
            f"got {text}, expected pixels as N or HxW: height and width are fixed in a file, only "
            "the batch may be dynamic"
        )
    return int(sides[0]), int(sides[-1])


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number from 1 on, or dynamic")
    return int(text)
