"""The table of all models.

    MODELS["yolor_csp"].strides      # (8, 16, 32)

Two generations of blocks: those of the configuration files (`MAIN`) and those of the paper's own
definitions (`PAPER`), which normalise both branches of a CSP block together. Models that exist in
both carry the suffix ``_paper`` in the second form.
"""

import dataclasses

from yolor_jax.models.spec import Implicits, ModelSpec, Stage
from yolor_jax.nn.knowledge import Knowledge

ANCHORS_640 = (
    ((12.0, 16.0), (19.0, 36.0), (40.0, 28.0)),
    ((36.0, 75.0), (76.0, 55.0), (72.0, 146.0)),
    ((142.0, 110.0), (192.0, 243.0), (459.0, 401.0)),
)
ANCHORS_1280 = (
    ((19.0, 27.0), (44.0, 40.0), (38.0, 94.0)),
    ((96.0, 68.0), (86.0, 152.0), (180.0, 137.0)),
    ((140.0, 301.0), (303.0, 264.0), (238.0, 542.0)),
    ((436.0, 615.0), (739.0, 380.0), (925.0, 792.0)),
)
ANCHORS_V4_P6 = (
    ((13.0, 17.0), (31.0, 25.0), (24.0, 51.0), (61.0, 45.0)),
    ((61.0, 45.0), (48.0, 102.0), (119.0, 96.0), (97.0, 189.0)),
    ((97.0, 189.0), (217.0, 184.0), (171.0, 384.0), (324.0, 451.0)),
    ((324.0, 451.0), (545.0, 357.0), (616.0, 618.0), (1024.0, 1024.0)),
)
ANCHORS_V4_P7 = (
    ((13.0, 17.0), (22.0, 25.0), (27.0, 66.0), (55.0, 41.0)),
    ((57.0, 88.0), (112.0, 69.0), (69.0, 177.0), (136.0, 138.0)),
    ((136.0, 138.0), (287.0, 114.0), (134.0, 275.0), (268.0, 248.0)),
    ((268.0, 248.0), (232.0, 504.0), (445.0, 416.0), (640.0, 640.0)),
    ((812.0, 393.0), (477.0, 808.0), (1070.0, 908.0), (1408.0, 1408.0)),
)
ANCHORS_NANO = (
    ((8.0, 9.0), (13.0, 13.0), (20.0, 18.0)),
    ((28.0, 30.0), (34.0, 48.0), (52.0, 36.0)),
    ((56.0, 60.0), (80.0, 84.0), (130.0, 120.0)),
)

RELEASE = Implicits(alignment=Knowledge("add"), refinement=Knowledge("multiply"))  # + iFA, x iPR
REORG = ("space_to_depth",)
PAPER = {"joint_norm": True, "spp_pools_first": False, "bn_epsilon": 1e-3}


def _stages(*widths_and_repeats: tuple[int, int]) -> tuple[Stage, ...]:
    return tuple(Stage(width, repeats) for width, repeats in widths_and_repeats)


YOLOV4_CSP = ModelSpec(
    name="yolov4_csp",
    stem_width=32,
    stages=(Stage(64, 1, csp=False), *_stages((128, 2), (256, 8), (512, 8), (1024, 4))),
    neck_widths=(128, 256, 512),
    neck_repeats=2,
    anchors=ANCHORS_640,
)
YOLOV4_CSP_FAST = dataclasses.replace(
    YOLOV4_CSP,
    name="yolov4_csp_fast",
    stem=REORG,
    stem_width=64,
    stages=(Stage(64, 1, csp=False, down=False), *YOLOV4_CSP.stages[1:]),
)
YOLOV4_CSP_X = ModelSpec(
    name="yolov4_csp_x",
    stem_width=32,
    stages=(Stage(80, 1, csp=False), *_stages((160, 3), (320, 10), (640, 10), (1280, 5))),
    neck_widths=(160, 320, 640),
    neck_repeats=3,
    anchors=ANCHORS_640,
    spp_repeats=2,
)
YOLOV4_P6 = ModelSpec(
    name="yolov4_p6",
    stem_width=32,
    stages=_stages((64, 1), (128, 3), (256, 15), (512, 15), (1024, 7), (1024, 7)),
    neck_widths=(128, 256, 512, 512),
    neck_repeats=3,
    anchors=ANCHORS_V4_P6,
    activation="mish",
)
YOLOV4_P7 = ModelSpec(
    name="yolov4_p7",
    stem_width=40,
    stages=_stages((80, 1), (160, 3), (320, 15), (640, 15), (1280, 7), (1280, 7), (1280, 7)),
    neck_widths=(160, 320, 640, 640, 640),
    neck_repeats=3,
    anchors=ANCHORS_V4_P7,
    activation="mish",
)

