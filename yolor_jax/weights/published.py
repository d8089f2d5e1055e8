"""The networks whose weights the authors of the paper published, with the paper's numbers.

A number that the paper does not give is None. AP is that of COCO's val2017, in percent.
"""

from typing import NamedTuple

HOME = "https://github.com/WongKinYiu/yolor"
"""The page that links the files."""
LICENCE = "GPL-3.0"
"""Of the authors' code and files; that of what is converted from them stays the same."""


class Published(NamedTuple):
    """A network of the paper.

    Attributes:
        name: the paper's.
        model: in the zoo.
        image_size: side of the network's input in pixels.
        ap: over IoU 0.50:0.95.
        ap50: at IoU 0.50.
        test_ap: AP on test-dev.
    """

    name: str
    model: str
    image_size: int
    ap: float
    ap50: float | None = None
    test_ap: float | None = None

    @property
    def file(self) -> str:
        """A name for what is converted."""
        return f"{self.model}.safetensors"


PUBLISHED = (
    Published("YOLOR-CSP", "yolor_csp", 640, 49.2),
    Published("YOLOR-CSP*", "yolor_csp", 640, 50.0),
    Published("YOLOR-CSP-X", "yolor_csp_x", 640, 51.1),
    Published("YOLOR-CSP-X*", "yolor_csp_x", 640, 51.5),
    Published("YOLOR-P6", "yolor_p6", 1280, 52.5, 70.6, 52.6),
    Published("YOLOR-W6", "yolor_w6", 1280, 54.0, 72.1, 54.1),
    Published("YOLOR-E6", "yolor_e6", 1280, 54.6, 72.5, 54.8),
    Published("YOLOR-D6", "yolor_d6", 1280, 55.4, 73.5, 55.4),
    Published("YOLOR-S4 (s2d)", "yolor_ssss_s2d", 640, 36.9),
    Published("YOLOR-S4 (dwt)", "yolor_ssss_dwt", 640, 37.0),
)
