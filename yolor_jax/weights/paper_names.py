"""Names of the original's second form: one number for each block, ``model.<i>.cv1.conv.weight``.

Its state dicts also hold constants: anchors, and the filters of the wavelet transform.
"""

from collections.abc import Callable, Iterator

import numpy as np

from yolor_jax.models.spec import ModelSpec

UNIT = {
    "conv.weight": ("params", "conv/kernel"),
    "bn.weight": ("params", "bn/scale"),
    "bn.bias": ("params", "bn/bias"),
    "bn.running_mean": ("batch_stats", "bn/mean"),
    "bn.running_var": ("batch_stats", "bn/var"),
}
BARE = {"weight": ("params", "conv/kernel")}
NORM = {name.removeprefix("bn."): ours for name, ours in UNIT.items() if name.startswith("bn.")}
PREDICTION = BARE | {"bias": ("params", "conv/bias")}

BOTTLENECK = {"cv1": "reduce", "cv2": "expand"}
BACKBONE_CSP = {"cv1": "enter", "cv4": "merge"}
NECK_CSP = {"cv1": "enter", "cv3": "merge"}
SPP = {
    "cv1": "enter",
    "cv3": "mix",
    "cv4": "squeeze",
    "cv5": "bottleneck0/reduce",
    "cv6": "bottleneck0/expand",
    "cv7": "merge",
}
CSP_DOWN = {"cv1": "mix", "cv2": "stride", "cv3": "pooled"}

# Module name in the original, path of ours, and the tensors in both.
Module = tuple[str, str, dict[str, tuple[str, str]]]


def paper_names(spec: ModelSpec) -> dict[str, tuple[str, str]]:
    """The original's tensor names of a model to (collection, path) in our variables."""
    names = {}
    for number, (block, path) in enumerate(_blocks(spec)):
        for theirs, ours, tensors in block(spec, path):
            module = ".".join(part for part in ("model", str(number), theirs) if part)
            for tensor, (collection, leaf) in tensors.items():
                names[f"{module}.{tensor}"] = (collection, f"{ours}/{leaf}")
    return names


def paper_constants(spec: ModelSpec) -> dict[str, np.ndarray]:
    """The tensors of a state dict that are no parameters: anchors, and filters of the wavelet."""
    head = f"model.{sum(1 for _ in _blocks(spec)) - 1}"
    pixels = np.asarray(spec.anchors, np.float32)  # [L, A, 2]
    strides = np.asarray(spec.strides, np.float32)[:, None, None]
    constants = {
        f"{head}.anchors": pixels / strides,
        f"{head}.anchor_grid": pixels[:, None, :, None, None],
    }
    half = np.float32(np.sqrt(0.5))
    for number, step in enumerate(spec.stem):
        if step == "haar_wavelet":
            for name, second in (("h0", half), ("h1", -half)):
                taps = np.array([half, second])
                constants[f"model.{number}.xfm.{name}_col"] = taps.reshape(1, 1, 2, 1)
                constants[f"model.{number}.xfm.{name}_row"] = taps.reshape(1, 1, 1, 2)
    return constants


def _blocks(spec: ModelSpec) -> Iterator[tuple[Callable[[ModelSpec, str], Iterator[Module]], str]]:
    """For each of the original's blocks in order, what lists its modules, and our path of it."""
    nothing = (_without_parameters, "")
    yield from [nothing] * len(spec.stem)
    if spec.stem_width:
        yield _unit, "backbone/stem"
    for i, stage in enumerate(spec.stages, start=1):
        if stage.down:
            yield _down, f"backbone/stage{i}/down"
        yield _backbone_csp, f"backbone/stage{i}/csp"
    yield _spp, "neck/spp"
    top = len(spec.neck_widths) - 1
    for i in reversed(range(top)):
        yield _unit, f"neck/topdown{i}/reduce"
        yield nothing  # upsampling
        yield _unit, f"neck/topdown{i}/lateral"
        yield nothing  # concatenation
        yield _neck_csp, f"neck/topdown{i}/csp"
    yield _unit, "neck/output0"
    for i in range(1, top + 1):
        yield _down, f"neck/bottomup{i}/down"
        yield nothing  # concatenation
        yield _neck_csp, f"neck/bottomup{i}/csp"
        yield _unit, f"neck/output{i}"
    yield _heads, "head"


def _without_parameters(spec: ModelSpec, path: str) -> Iterator[Module]:
    yield from ()


def _unit(spec: ModelSpec, path: str) -> Iterator[Module]:
    yield "", path, UNIT


def _units(path: str, names: dict[str, str]) -> Iterator[Module]:
    for theirs, ours in names.items():
        yield theirs, f"{path}/{ours}", UNIT


def _joint(path: str) -> Iterator[Module]:
    yield "cv2", f"{path}/shortcut", BARE
    yield "bn", f"{path}/join", NORM


def _bottlenecks(path: str, repeats: int) -> Iterator[Module]:
    for i in range(repeats):
        for theirs, ours, tensors in _units(f"{path}/bottleneck{i}", BOTTLENECK):
            yield f"m.{i}.{theirs}", ours, tensors


def _down(spec: ModelSpec, path: str) -> Iterator[Module]:
    yield from _units(path, CSP_DOWN) if spec.down == "csp" else _unit(spec, path)


def _backbone_csp(spec: ModelSpec, path: str) -> Iterator[Module]:
    stage = spec.stages[int(path.split("/")[1].removeprefix("stage")) - 1]
    yield from _units(path, BACKBONE_CSP)
    yield from _joint(path)
    if spec.csp_leave:
        yield "cv3", f"{path}/leave", BARE
    yield from _bottlenecks(path, stage.repeats)


def _neck_csp(spec: ModelSpec, path: str) -> Iterator[Module]:
    yield from _units(path, NECK_CSP)
    yield from _joint(path)
    yield from _bottlenecks(path, spec.neck_repeats)


def _spp(spec: ModelSpec, path: str) -> Iterator[Module]:
    yield from _units(path, SPP)
    yield from _joint(path)


def _heads(spec: ModelSpec, path: str) -> Iterator[Module]:
    for i in range(len(spec.neck_widths)):
        level = f"{path}/level{i}"
        yield f"m.{i}", level, PREDICTION
        if spec.implicit.alignment:
            yield f"ia.{i}", level, {"implicit": ("params", "implicit_before/z")}
        if spec.implicit.refinement:
            yield f"im.{i}", level, {"implicit": ("params", "implicit_after/z")}
