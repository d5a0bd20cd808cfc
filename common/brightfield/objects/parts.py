"""The connected parts of one frame: which there are, how large, and what fills their holes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

_AT_BORDER = 0.5


@dataclass(frozen=True, eq=False)
class Parts:
    """4-connected parts of a mask that are large enough, numbered from 1 in ``labels``.

    Attributes:
        labels: (rows, columns) int32, 0 where there is none.
        areas: (parts,) pixels.
        weights: (parts,) how much each speaks for being the object: its pixels, each by its probability where there are
            several; half of that where it is cut by the border of the frame.
        centroids: (parts, 2) x, y.
        boxes: (parts, 4) left, top, width, height.
    """

    labels: np.ndarray
    areas: np.ndarray
    weights: np.ndarray
    centroids: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def box(self, part: int) -> tuple[slice, slice]:
        """Rows and columns of a part, which is counted from 0."""
        left, top, width, height = self.boxes[part].tolist()
        return slice(top, top + height), slice(left, left + width)

    def crop(self, part: int) -> np.ndarray:
        """The part inside its box, bool."""
        return self.labels[self.box(part)] == part + 1


def parts_of(mask: np.ndarray, foreground: np.ndarray | None = None, min_area: int = 1) -> Parts:
    """The parts of a mask.

    Args:
        mask: (rows, columns), everything that is not 0.
        foreground: (rows, columns) uint8 probability, 255 being 1.
        min_area: smaller parts are left out.
    """
    found = cv2.connectedComponentsWithStats((np.asarray(mask) != 0).view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    labels, stats, centroids = found[1], found[2][1:], found[3][1:]
    large = stats[:, cv2.CC_STAT_AREA] >= max(1, min_area)
    if not large.all():
        numbers = np.zeros(len(stats) + 1, np.int32)
        numbers[1:][large] = np.arange(1, int(large.sum()) + 1)
        labels = numbers[labels]
    stats, centroids = stats[large], centroids[large]
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    boxes = stats[:, :4].astype(np.int64)
    weights = areas.astype(np.float64)
    if foreground is not None and len(areas) > 1:  # one part needs no comparison
        for part, (left, top, width, height) in enumerate(boxes.tolist()):
            box = slice(top, top + height), slice(left, left + width)
            weights[part] = foreground[box][labels[box] == part + 1].sum(dtype=np.int64) / 255
    ends = boxes[:, :2] + boxes[:, 2:]
    cut = (boxes[:, :2] == 0).any(axis=1) | (ends == np.array(labels.shape)[::-1]).any(axis=1)
    return Parts(labels, areas, np.where(cut, weights * _AT_BORDER, weights), centroids, boxes)


def filled(crop: np.ndarray) -> np.ndarray:
    """A 4-connected part with its holes filled, bool; a hole is what no 4-connected path leads out of.

    Args:
        crop: (rows, columns) bool, nothing but the part.
    """
    contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros(crop.shape, np.uint8), contours, -1, 1, cv2.FILLED), np.uint8) > 0


def classes_inside(classes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Classes within a region, 0 outside; pixels of it without a class get that of the nearest one that has.

    Args:
        classes: (...) uint8.
        region: the same shape, bool; holds a pixel with a class, or becomes class 1.
    """
    kept = np.where(region, classes, 0).astype(np.uint8)
    empty = region & (kept == 0)
    if not empty.any():
        return kept
    found = np.flatnonzero(np.bincount(kept.ravel(), minlength=2)[1:]) + 1
    if len(found) <= 1:
        kept[empty] = found[0] if len(found) else 1
        return kept
    nearest = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
    kept[empty] = kept[tuple(nearest)][empty]
    return kept
