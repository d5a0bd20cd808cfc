"""Contour text to masks and back: one closed line of ``x y`` per file, as in the Sunnybrook Cardiac Data.

**The convention.** Points are (x, y) = (column, row) in pixels, and the pixel with index (row r, column c) has its
*centre* at (x, y) = (c, r); pixel (0, 0) spans -0.5 to 0.5. A pixel belongs to a contour when its centre lies inside
(the rule of :mod:`.polygons`, whose coordinates count from the image's corner and are larger by 0.5).

What was measured on the 222 endocardial and epicardial contours of 8 patients that lie beside PNG masks:

- The PNG masks are the contour's points rounded down, joined and filled *with* their line: ``outline_included=True``
  gives every one of them back pixel by pixel. They are 6.6 % larger than the area that the contour encloses (small ones
  up to 24 %), the plain fill by pixel centres is 0.03 % smaller than it.
- A plain fill therefore agrees with the PNG masks by Dice 0.968 only (0.959 for the worst patient), and where it puts
  pixel centres hardly matters: 0.968 with the centre at (c, r), 0.968 at (c + 0.5, r + 0.5), 0.945 at (c + 1, r + 1).
  Centres at whole numbers are kept, as rounding down also puts a point on a whole number into the pixel of that index.
- The images do not decide it either: the steepest edge in them lies about 0.4 px to the left of and 1.0 px above the
  endocardial outlines (medians over 29 patients), which looks like a tool that counted pixels from 1. The published
  masks share that shift, so it is left as it is; whoever corrects it must do so everywhere.

A mask without its outline, :func:`mask_to_contours`, is followed half way between pixels (marching squares), exactly
invertible, its vertices on the half-pixel grid of the data set's own files. Of masks that include their outline the
line runs through the outermost pixels instead, and the area of PNG masks is then right to 1.0 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from skimage.measure import find_contours

from ..errors import InputError, Problem
from ..outputs.files import write_text
from .polygons import polygon_pixels

_EXPECTED = "a contour, one point 'x y' per line"
# Nothing is drawn between the last point and the first one if they are further apart than so many usual steps ...
_OPEN_STEPS = 3.0
# ... and there is no telling what was meant if they are further apart than this share of the line that was drawn.
_OPEN_SHARE = 0.5
# Mean of what rounding down took from coordinates on the half-pixel grid.
_ROUNDED_DOWN = 0.25
_CENTRE = 0.5  # from pixel centres at whole numbers to the corner-based coordinates of .polygons
_TOUCH = 1e-6  # square pixels, below which a point counts as lying on an edge
_BESIDE = 1e-4  # px, distance from an edge at which its two sides are looked at


def read_contour(path: str | Path) -> np.ndarray:
    """Points of a contour file, float64 (points, 2) x y in pixels; the first point is not repeated at the end.

    Blank lines are passed over. What can be used but looks wrong is told by :func:`check_contour`.

    Raises:
        InputError: no such file, no text, a line that is not two finite numbers, fewer than 3 different points, or all
            points on one straight line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"no readable text ({getattr(error, 'strerror', None) or error})", _EXPECTED) from error
    points = [_point(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()]
    contour = np.array(points, dtype=np.float64).reshape(-1, 2)
    different = len(np.unique(contour, axis=0))
    if different < 3:
        raise InputError(path, f"{different} different points", "at least 3 points of a closed line")
    if np.linalg.matrix_rank(contour - contour[0]) < 2:
        raise InputError(path, "points on one straight line", "a line that encloses an area")
    return _without_repeats(contour)


def write_contour(path: str | Path, contour: np.ndarray) -> None:
    """Write points (points, 2) x y with two decimals, as the data set does: whole or not at all.

    Raises:
        InputError: fewer than 3 points, values that are not finite, or a path that cannot be written.
    """
    contour = np.asarray(contour, dtype=np.float64)
    if contour.ndim != 2 or contour.shape[1:] != (2,) or len(contour) < 3 or not np.isfinite(contour).all():
        raise InputError(path, f"a contour of shape {contour.shape}", "at least 3 finite points (x, y)")
    # Adding zero turns -0.0 into 0.0.
    write_text(path, "".join(f"{x:.2f} {y:.2f}\n" for x, y in np.round(contour, 2) + 0.0))


def contour_area(contour: np.ndarray) -> float:
    """Enclosed area in square pixels by the shoelace formula, positive in either direction."""
    x, y = np.asarray(contour, dtype=np.float64).T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)))


