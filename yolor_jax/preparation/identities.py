"""Identities: which objects of a split, on different images, are one and the same.

An annotation may have an ``identity``, an integer of 0 or more; missing or null means that nobody
knows. An object has one class, and is in an image at most once.

    identities = Identities()
    identities.fault({"id": 1, "image_id": 7, "category_id": 3}, 12)   # None: it may be so
    numbered([12, None, 7, 12])                                        # [1, -1, 0, 1]
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32


class Identities:
    """The identities seen so far: the class of each, and the images that show it."""

    def __init__(self):
        """None was seen."""
        self._category: dict[int, int] = {}
        self._shown: set[tuple[int, int]] = set()

    def fault(self, annotation: Mapping[str, Any], identity: int) -> str | None:
        """Why a sound annotation cannot be of an identity; if it can, it counts as seen.

        Args:
            annotation: with id, image_id and category_id.
            identity: what it says.
        """
        image, category = annotation["image_id"], annotation["category_id"]
        first = self._category.setdefault(identity, category)
        if first != category:
            return (
                f"identity {identity} is of category {first} and, in annotation "
                f"{annotation['id']}, of category {category}"
            )
        if (image, identity) in self._shown:
            return f"identity {identity} is twice in image {image} (annotation {annotation['id']})"
        self._shown.add((image, identity))
        return None


def numbered(identities: Sequence[int | None]) -> Int32[np.ndarray, " M"] | None:
    """The identities of a split as 0 .. I - 1 by rising number, -1 for none; None without any."""
    known = sorted({identity for identity in identities if identity is not None})
    if not known:
        return None
    number = {identity: i for i, identity in enumerate(known)} | {None: -1}
    return np.array([number[identity] for identity in identities], np.int32)
