"""Boundaries of objects in instance and class maps."""

from __future__ import annotations

import numpy as np


def boundary_mask(instances: np.ndarray) -> np.ndarray:
    """Pixels of an object that touch another object or the background by one of their four sides.

    The frame's border is no boundary: an object cut by it goes on beyond.

    Args:
        instances: (rows, columns) integer instance map, 0 background.

    Returns:
        (rows, columns) bool.

    >>> boundary_mask(np.array([[1, 1, 2, 0, 0]])).astype(int).tolist()
    [[0, 1, 1, 0, 0]]
    """
    edge = np.zeros(instances.shape, bool)
    for axis in (0, 1):
        first = (slice(None, -1), slice(None))[:: 1 if axis == 0 else -1]
        second = (slice(1, None), slice(None))[:: 1 if axis == 0 else -1]
        differ = instances[first] != instances[second]
        edge[first] |= differ
        edge[second] |= differ
    return edge & (instances > 0)
