"""Solidity of all objects of a label map at once."""

from __future__ import annotations

import cv2
import numpy as np


def solidities(pixels: np.ndarray, columns: np.ndarray, rows: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Pixels of every object over the pixels whose centres lie in or on the convex hull of its pixels' centres.

    Area and hull are counted in the same unit, pixel centres, as in the rest of the collection (a pixel belongs to an
    outline when its centre lies inside). So every rasterised convex shape has exactly 1, a single pixel and a line of
    pixels too, and nothing exceeds 1. ``skimage.measure.regionprops`` takes the hull of the pixels' edge midpoints
    instead, and a disc 20 px across gets 0.95 there. An object in several parts has one hull around all of them; holes
    lower the solidity.

    The hull's pixels are not drawn but counted by Pick's theorem (1899): a polygon with corners on the grid of centres
    and area A, with B grid points on its outline, holds A + B / 2 + 1 of them. The hull itself needs the ends of each
    run of pixels in a row only.

    Args:
        pixels: (K,) flat indices of all foreground pixels, ascending.
        columns, rows: (K,) their coordinates.
        index: (K,) number of the object of each of them, from 0.
        count: number of objects, each with a pixel at least.

    Returns:
        (count,) float64 in (0, 1].
    """
    if not count:
        return np.zeros(0)
    apart = (np.diff(pixels) != 1) | (np.diff(index) != 0) | (np.diff(rows) != 0)
    ends = np.concatenate(([True], apart)) | np.concatenate((apart, [True]))
    order = np.flatnonzero(ends)
    order = order[np.argsort(index[order], kind="stable")]
    points = np.stack([columns[order], rows[order]], axis=1).astype(np.int32)
    stops = np.cumsum(np.bincount(index[order], minlength=count))
    hulls = [
        cv2.convexHull(points[start:stop])[:, 0] for start, stop in zip([0, *stops[:-1].tolist()], stops, strict=True)
    ]
    return np.bincount(index, minlength=count) / _grid_points(hulls)


def _grid_points(polygons: list[np.ndarray]) -> np.ndarray:
    """Grid points in or on each convex polygon of (corners, 2) integers; a point and a line count as polygons."""
    corners = np.concatenate(polygons).astype(np.int64)
    sizes = np.array([len(polygon) for polygon in polygons])
    first = np.cumsum(sizes) - sizes
    following = np.arange(1, len(corners) + 1)
    following[first + sizes - 1] = first
    (x, y), (next_x, next_y) = corners.T, corners[following].T
    twice_area = np.abs(np.add.reduceat(x * next_y - next_x * y, first))
    outline = np.add.reduceat(np.gcd(next_x - x, next_y - y), first)
    return (twice_area + outline) // 2 + 1
