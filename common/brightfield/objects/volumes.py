"""Objects of a volume: connected in three dimensions, without holes and debris."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .parts import classes_inside


def clean_volume(
    maps: np.ndarray, objects: str = "main", min_fraction: float = 0.001
) -> tuple[np.ndarray, np.ndarray | None]:
    """The main object of a volume, that of each class, or all, holes filled with the nearest class.

    Args:
        maps: (depth, rows, columns) uint8 classes.
        objects: "main", "each_class" or "all".
        min_fraction: share of a plane's pixels below which a part's cross section is debris; of a volume its power of 3/2.

    Returns:
        Classes as ``maps``, and with "all" (depth, rows, columns) uint16 numbers of the objects, the largest first.
    """
    least = max(1.0, min_fraction**1.5 * maps.size)
    if objects == "each_class":
        cleaned = np.zeros_like(maps)
        for number in range(1, int(maps.max(initial=0)) + 1):
            own = _numbered(maps == number, least, 1) > 0
            cleaned[own & ((maps == number) | ((cleaned == 0) & (maps == 0)))] = number
        return cleaned, None
    numbers = _numbered(maps > 0, least, 1 if objects == "main" else np.iinfo(np.uint16).max)
    return classes_inside(maps, numbers > 0), numbers if objects == "all" else None


def _numbered(mask: np.ndarray, least: float, most: int) -> np.ndarray:
    """Parts of at least so many voxels, the largest first and so many at most, holes filled; uint16."""
    labels, count = ndimage.label(mask)
    numbers = np.zeros(mask.shape, np.uint16)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(labels)
    for rank, part in enumerate(np.argsort(-sizes, kind="stable")[:most].tolist()):
        if sizes[part] < least:
            break
        inside = ndimage.binary_fill_holes(labels[boxes[part]] == part + 1)
        numbers[boxes[part]][inside] = rank + 1
    return numbers
