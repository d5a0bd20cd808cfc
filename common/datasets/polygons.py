"""Outlines to instance maps and back, exactly.

The pixel convention of the whole collection: coordinates are (x, y) = (column, row) measured from the *corner* of the
image, as QuPath and ImageScope do. The top left pixel spans 0 to 1 in x and y and its centre is (0.5, 0.5). **A pixel
belongs to an outline when its centre lies inside**; a centre exactly on an edge belongs to the object to the right of
or below that edge, so that two objects that share an edge share no pixel and leave no gap. Inside is where the winding
number is not zero: a hand-drawn line that crosses itself leaves no hole.

Where objects overlap, a pixel belongs to the smallest of them (of equal ones, to the later), so a small object drawn on
a large one survives whatever their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Painted:
    """An instance map and what overlapped in it.

    Attributes:
        instances: int32 (rows, columns); the id is the object's position in the list + 1. An object of which no pixel
            is left has no id in the map.
        overlap: number of pixels that more than one object claimed.
    """

    instances: np.ndarray
    overlap: int


def paint(objects: Sequence[np.ndarray], shape: tuple[int, int]) -> Painted:
    """Objects as flat pixel indices (each index once per object) to a map, smaller objects over larger ones."""
    flat = np.zeros(shape[0] * shape[1], dtype=np.int32)
    sizes = np.array([pixels.size for pixels in objects], dtype=np.int64)
    for index in np.argsort(-sizes, kind="stable"):
        flat[objects[index]] = index + 1
    covered = int(np.count_nonzero(flat))
    overlap = 0
    if covered < sizes.sum():
        claims = np.bincount(np.concatenate(objects), minlength=flat.size)
        overlap = int(np.count_nonzero(claims > 1))
    return Painted(flat.reshape(shape), overlap)


def polygons_to_instances(polygons: Sequence[np.ndarray | Sequence[np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Rasterise outlines; vertices may lie outside the frame.

    Args:
        polygons: per object (vertices, 2) x y, or a list of such rings of which the object is the union.
        shape: (rows, columns).

    Returns:
        int32 (rows, columns): position in ``polygons`` + 1, 0 background. Overlaps go to the smaller object; an object
        that covers no pixel centre, or of which none is left, has no id.

    Example:
        >>> square = np.array([[1, 0], [3, 0], [3, 2], [1, 2]])
        >>> polygons_to_instances([square], (2, 4)).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    return paint([_object_pixels(polygon, shape) for polygon in polygons], shape).instances


def _object_pixels(polygon: np.ndarray | Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    if isinstance(polygon, np.ndarray) and polygon.ndim == 2:
        return polygon_pixels(polygon, shape)
    parts = [polygon_pixels(ring, shape) for ring in polygon]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def polygon_pixels(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Flat indices (row * columns + column), ascending, of the pixels whose centres lie inside one ring.

    Crossings of the edges with the lines of pixel centres, summed along each row: the cost grows with the outline and
    its box (scikit-image tests every pixel of the box against every vertex, and counts edges in on all sides).

    Args:
        ring: (vertices, 2) x y, closed or not; fewer than three vertices have no inside.
        shape: (rows, columns) of the image, to which the ring is clipped.
    """
    ring = np.asarray(ring, dtype=np.float64)
    rows, columns = shape
    left, top = np.floor(ring.min(axis=0, initial=np.inf).clip(0, (columns, rows))).astype(int)
    right, bottom = np.ceil(ring.max(axis=0, initial=-np.inf).clip(0, (columns, rows))).astype(int)
    if len(ring) < 3 or right <= left or bottom <= top:
        return np.empty(0, dtype=np.int64)
    steps = _crossings(ring - (left, top), bottom - top, right - left)
    inside_rows, inside_columns = np.nonzero(np.cumsum(steps, axis=1)[:, :-1])
    return (inside_rows + top) * columns + inside_columns + left


def _crossings(ring: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """int64 (rows, columns + 1): change of the winding number on entering each pixel centre from its left neighbour."""
    following = np.roll(ring, -1, axis=0)
    down = following[:, 1] > ring[:, 1]
    # Every edge is walked from its upper end, so that two neighbours compute the same crossing for a shared edge.
    upper, lower = np.where(down[:, None], ring, following), np.where(down[:, None], following, ring)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, rows).astype(np.int64)
    count = np.clip(np.ceil(lower[:, 1] - 0.5), 0, rows).astype(np.int64) - first
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)
    cells = row * (columns + 1) + column
    size = rows * (columns + 1)
    steps = np.bincount(cells[down[edge]], minlength=size) - np.bincount(cells[~down[edge]], minlength=size)
    return steps.reshape(rows, columns + 1)


def instances_to_polygons(instances: np.ndarray) -> list[tuple[int, list[np.ndarray]]]:
    """Outer outlines of all objects, along the edges of their pixels.

    Each 4-connected part of an object gives one ring. Rings are simple (they never touch themselves), run along pixel
    edges, have vertices at their corners only and do not repeat the first one. Their area by the shoelace formula in
    (x, y) is positive, the direction that GeoJSON (RFC 7946) asks of an outer ring; on the screen it is clockwise.
    Holes are filled, and a region cut off by pixels that touch at a corner alone counts as a hole;
    :func:`polygons_to_instances` gives back the map exactly where no object has a hole.

    Args:
        instances: integers (rows, columns), 0 background.

    Returns:
        (id, rings) by ascending id, each ring float64 (vertices, 2) x y in pixels from the image's corner.

    Example:
        >>> [(identity, [ring])] = instances_to_polygons(np.array([[0, 1, 1], [0, 1, 1]]))
        >>> ring.tolist()
        [[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]]
    """
    found = []
    for index, box in enumerate(ndimage.find_objects(instances)):
        if box is not None:
            crop = (instances[box] == index + 1).view(np.uint8)
            offset = (box[1].start, box[0].start)
            found.append((index + 1, [ring + offset for ring in _rings(crop)]))
    return found


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    """Outer rings of a uint8 mask (rows, columns), one per 4-connected part, in its own corner-based coordinates."""
    parts, labels = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_16U if mask.size < 65536 else cv2.CV_32S)
    masks = [mask] if parts == 2 else [(labels == part).view(np.uint8) for part in range(1, parts)]
    return [_ring(part) for part in masks]


def _ring(part: np.ndarray) -> np.ndarray:
    # OpenCV follows pixel centres. At twice the size each pixel has one centre per corner: corner (c + 1) // 2.
    doubled = cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = (contours[0][::-1, 0] + 1) // 2
    # Both ends of the diagonal step with which OpenCV cuts a concave corner land on that corner.
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    start = np.lexsort((corners[:, 0], corners[:, 1]))[0]
    return np.roll(corners, -start, axis=0).astype(np.float64)
