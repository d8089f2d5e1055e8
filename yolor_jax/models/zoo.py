"""The table of all models.

MODELS["yolor_csp"].strides      # (8, 16, 32)
"""

from yolor_jax.models.spec import ModelSpec, Stage

ANCHORS_CSP = (
    ((12.0, 16.0), (19.0, 36.0), (40.0, 28.0)),
    ((36.0, 75.0), (76.0, 55.0), (72.0, 146.0)),
    ((142.0, 110.0), (192.0, 243.0), (459.0, 401.0)),
)
ANCHORS_NANO = (
    ((8.0, 9.0), (13.0, 13.0), (20.0, 18.0)),
    ((28.0, 30.0), (34.0, 48.0), (52.0, 36.0)),
    ((56.0, 60.0), (80.0, 84.0), (130.0, 120.0)),
)

YOLOR_CSP = ModelSpec(
    name="yolor_csp",
    stem="conv",
    stem_width=32,
    stages=(
        Stage(64, 1, csp=False),
        Stage(128, 2),
        Stage(256, 8),
        Stage(512, 8),
        Stage(1024, 4),
    ),
    neck_widths=(128, 256, 512),
    neck_repeats=2,
    anchors=ANCHORS_CSP,
)
YOLOR_NANO = ModelSpec(
    name="yolor_nano",
    stem="space_to_depth",
    stem_width=16,
    stages=(Stage(24, 1), Stage(48, 1), Stage(64, 1), Stage(80, 1)),
    neck_widths=(32, 40, 48),
    neck_repeats=1,
    anchors=ANCHORS_NANO,
    csp_leave=False,
)
YOLOR_TEST = ModelSpec(
    name="yolor_test",
    stem="space_to_depth",
    stem_width=8,
    stages=(Stage(8, 1), Stage(8, 1), Stage(16, 1), Stage(16, 1)),
    neck_widths=(8, 8, 8),
    neck_repeats=1,
    anchors=ANCHORS_NANO,
    csp_leave=False,
)

MODELS = {spec.name: spec for spec in (YOLOR_CSP, YOLOR_NANO, YOLOR_TEST)}
