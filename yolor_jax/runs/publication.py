"""A network for others: its weights and a model card, on the Hugging Face Hub.

    publish(user_path("runs/csp"), hub.parse("hf://ORG/NAME"), licence="apache-2.0", private=True)

The card says what the network is, how to use it, what it was trained on and how, what it scores and
with which thresholds, who made it, and under which licence. What is not known is not said.
"""

import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import NUMBERS
from yolor_jax.paths import Path
from yolor_jax.runs import evaluation_folder
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.opening import load
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.trained import Trained
from yolor_jax.stamp import STAMPS, described
from yolor_jax.weights import hub
from yolor_jax.weights.store import save_variables

CARD = "README.md"


def publish(
    path: Path,
    address: hub.Address,
    *,
    licence: str,
    private: bool,
    step: int | str | None = None,
    certificate: pathlib.Path | None = None,
) -> str:
    """Puts a network and its card into a repository, which is made if it is not there.

    Args:
        path: workdir of a run, or a file of weights.
        address: of the repository.
        licence: of the weights, as the hub names it, such as ``apache-2.0``.
        private: whether a repository that is made is one.
        step: of a run's checkpoint, as of `load`.
        certificate: a text that says how exact the weights are; goes along, and into the card.

    Returns:
        The address of the commit in a browser.

    Raises:
        InputError: the network cannot be read, or the repository not be written to.
        OSError: no network, or a file cannot be read.
        ImportError: huggingface_hub is not installed.
    """
    if address.file != hub.FILE:
        raise InputError(
            f"got {address}/{address.file}; expected hf://ORG/NAME, for the weights become "
            f"{hub.FILE} of a repository"
        )
    trained = load(path, step)
    said = None if certificate is None else _read(certificate)
    with tempfile.TemporaryDirectory() as folder:
        weights, readme = pathlib.Path(folder, hub.FILE), pathlib.Path(folder, CARD)
        save_variables(weights, trained.variables, trained.meta)
        readme.write_text(
            card(trained, address, licence, recipe_of(path), numbers_of(path, trained), said)
        )
        files = {hub.FILE: weights, CARD: readme}
        if certificate is not None:
            files[f"certificate{certificate.suffix}"] = certificate
        message = f"{trained.meta['model']}, step {trained.meta.get('step', 'unknown')}"
        return hub.push(address, files, private=private, message=message)


def recipe_of(path: Path) -> Recipe | None:
    """How a run was trained; None of a file."""
    with bucket.as_os_error(path):
        is_file = path.is_file()
    return None if is_file else recipes.load(path)


def numbers_of(path: Path, trained: Trained) -> list[Mapping[str, Any]]:
    """The records of all evaluations of this very step, as `yolor eval` left them."""
    root = evaluation_folder.root_of(path)
    with bucket.as_os_error(root):
        folders = sorted(root.iterdir()) if root.is_dir() else []
    whole = [folder for folder in folders if (folder / evaluation_folder.RECORD).is_file()]
    records = [evaluation_folder.read(folder) for folder in whole]
    return [
        record
        for record in records
        if record.get("step") == trained.meta.get("step")
        and not (record.get("mode") or {}).get("runtime")  # of an exported file
    ]


def card(
    trained: Trained,
    address: hub.Address,
    licence: str,
    recipe: Recipe | None,
    numbers: Sequence[Mapping[str, Any]],
    certificate: str | None,
) -> str:
    """The model card, in Markdown with the head that the hub reads.

    Args:
        trained: the network.
        address: where it will be.
        licence: of the weights.
        recipe: it was trained by; None if nobody knows.
        numbers: records of its evaluations.
        certificate: how exact the weights are; None if nobody has looked.
    """
    meta = trained.meta
    head = {
        "license": licence,
        "library_name": "yolor-jax",
        "pipeline_tag": "object-detection",
        "tags": ["yolor", "jax", "flax"],
    }
    count = sum(leaf.size for leaf in jax.tree.leaves(trained.variables["params"]))
    step = f", step {meta['step']:,}" if meta.get("step") is not None else ""
    parts = [
        "---\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in head.items()) + "---",
        f"# {address.repository.partition('/')[2]}",
        f"{meta['model']}{', folded' if trained.fused else ''}{step}: {count:,} parameters, "
        f"{meta['num_classes']} classes, images of {meta['image_size']} pixels.",
        f"```\npip install 'yolor-jax[hub]'\nyolor detect IMAGE... --checkpoint {address}\n```",
        f"```python\nimport yolor_jax\n\nfound = yolor_jax.load({json.dumps(str(address))})"
        '.predict("photo.jpg")\n```',
        "## Classes\n\n" + ", ".join(trained.class_names),
        *([] if recipe is None else ["## Data and recipe\n\n" + _table(_training(recipe))]),
        "## Numbers\n\n" + _numbers(numbers, recipe),
        *(
            []
            if certificate is None
            else ["## Certificate\n\n```\n" + certificate.strip() + "\n```"]
        ),
        f"## Licence\n\nThe weights: {licence}.",
    ]
    if stamps := meta.get(STAMPS):
        parts.append("## Made by\n\n" + "\n\n".join(_table(described(one)) for one in stamps))
    return "\n\n".join(parts) + "\n"


def _training(recipe: Recipe) -> list[tuple[str, str]]:
    """What decides a training, in words."""
    return [
        ("data", pathlib.PurePath(recipe.data.path).name),
        ("split", recipe.data.train_split),
        ("started from", pathlib.PurePath(recipe.init).name if recipe.init else "nothing"),
        ("epochs", f"{recipe.epochs:g}"),
        ("images of a step", str(recipe.batch_size)),
        ("pixels", str(recipe.image_size)),
        ("activations", "bfloat16" if recipe.bfloat16 else "float32"),
        ("seed", str(recipe.seed)),
    ]


def _numbers(records: Sequence[Mapping[str, Any]], recipe: Recipe | None) -> str:
    """COCO's numbers of each evaluation, with what they depend on."""
    if not records:
        return "None are known: `yolor eval` was not run on this checkpoint."
    parts = []
    if recipe is not None:
        nms = recipe.eval.nms
        parts.append(
            f"Boxes with a score above {nms.score_threshold:g}, NMS at IoU {nms.iou_threshold:g}, "
            f"{nms.max_detections} boxes of an image at most."
        )
    for record in records:
        shown = [name for name, _ in NUMBERS if record["metrics"].get(name) is not None]
        rows = [(name, f"{100 * record['metrics'][name]:.1f}") for name in shown]
        parts += [" · ".join(evaluation_folder.facts(record)) + ":", _table(rows)]
    return "\n\n".join(parts)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = [(name, value.replace("|", r"\|")) for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in cells)])


def _read(certificate: pathlib.Path) -> str:
    try:
        return certificate.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{certificate} is no text in UTF-8: {error}") from error
