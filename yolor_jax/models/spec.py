"""A model is data: one frozen `ModelSpec` holds all that distinguishes it from its relatives."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.nn.activations import ACTIVATIONS
from yolor_jax.nn.implicit import MODELLINGS, Modelling
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.nn.resample import TO_CHANNELS

DOWN = ("conv", "csp")
TASKS = ("classify", "embed")
Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of the backbone: down-sampling by two, then a block.

    Attributes:
        width: output channels.
        repeats: number of residual bottlenecks.
        csp: the bottlenecks work on one half of the channels (`nn.blocks.CSP`); otherwise they
            follow each other on all of them.
        down: the stage begins with down-sampling; False where the stem has done it.
    """

    width: int
    repeats: int
    csp: bool = True
    down: bool = True


@dataclasses.dataclass(frozen=True)
class Implicits:
    """Where implicit knowledge stands, and which; None where there is none.

    Attributes:
        pyramid: on every level of the feature pyramid, before its block (both paths).
        branch: at each level's entry to the branch of each task, before its 3x3 convolution, with
            leaves of its own for each: what a task adds to the representation that all share.
        alignment: before each prediction convolution (iFA; scope "anchor": iFA*).
        refinement: behind it (iPR; scope "size": iPR*).
    """

    pyramid: Knowledge | None = None
    branch: Knowledge | None = None
    alignment: Knowledge | None = None
    refinement: Knowledge | None = None

    def __post_init__(self):
        allowed = {
            "pyramid": ("all",),
            "branch": ("all",),
            "alignment": ("all", "anchor"),
            "refinement": ("all", "anchor", "size"),
        }
        for place, scopes in allowed.items():
            knowledge = getattr(self, place)
            if knowledge and knowledge.scope not in scopes:
                raise InputError(
                    f"implicit knowledge at {place!r} has the scope {knowledge.scope!r}; "
                    f"expected {' or '.join(map(repr, scopes))}"
                )
        if self.refinement and self.refinement.operator == "concat":
            raise InputError(
                "a concatenation behind the prediction would change the size of the output; "
                "use 'add' or 'multiply' as refinement"
            )


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """All that distinguishes a model.

    Attributes:
        name: its key in the zoo.
        stages: of the backbone.
        neck_widths: channels of the pyramid levels, finest first. The last ``len(neck_widths)``
            stages feed the pyramid.
        neck_repeats: bottlenecks in each block of the neck.
        anchors: (width, height) in pixels of the network input, by level and anchor.
        stem: steps that turn resolution to channels before the first convolution, keys of
            `nn.resample.TO_CHANNELS`.
        stem_width: output channels of the 3x3 convolution behind them; None for no convolution.
        down: how stages and bottom-up levels halve the resolution: "conv" (3x3, stride 2) or "csp"
            (`nn.resample.CSPDown`).
        csp_leave: a 1x1 convolution ends the processed branch of the backbone's CSP blocks.
        joint_norm: the two branches of a CSP block end without batch norm and activation, which
            come once, behind their concatenation (`nn.blocks.JointNorm`).
        spp_repeats: bottlenecks behind the pools of the SPP block.
        spp_pools_first: the order in its concatenation: [13, 9, 5, x], otherwise [x, 5, 9, 13].
        activation: "silu" or "mish".
        bn_epsilon: of all batch norms.
        bn_momentum: weight of the new batch in the running statistics.
        implicit: where implicit knowledge stands.
        tasks: beyond detection: "classify" (which classes are in the image), "embed" (a vector for
            each cell, by which an object is known again).
        embedding: dimension D of those vectors.
    """

    name: str
    stages: tuple[Stage, ...]
    neck_widths: tuple[int, ...]
    neck_repeats: int
    anchors: Anchors
    stem: tuple[str, ...] = ()
    stem_width: int | None = None
    down: str = "conv"
    csp_leave: bool = True
    joint_norm: bool = False
    spp_repeats: int = 1
    spp_pools_first: bool = True
    activation: str = "silu"
    bn_epsilon: float = 1e-4
    bn_momentum: float = 0.03
    implicit: Implicits = Implicits()
    tasks: tuple[str, ...] = ()
    embedding: int = 128

    def __post_init__(self):
        known = (
            ("task", self.tasks, TASKS),
            ("down", [self.down], DOWN),
            ("activation", [self.activation], tuple(ACTIVATIONS)),
            ("step of the stem", self.stem, tuple(TO_CHANNELS)),
        )
        for what, values, names in known:
            _require_known(what, values, list(names))
        if len(set(self.tasks)) != len(self.tasks) or self.embedding < 1:
            raise InputError(
                f"{self.name} has the tasks {self.tasks} and embedding = {self.embedding}; "
                "expected each task once, and at least one dimension"
            )
        levels, anchors = len(self.neck_widths), [len(level) for level in self.anchors]
        if not 1 <= levels <= len(self.stages) or len(anchors) != levels or len(set(anchors)) != 1:
            raise InputError(
                f"{self.name} has {levels} neck_widths, {len(self.stages)} stages and anchors for "
                f"{len(anchors)} levels ({anchors} each); expected at most as many levels as "
                "stages, and equally many anchors for each"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each pyramid level, finest first."""
        deepest = 2 ** (len(self.stem) + sum(stage.down for stage in self.stages))
        levels = len(self.neck_widths)
        return tuple(deepest // 2 ** (levels - 1 - level) for level in range(levels))

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the original trains such a model on."""
        return 640 if self.strides[-1] <= 32 else 1280

    def knowledge_at(self, path: str) -> Knowledge | None:
        """What stands at the path of an implicit module, such as ``head/level0/implicit_before``.

        The modules of `branch` are ``neck/output<i>/implicit_before`` (detection),
        ``classify/entry/...`` and ``embed/level<i>/entry/...``; those of `pyramid` are in the block
        of their level, ``neck/spp/implicit_before`` and ``neck/<path>/csp/enter/...``.
        """
        if path.startswith(("neck/output", *(f"{task}/" for task in TASKS))):
            return self.implicit.branch
        if path.startswith("head/"):
            after = path.endswith("implicit_after")
            return self.implicit.refinement if after else self.implicit.alignment
        return self.implicit.pyramid if path.startswith("neck/") else None


def with_tasks(spec: ModelSpec, tasks: Any) -> ModelSpec:
    """A model with other tasks beyond detection.

    Args:
        spec: the model.
        tasks: their names, a list or tuple.

    Raises:
        InputError: a task that does not exist, or no list.
    """
    if not isinstance(tasks, list | tuple):
        raise InputError(f"got the tasks {tasks!r}; expected a list such as ['classify']")
    return dataclasses.replace(spec, tasks=tuple(tasks))


def with_implicit(spec: ModelSpec, description: Any) -> ModelSpec:
    """A model with other implicit knowledge, as a recipe describes it.

    Args:
        spec: the model.
        description: by place (`Implicits`) an operator, or a mapping with the fields of
            `Knowledge`, its modelling as ``{"kind": "vector" | "network" | "factorization", ...}``
            or the kind alone. {} for none at all; None keeps what the model has.

    Returns:
        ``with_implicit(spec, {"alignment": "add", "refinement": {"operator": "multiply"}})``.

    Raises:
        InputError: a place, operator, modelling or field that does not exist.
    """
    if description is None:
        return spec
    if not isinstance(description, Mapping):
        raise InputError(
            f"implicit knowledge is {description!r}; expected a mapping such as "
            '{"alignment": "add"}'
        )
    places = [field.name for field in dataclasses.fields(Implicits)]
    _require_known("place of implicit knowledge", description, places)
    implicit = Implicits(**{place: _knowledge(what) for place, what in description.items()})
    return dataclasses.replace(spec, implicit=implicit)


# Type of each field that a recipe may set; a list of whole numbers where it is a tuple.
TYPES = {
    "operator": str,
    "scope": str,
    "std": float,
    "hidden": tuple,
    "nonlinearity": str,
    "prior": int,
    "atoms": int,
    "sparsity": float,
    "nonnegative": bool,
}


def _knowledge(description: Any) -> Knowledge | None:
    if description is None:
        return None
    fields = _fields("implicit knowledge", "operator", description)
    modelling = _modelling(fields.pop("modelling", None) or "vector")
    _require_known("field of implicit knowledge", fields, _names(Knowledge))
    return Knowledge(modelling=modelling, **_typed(fields))


def _modelling(description: Any) -> Modelling:
    fields = _fields("a modelling", "kind", description)
    kind = fields.pop("kind", "vector")
    _require_known("modelling", [kind], list(MODELLINGS))
    _require_known(f"field of the modelling {kind!r}", fields, _names(MODELLINGS[kind]))
    return MODELLINGS[kind](**_typed(fields))


def _fields(what: str, key: str, description: Any) -> dict[str, Any]:
    """A description as a mapping; a string stands for its most important field."""
    if isinstance(description, str):
        return {key: description}
    if not isinstance(description, Mapping):
        raise InputError(
            f"{what} is described by {description!r}; expected its {key}, or a mapping such as "
            f'{{"{key}": ...}}'
        )
    return dict(description)


def _typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in their types; those that are None keep their defaults."""
    typed = {}
    for name, value in fields.items():
        kind = TYPES[name]
        if kind is tuple and isinstance(value, list) and all(type(v) is int for v in value):
            value = tuple(value)
        elif kind is float and type(value) is int:
            value = float(value)
        if value is not None:
            if type(value) is not kind:
                word = "list of whole numbers" if kind is tuple else kind.__name__
                raise InputError(f"got {name} = {value!r}; expected one {word}")
            typed[name] = value
    return typed


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _require_known(what: str, names: Iterable[Any], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"no {what} {name!r}; expected one of {', '.join(known) or 'none'}")