def contour_to_mask(contour: np.ndarray, shape: tuple[int, int], outline_included: bool = False) -> np.ndarray:
    """Fill a contour; what lies outside the image is cut off, the loops of a line that crosses itself are filled.

    Args:
        contour: (points, 2) x y in pixels, closed or not.
        shape: (rows, columns).
        outline_included: with False the pixels whose centres lie inside; with True the points are rounded down and the
            pixels on the line belong to the mask, as in the data set's PNG masks.

    Returns:
        bool (rows, columns).

    Example:
        >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.5], [0.5, 1.5]])
        >>> contour_to_mask(square, (3, 4)).astype(int).tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
        >>> contour_to_mask(square, (3, 4), outline_included=True).astype(int).tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    """
    contour = np.asarray(contour, dtype=np.float64).reshape(-1, 2)
    if outline_included:
        contour = np.floor(contour)
    mask = np.zeros(shape, dtype=np.uint8)
    mask.reshape(-1)[polygon_pixels(contour + _CENTRE, shape)] = 1
    if outline_included and len(contour):
        cv2.polylines(mask, [contour.astype(np.int32)], isClosed=True, color=1)
    return mask.astype(bool)


def mask_to_contours(mask: np.ndarray, outline_included: bool = False) -> list[np.ndarray]:
    """Outer outlines of all parts of a mask, the largest first; holes are not outlined.

    :func:`contour_to_mask` with the same ``outline_included`` gives back each part, its holes filled, exactly.

    Args:
        mask: bool or integers (rows, columns), not 0 is inside; or probabilities (floats 0 to 1), whose level 0.5 is
            followed between the pixel centres.
        outline_included: how the mask was made, see :func:`contour_to_mask`. Parts are 8-connected with True (a line is
            so), 4-connected with False.

    Returns:
        Each float64 (points, 2) x y in pixels, clockwise on the screen, the first point not repeated.
    """
    mask = np.asarray(mask)
    if outline_included:
        contours = _lines(mask > 0.5 if mask.dtype.kind == "f" else mask != 0)
    else:
        contours = _levels(mask if mask.dtype.kind == "f" else (mask != 0).astype(np.float64))
    return sorted(contours, key=contour_area, reverse=True)


def mask_to_contour(mask: np.ndarray, outline_included: bool = False) -> np.ndarray:
    """Outline of the largest part of a mask, see :func:`mask_to_contours`; float64 (0, 2) if the mask is empty."""
    contours = mask_to_contours(mask, outline_included)
    return contours[0] if contours else np.zeros((0, 2))


def check_contour(contour: np.ndarray, path: str | Path, name: str | None = None) -> list[Problem]:
    """What is wrong with a contour that can be used all the same: open, or crossing itself.

    An open contour is closed by a straight line. Contours that only touch themselves are fine.

    Args:
        contour: (points, 2) x y, at least 3.
        path: its file, for messages.
        name: what to call it in the problems, if not by its path.

    Raises:
        InputError: so far open (the ends are apart by more than half of the drawn length) that it encloses nothing.
    """
    name = str(path) if name is None else name
    found = []
    steps = np.linalg.norm(np.diff(contour, axis=0), axis=1)
    gap, usual = float(np.linalg.norm(contour[0] - contour[-1])), float(np.median(steps))
    if gap > _OPEN_STEPS * usual:
        apart = f"an open contour: its ends are {gap:.1f} px apart, neighbouring points {usual:.1f} px"
        if gap > _OPEN_SHARE * steps.sum():
            raise InputError(path, apart, "a closed line")
        found.append(Problem(name, f"{apart}; closed by a straight line"))
    if crosses_itself(contour):
        found.append(Problem(name, "the contour crosses itself; its loops are filled"))
    return found


def check_inside(
    contour: np.ndarray, shape: tuple[int, int], path: str | Path, name: str | None = None
) -> list[Problem]:
    """Whether a contour fits into its image of (rows, columns); points outside are cut off and told in a problem.

    Raises:
        InputError: the contour lies outside the image altogether.
    """
    low, high = contour.min(axis=0), contour.max(axis=0)
    last = np.array([shape[1], shape[0]]) - _CENTRE
    frame = f"the image of {shape[0]} rows x {shape[1]} columns"
    if (high < -_CENTRE).any() or (low > last).any():
        extent = f"x {low[0]:.1f} to {high[0]:.1f} and y {low[1]:.1f} to {high[1]:.1f}"
        raise InputError(path, f"a contour outside its image ({extent})", f"points within {frame}")
    outside = int(((contour < -_CENTRE) | (contour > last)).any(axis=1).sum())
    if not outside:
        return []
    reason = f"{outside} of {len(contour)} points of the contour lie outside {frame} and are cut off"
    return [Problem(str(path) if name is None else name, reason)]


