"""Instance maps to what a network regresses: where objects are, where they touch, how far inside a pixel lies.

All maps are defined per object and do not change with the object's size, so that they can be computed once on the whole
image and warped with it: objects cut by a training crop keep the values that they have in full.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from ..images.boundaries import boundary_mask


def touching_mask(instances: np.ndarray) -> np.ndarray:
    """Pixels within one pixel of the line at which two objects meet: (rows, columns) bool."""
    meet = np.zeros(instances.shape, np.uint8)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        both = (instances[first] != instances[second]) & (instances[first] > 0) & (instances[second] > 0)
        meet[first] |= both
        meet[second] |= both
    return cv2.dilate(meet, np.ones((3, 3), np.uint8)) > 0


def normalised_distance(instances: np.ndarray) -> np.ndarray:
    """Distance to the object's own outline, divided by its largest value in the object.

    One Euclidean distance transform for all objects: outline pixels of every object count as zeros, hence the nearest
    zero of a pixel is on its own outline.

    Args:
        instances: (rows, columns) integer instance map, 0 background.

    Returns:
        (rows, columns) float32 in [0, 1]: 0 in the background, 1 at the most interior pixel of each object.
    """
    inside = (instances > 0) & ~boundary_mask(instances)
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Without any zero in the frame the transform is unbounded: one object fills the image.
    distance = np.minimum(distance, float(max(instances.shape)))
    distance[instances > 0] += 0.5  # a pixel's centre is half a pixel away from the side that it shares
    largest = ndimage.maximum(distance, instances, np.arange(int(instances.max()) + 1))
    largest = np.maximum(np.asarray(largest, np.float32), 0.5)
    largest[0] = 1.0
    return np.asarray(distance / largest[instances], np.float32)


def typical_diameter(instances: np.ndarray) -> float:
    """Diameter of the disc that has the area of a typical object, in pixels; NaN without objects.

    Typical is the median over the pixels of all objects, not over the objects: debris and fragments, many but small, count
    for little.

    Args:
        instances: (rows, columns) integer instance map, 0 background.
    """
    return diameter_of_areas(np.bincount(instances.ravel())[1:])


def diameter_of_areas(areas: np.ndarray) -> float:
    """:func:`typical_diameter` from the areas of the objects alone.

    Args:
        areas: (objects,) in pixels; zeros (numbers that no object has) are left out.

    >>> round(diameter_of_areas(np.array([3, 2, 314, 4])), 1)
    20.0
    """
    areas = np.sort(areas[areas > 0])
    if not areas.size:
        return float("nan")
    covered = np.cumsum(areas)
    return float(2 * np.sqrt(areas[np.searchsorted(covered, covered[-1] / 2)] / np.pi))
