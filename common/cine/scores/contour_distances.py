"""Distances between two closed contours in mm: perpendicular, on average, and at most (Hausdorff).

Contours are (points, 2) float64 of (x, y) = (column, row) in pixels; whether the first point is repeated at the end makes no
difference. Distances are taken from polygon to polygon: their sides count, not only their corners.

The perpendicular distance is that of the MICCAI 2009 challenge (P. Radau et al., MIDAS Journal 2009): from each point of
the automatic contour along its normal to the manual one. Its program and ours differ in three ways: it takes the points as
they are, and the normal from the two neighbours of each, so that its result depends on the number of points (ours are
evenly spaced); it leaves out points whose normal does not meet the manual contour (ours take their nearest distance); it
leaves out distances of exactly 0 (a perfect contour has no APD there, and 0 here).
"""

from __future__ import annotations

import numpy as np

STEP_MM = 0.5
"""Distance of the evenly spaced points on a contour."""

REACH_MM = 2.0
"""The normal is perpendicular to the chord between the points so far before and after: a pixel's stairs do not turn it."""


def _ring_mm(contour: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """(points, 2) x, y in mm, the first point not repeated."""
    ring = np.asarray(contour, np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2 or not len(ring):
        raise ValueError(f"a contour is (points, 2) with one point at least, not {ring.shape}")
    ring = ring * (spacing[1], spacing[0])
    return ring[:-1] if len(ring) > 1 and np.array_equal(ring[0], ring[-1]) else ring


def _evenly(ring: np.ndarray, step_mm: float) -> np.ndarray:
    """(points, 2) evenly spaced along the ring, about ``step_mm`` apart, 16 at least."""
    closed = np.concatenate([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = max(16, round(along[-1] / step_mm))
    places = np.arange(count) * along[-1] / count
    return np.stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def _nearest(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """(points,) distance of each point to the nearest side of the ring: all pairs at once, some 100,000 of them."""
    side = np.roll(ring, -1, axis=0) - ring
    from_start = points[:, None] - ring
    length2 = np.maximum((side**2).sum(axis=1), 1e-300)
    part = np.clip((from_start * side).sum(axis=2) / length2, 0, 1)
    return np.sqrt(((from_start - part[..., None] * side) ** 2).sum(axis=2).min(axis=1))


def _along_normal(points: np.ndarray, normals: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """(points,) distance to the nearest side that the normal meets, on either side; infinite where it meets none."""
    start = ring - points[:, None]
    end = np.roll(ring, -1, axis=0) - points[:, None]
    start_off, end_off = (
        part[..., 0] * normals[:, None, 1] - part[..., 1] * normals[:, None, 0] for part in (start, end)
    )
    crosses = (start_off < 0) != (end_off < 0)
    fraction = start_off / np.where(crosses, start_off - end_off, 1.0)
    meets = start + fraction[..., None] * (end - start)
    distance = np.abs((meets * normals[:, None]).sum(axis=2))
    return np.where(crosses, distance, np.inf).min(axis=1)


def perpendicular_distances(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Distances from evenly spaced points of the predicted contour to the true one, along the predicted one's normals.

    Args:
        predicted: (points, 2) x, y in pixels.
        truth: (points, 2).
        spacing: (row, column) distance of pixels in mm.

    Returns:
        (n,) float64 in mm. Where the normal does not meet the true contour: the distance to its nearest point.

    Raises:
        ValueError: a contour without points or of another shape.
    """
    ring = _ring_mm(truth, spacing)
    points = _evenly(_ring_mm(predicted, spacing), STEP_MM)
    length = np.hypot(*(np.roll(points, -1, axis=0) - points).T).mean()
    reach = min(max(1, round(REACH_MM / max(length, 1e-9))), len(points) // 8)
    chord = np.roll(points, -reach, axis=0) - np.roll(points, reach, axis=0)
    normals = np.stack([-chord[:, 1], chord[:, 0]], axis=1)
    normals /= np.maximum(np.hypot(*normals.T), 1e-300)[:, None]
    along = _along_normal(points, normals, ring)
    return np.where(np.isfinite(along), along, _nearest(points, ring))


def average_perpendicular_distance(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, float]) -> float:
    """The challenge's APD in mm: mean of :func:`perpendicular_distances`, whose arguments it takes."""
    return float(perpendicular_distances(predicted, truth, spacing).mean())


def hausdorff_distance(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float]) -> float:
    """Largest distance in mm of a point of either contour to the nearest point of the other.

    Points are the corners and places half of :data:`STEP_MM` apart between them; the sides of the other contour
    are taken exactly. Arguments as in :func:`perpendicular_distances`.
    """
    rings = [_ring_mm(contour, spacing) for contour in (one, other)]
    dense = [np.concatenate([ring, _evenly(ring, STEP_MM / 2)]) for ring in rings]
    return float(max(_nearest(dense[0], rings[1]).max(), _nearest(dense[1], rings[0]).max()))