def crosses_itself(contour: np.ndarray) -> bool:
    """Whether a closed line crosses itself; touching itself, or running back on itself, is no crossing."""
    ring = _without_repeats(np.asarray(contour, dtype=np.float64))
    return len(ring) > 3 and (_edges_cross(ring) or _loops_at_points(ring))


def _edges_cross(ring: np.ndarray) -> bool:
    """Whether two edges cross between their ends."""
    following = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], following[:, 1]), np.maximum(ring[:, 1], following[:, 1])
    # Of two edges at one height, one begins (from above) within the other's range.
    first, second = _within(low, low, high, "right")
    a, b, c, d = ring[first], following[first], ring[second], following[second]
    sides = [_cross(b - a, c - a), _cross(b - a, d - a), _cross(d - c, a - c), _cross(d - c, b - c)]
    signs = [np.sign(side) * (np.abs(side) > _TOUCH) for side in sides]
    return bool(((signs[0] * signs[1] < 0) & (signs[2] * signs[3] < 0)).any())


def _loops_at_points(ring: np.ndarray) -> bool:
    """Whether a line without crossing edges crosses itself at its points, which is usual on a half-pixel grid.

    Beside every edge the winding number is taken on both sides: around a line without crossing it is 0 outside and
    either 1 or -1 everywhere inside, while a loop has another one.
    """
    along = np.roll(ring, -1, axis=0) - ring
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    middle = ring + along / 2
    seen = set(_winding(np.concatenate([middle + _BESIDE * normal, middle - _BESIDE * normal]), ring).tolist())
    return len(seen - {0}) > 1 or bool(seen - {-1, 0, 1})


def _winding(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """int64 (n,): how often a closed line (vertices, 2) winds around each of the points (n, 2)."""
    following = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], following[:, 1]), np.maximum(ring[:, 1], following[:, 1])
    edge, point = _within(points[:, 1], low, high, "left")
    along = following[edge] - ring[edge]
    side = _cross(along, points[point] - ring[edge])
    turns = np.zeros(len(points), dtype=np.int64)
    np.add.at(turns, point[(along[:, 1] > 0) & (side > 0)], 1)
    np.add.at(turns, point[(along[:, 1] < 0) & (side < 0)], -1)
    return turns


def _within(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, end: Literal["left", "right"]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (range, value), by index, with low <= value < high (<= with ``end`` "right"): few of all there could be."""
    order = np.argsort(values, kind="stable")
    begin = np.searchsorted(values[order], low)
    count = np.searchsorted(values[order], high, side=end) - begin
    ranges = np.repeat(np.arange(len(low)), count)
    return ranges, order[np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + begin[ranges]]


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _point(line: str, number: int, path: Path) -> tuple[float, float]:
    try:
        x, y = (float(field) for field in line.split())
    except ValueError as error:
        raise InputError(path, f"{line.strip()[:60]!r} in line {number}", _EXPECTED) from error
    if not np.isfinite((x, y)).all():
        raise InputError(path, f"{line.strip()[:60]!r} in line {number}", "finite numbers")
    return x, y


def _without_repeats(ring: np.ndarray) -> np.ndarray:
    """The ring without points that equal the one before, the first of all counting as following the last."""
    return ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)] if len(ring) > 1 else ring


def _levels(values: np.ndarray) -> Iterable[np.ndarray]:
    """Outer 0.5 levels of a map (rows, columns) of floats."""
    # The edge of the image is an edge of the mask as well.
    padded = np.pad(values, 1)
    for ring in find_contours(padded, 0.5, fully_connected="low", positive_orientation="high"):
        contour = ring[:-1, ::-1] - 1.0
        if _signed_area(contour) < 0:
            yield _without_repeats(contour[::-1])


def _lines(mask: np.ndarray) -> Iterable[np.ndarray]:
    """Closed lines through the outermost pixels of a bool mask (rows, columns)."""
    chains, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for chain in chains:
        if len(chain) < 3:
            # One pixel or two have no inside: around the points of the half-pixel grid that are rounded to them.
            corners = [chain[:, 0] + step for step in ((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5))]
            yield cv2.convexHull(np.concatenate(corners).astype(np.float32))[:, 0].astype(np.float64)
        else:
            yield chain[::-1, 0].astype(np.float64) + _ROUNDED_DOWN


def _signed_area(contour: np.ndarray) -> float:
    x, y = contour.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))
