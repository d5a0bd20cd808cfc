"""One slice of a predicted left ventricle made anatomical: one object, no holes, one cavity, closed off by its wall."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

SPLIT = 0.1
"""A second cavity of at least this part of the first was cut off by a papillary muscle; smaller ones are errors."""


def repaired_slice(image: np.ndarray, neighbours: list[np.ndarray]) -> np.ndarray:
    """One object (rows, columns) uint8 with one cavity, no holes, closed where it has a wall.

    Args:
        image: classes of one object, 0 elsewhere.
        neighbours: cavities of neighbouring frames, bool: of several cavities the one that lies in most of them counts.
    """
    image = image.copy()
    for _ in range(10):  # taking away a false cavity can leave loose pieces, closing the wall can leave holes
        before = image.copy()
        cavity, false = _one_cavity(image, neighbours)
        image[(image == 1) & ~cavity] = 2
        image[cavity] = 1
        image[false] = 0
        image[~_largest(image > 0, cavity)] = 0
        hole = ndimage.binary_fill_holes(image > 0) & (image == 0)
        if hole.any():
            nearest = ndimage.distance_transform_edt(image == 0, return_distances=False, return_indices=True)
            image[hole] = image[tuple(nearest)][hole]
        image[ndimage.binary_fill_holes(image == 1)] = 1
        image[_gaps_in_wall(image)] = 2
        if np.array_equal(image, before):
            break
    return image


def _one_cavity(image: np.ndarray, neighbours: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The cavity, and what was taken for one at the rim of the object: both (rows, columns) bool."""
    count, labels = cv2.connectedComponents((image == 1).view(np.uint8), connectivity=4)
    none = np.zeros(image.shape, bool)
    if count <= 2:
        return labels == 1, none
    areas = np.bincount(labels.ravel(), minlength=count)[1:]
    fits = sum((np.bincount(labels[other], minlength=count)[1:] for other in neighbours), np.zeros(count - 1, int))
    main = 1 + max(range(count - 1), key=lambda index: (fits[index], areas[index]))
    filled = ndimage.binary_fill_holes(image > 0)
    rim = filled & ~ndimage.binary_erosion(filled, border_value=1)
    at_rim = np.bincount(labels[rim], minlength=count)[1:] > 0
    at_rim[main - 1] = False
    split = ~at_rim & (areas >= SPLIT * areas[main - 1])
    split[main - 1] = True
    cavity = np.append(False, split)[labels]
    if split.sum() > 1:
        points = np.argwhere(cavity)[:, ::-1].astype(np.int32)
        hull = cv2.fillConvexPoly(np.zeros(image.shape, np.uint8), cv2.convexHull(points), 1)
        cavity = (hull > 0) & filled
    return cavity, np.append(False, at_rim)[labels] & ~cavity


def _largest(mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The 4-connected part with most of the wanted pixels; without any, the largest."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    sizes = np.bincount(labels[wanted & mask] if (wanted & mask).any() else labels[mask], minlength=count)
    return labels == int(sizes.argmax())


def _gaps_in_wall(image: np.ndarray) -> np.ndarray:
    """Background pixels beside the cavity, where at least half of the cavity's outline has a wall: bool."""
    cavity, wall = image == 1, image == 2
    beside = ndimage.binary_dilation(cavity)
    open_side, closed_side = beside & (image == 0), beside & wall
    return open_side if closed_side.sum() >= open_side.sum() else np.zeros(image.shape, bool)