YOLOR_CSP = dataclasses.replace(YOLOV4_CSP, name="yolor_csp", implicit=RELEASE)
YOLOR_CSP_X = dataclasses.replace(YOLOV4_CSP_X, name="yolor_csp_x", implicit=RELEASE)
YOLOR_P6 = ModelSpec(
    name="yolor_p6",
    stem=REORG,
    stem_width=64,
    stages=_stages((128, 3), (256, 7), (384, 7), (512, 3), (640, 3)),
    neck_widths=(128, 192, 256, 320),
    neck_repeats=3,
    anchors=ANCHORS_1280,
    csp_leave=False,
    implicit=RELEASE,
)
YOLOV4_P6_LIGHT = dataclasses.replace(
    YOLOR_P6, name="yolov4_p6_light", activation="mish", implicit=Implicits()
)
YOLOR_W6 = dataclasses.replace(
    YOLOR_P6,
    name="yolor_w6",
    stages=_stages((128, 3), (256, 7), (512, 7), (768, 3), (1024, 3)),
    neck_widths=(128, 256, 384, 512),
)

YOLOR_P6_PAPER = dataclasses.replace(YOLOR_P6, name="yolor_p6_paper", **PAPER)
YOLOR_W6_PAPER = dataclasses.replace(YOLOR_W6, name="yolor_w6_paper", **PAPER)
YOLOR_E6 = dataclasses.replace(
    YOLOR_W6_PAPER,
    name="yolor_e6",
    stem_width=80,
    stages=_stages((160, 3), (320, 7), (640, 7), (960, 3), (1280, 3)),
    neck_widths=(160, 320, 480, 640),
    down="csp",
)
YOLOR_D6 = dataclasses.replace(
    YOLOR_E6,
    name="yolor_d6",
    stages=_stages((160, 3), (320, 15), (640, 15), (960, 7), (1280, 7)),
)
YOLOR_SSSS_S2D = ModelSpec(
    name="yolor_ssss_s2d",
    stem=REORG * 3,
    stages=(Stage(128, 3, down=False), *_stages((256, 3), (512, 1))),
    neck_widths=(64, 128, 256),
    neck_repeats=1,
    anchors=ANCHORS_640,
    implicit=RELEASE,
    **PAPER,
)
YOLOR_SSSS_DWT = dataclasses.replace(
    YOLOR_SSSS_S2D, name="yolor_ssss_dwt", stem=("haar_wavelet",) * 3
)

YOLOR_NANO = ModelSpec(
    name="yolor_nano",
    stem=REORG,
    stem_width=16,
    stages=_stages((24, 1), (48, 1), (64, 1), (80, 1)),
    neck_widths=(32, 40, 48),
    neck_repeats=1,
    anchors=ANCHORS_NANO,
    csp_leave=False,
    implicit=RELEASE,
)
YOLOR_TEST = ModelSpec(
    name="yolor_test",
    stem=REORG,
    stem_width=8,
    stages=_stages((8, 1), (8, 1), (16, 1), (16, 1)),
    neck_widths=(8, 8, 8),
    neck_repeats=1,
    anchors=ANCHORS_NANO,
    csp_leave=False,
    implicit=RELEASE,
)

MODELS = {
    spec.name: spec
    for spec in (
        YOLOR_CSP,
        YOLOR_CSP_X,
        YOLOR_P6,
        YOLOR_W6,
        YOLOR_P6_PAPER,
        YOLOR_W6_PAPER,
        YOLOR_E6,
        YOLOR_D6,
        YOLOR_SSSS_S2D,
        YOLOR_SSSS_DWT,
        YOLOV4_CSP,
        YOLOV4_CSP_FAST,
        YOLOV4_CSP_X,
        YOLOV4_P6,
        YOLOV4_P6_LIGHT,
        YOLOV4_P7,
        YOLOR_NANO,
        YOLOR_TEST,
    )
}
