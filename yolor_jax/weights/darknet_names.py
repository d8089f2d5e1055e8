"""Names of the original's first form: one number for each section, ``module_list.<i>``.

It counts every section of a configuration file, those without parameters (routes, sums, pools)
included. `darknet_sections` walks a model in that order and says which of our units stands at each
number.

    darknet_names(MODELS["yolor_csp"])["module_list.0.Conv2d.weight"]
    # ("params", "backbone/stem/conv/kernel")
"""

from collections.abc import Iterator

from yolor_jax.models.spec import ModelSpec

PARTS = {
    "Conv2d.weight": ("params", "conv/kernel"),
    "BatchNorm2d.weight": ("params", "bn/scale"),
    "BatchNorm2d.bias": ("params", "bn/bias"),
    "BatchNorm2d.running_mean": ("batch_stats", "bn/mean"),
    "BatchNorm2d.running_var": ("batch_stats", "bn/var"),
}
HEAD_PARTS = {
    "Conv2d.weight": ("params", "conv/kernel"),
    "Conv2d.bias": ("params", "conv/bias"),
}

NO_UNIT = None  # a section without parameters


def darknet_sections(spec: ModelSpec) -> Iterator[str | None]:
    """Our unit paths in the order of the original's sections; None for one without parameters.

    An implicit is named by the path of its unit and its place, ``head/level0/implicit_before``.
    """
    yield from [NO_UNIT] * len(spec.stem)
    yield "backbone/stem"
    for i, stage in enumerate(spec.stages, start=1):
        path = f"backbone/stage{i}"
        if stage.down:
            yield f"{path}/down"
        if stage.csp:
            yield from _csp(f"{path}/csp", stage.repeats, spec.csp_leave)
        else:
            yield from _bottlenecks(path, stage.repeats, residual=True)
    yield from _spp("neck/spp", spec.spp_repeats)
    yield from _pyramid(spec)
    yield from _heads(spec)


def _bottlenecks(path: str, repeats: int, *, residual: bool) -> Iterator[str | None]:
    for i in range(repeats):
        yield f"{path}/bottleneck{i}/reduce"
        yield f"{path}/bottleneck{i}/expand"
        if residual:
            yield NO_UNIT  # the sum


def _csp(path: str, repeats: int, leave: bool) -> Iterator[str | None]:
    yield f"{path}/shortcut"
    yield NO_UNIT  # route to the input
    yield f"{path}/enter"
    yield from _bottlenecks(path, repeats, residual=True)
    if leave:
        yield f"{path}/leave"
    yield NO_UNIT  # concatenation
    yield f"{path}/merge"


def _neck_csp(path: str, repeats: int) -> Iterator[str | None]:
    yield f"{path}/enter"
    yield f"{path}/shortcut"
    yield NO_UNIT  # route to `enter`
    yield from _bottlenecks(path, repeats, residual=False)
    yield NO_UNIT  # concatenation
    yield f"{path}/merge"


def _spp(path: str, repeats: int) -> Iterator[str | None]:
    yield f"{path}/shortcut"
    yield NO_UNIT  # route to the input
    yield from (f"{path}/{unit}" for unit in ("enter", "mix", "squeeze"))
    yield from [NO_UNIT] * 6  # pool 5, route, pool 9, route, pool 13, concatenation
    yield from _bottlenecks(path, repeats, residual=False)
    yield NO_UNIT  # concatenation
    yield f"{path}/merge"


def _pyramid(spec: ModelSpec) -> Iterator[str | None]:
    levels = range(len(spec.neck_widths))
    for i in reversed(levels[:-1]):
        yield f"neck/topdown{i}/reduce"
        yield from [NO_UNIT] * 2  # upsampling, route to the backbone
        yield f"neck/topdown{i}/lateral"
        yield NO_UNIT  # concatenation
        yield from _neck_csp(f"neck/topdown{i}/csp", spec.neck_repeats)
    for i in levels[1:]:
        yield f"neck/bottomup{i}/down"
        yield NO_UNIT  # concatenation
        yield from _neck_csp(f"neck/bottomup{i}/csp", spec.neck_repeats)


def _heads(spec: ModelSpec) -> Iterator[str | None]:
    levels = range(len(spec.neck_widths))
    alignment, refinement = spec.implicit.alignment, spec.implicit.refinement
    places = ["implicit_before"] * bool(alignment) + ["implicit_after"] * bool(refinement)
    for place in places:
        yield from (f"head/level{i}/{place}" for i in levels)
    for i in levels:
        yield NO_UNIT  # route to the level
        yield f"neck/output{i}"
        if alignment:
            yield NO_UNIT
        yield f"head/level{i}"
        if refinement:
            yield NO_UNIT
        yield NO_UNIT  # the detection layer


def darknet_names(spec: ModelSpec) -> dict[str, tuple[str, str]]:
    """The original's tensor names of a model to (collection, path) in our variables."""
    names = {}
    for i, unit in enumerate(darknet_sections(spec)):
        if unit is NO_UNIT:
            continue
        section = f"module_list.{i}"
        if "implicit" in unit:
            names[f"{section}.implicit"] = ("params", f"{unit}/z")
            continue
        parts = HEAD_PARTS if unit.startswith("head/") else PARTS
        for theirs, (collection, ours) in parts.items():
            names[f"{section}.{theirs}"] = (collection, f"{unit}/{ours}")
    return names
