"""How much training images are varied, as data; `augment` does it.

```python
AugmentConfig()                               # the original's at 640 pixels, from scratch
AugmentConfig(translate=0.5, scale=0.5)       # at 1280 pixels
```
"""

import dataclasses

from yolor_jax.errors import InputError

SAMPLING = ("auto", "gathers", "products")
PARTNERS = ("batch", "recent", "dataset")
_PROBABILITIES = ("mosaic", "mosaic_nine", "mixup", "flip_horizontal", "flip_vertical")
_PARTS = ("translate", "hue", "saturation", "value")
_LIMITS = {
    **dict.fromkeys(_PROBABILITIES + _PARTS, 1.0),
    **{"degrees": 180.0, "shear": 89.0, "perspective": 0.001, "scale": 0.999},
}


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How much to vary. The defaults are the original's at 640 pixels from scratch.

    Attributes:
        mosaic: probability that an image becomes a mosaic.
        mosaic_nine: probability that a mosaic is one of nine images instead of four.
        group: images that follow each other in the batch and may become part of one another, by
            mosaic and mixup. Each device must have whole groups.
        partners: where a mosaic's other images come from: "batch"; "recent", the images that were
            read last (`data.recent`); or "dataset", as in the original, for which the host decodes
            four (nine) images for each, and otherwise one.
        degrees: an angle is drawn from -degrees .. degrees, uniformly; the others likewise.
        translate: part of the side: the middle comes to lie at 0.5 - translate .. 0.5 + translate.
        scale: a factor is drawn from 1 - scale .. 1 + scale.
        shear: in degrees, on both axes.
        perspective: per pixel.
        mixup: probability that an image is mixed with another one of its group.
        hue: a factor is drawn from 1 - hue .. 1 + hue.
        saturation: see `hue`.
        value: see `hue`.
        flip_horizontal: probability of mirroring left to right.
        flip_vertical: probability of mirroring top to bottom.
        max_targets: targets per image afterwards, of which the largest are kept; 0: as before.
        sampling: where a map only scales and moves: "gathers" of rows and columns, matrix
            "products", or "auto": products on TPU and gathers elsewhere. Results are equal.

    Raises:
        InputError: if one is out of range.
    """

    mosaic: float = 1.0
    mosaic_nine: float = 0.0
    group: int = 8
    partners: str = "batch"
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.9
    shear: float = 0.0
    perspective: float = 0.0
    mixup: float = 0.0
    hue: float = 0.015
    saturation: float = 0.7
    value: float = 0.4
    flip_horizontal: float = 0.5
    flip_vertical: float = 0.0
    max_targets: int = 0
    sampling: str = "auto"

    def __post_init__(self):
        wrong = {k: v for k, top in _LIMITS.items() if not 0 <= (v := getattr(self, k)) <= top}
        if wrong:
            limits = ", ".join(f"0 .. {_LIMITS[name]:g} for {name}" for name in wrong)
            raise InputError(f"got {wrong}; expected {limits} (0: nothing changes)")
        for name, known in (("sampling", SAMPLING), ("partners", PARTNERS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"got {name}={getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        if self.group < 1 or self.max_targets < 0:
            raise InputError(
                f"got group={self.group}, max_targets={self.max_targets}; expected a group of at "
                "least 1 image, and max_targets=0 (as before) or more"
            )
        if self.mosaic and self.partners == "batch" and self.group < 4:
            raise InputError(
                f"got group={self.group}; a mosaic shows four images of its group: set "
                "augment.group=4 or more, augment.partners='recent', or augment.mosaic=0.0"
            )

    @property
    def pieces(self) -> int:
        """Images in a mosaic; 1 where there is none."""
        if not self.mosaic:
            return 1
        return 9 if self.mosaic_nine else 4

    @property
    def carried(self) -> int:
        """Images that come to the device for each that is trained on: itself, and its partners."""
        return 1 if self.partners == "batch" else self.pieces

    @property
    def is_separable(self) -> bool:
        """Whether maps only scale and move."""
        return not (self.degrees or self.shear or self.perspective)

    @property
    def moves(self) -> bool:
        """Whether there is a mosaic or a map at all."""
        return bool(self.mosaic or self.translate or self.scale) or not self.is_separable

    def require_groups(self, images: int) -> None:
        """Raises an InputError unless the images of one device fall into whole groups.

        Args:
            images: trained on in a step, by one device.
        """
        needed = self.group if self.mixup or self.pieces > self.carried else 1
        if images % needed:
            smaller = [g for g in range(4, needed) if images % g == 0]
            advice = f"set augment.group={smaller[-1]}" if smaller else "use a larger batch"
            raise InputError(
                f"mosaic and mixup take partners from groups of {needed} images, which do not "
                f"divide the {images} images that a device has of each batch: {advice}, or set "
                "augment.mosaic=0.0 and augment.mixup=0.0"
            )


NO_AUGMENTATION = AugmentConfig(
    mosaic=0.0, translate=0.0, scale=0.0, hue=0.0, saturation=0.0, value=0.0, flip_horizontal=0.0
)
"""Returns every batch as it is."""
