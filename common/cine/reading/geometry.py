"""Where the pixels of a stack of slices lie in the patient: affines from DICOM positions, and whether the slices are even.

Index coordinates are (column, row, slice), the centre of the first pixel of the first slice being (0, 0, 0). Patient
coordinates are DICOM's: mm, x to the patient's left, y to the back, z to the head (LPS); NIfTI's are RAS.
"""

from __future__ import annotations

import numpy as np

EVEN_WITHIN_MM = 0.5
"""How far a slice may lie from where the affine puts it before the stack is called uneven."""

_TO_APEX = np.array([1.0, -1.0, -1.0])
_COSINES_WITHIN = 1e-2


def slice_normal(orientation: np.ndarray) -> np.ndarray:
    """Unit vector across a slice: direction along a row times direction along a column.

    Args:
        orientation: (6,) ImageOrientationPatient: direction cosines along a row (increasing column), then along a column.

    Returns:
        (3,) float64.

    Raises:
        ValueError: the two are no unit vectors at a right angle.

    >>> slice_normal(np.array([1, 0, 0, 0, 1, 0])).tolist()
    [0.0, 0.0, 1.0]
    """
    cosines = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=_COSINES_WITHIN):
        raise ValueError(f"an orientation is two unit vectors at a right angle, not {cosines.round(4).tolist()}")
    normal = np.cross(cosines[0], cosines[1])
    return normal / np.linalg.norm(normal)


def base_to_apex(orientation: np.ndarray) -> np.ndarray:
    """The slice normal, turned so that a short-axis stack ordered along it runs from the base of the heart to its apex.

    The apex points to the left, to the front and to the feet, so it is the sign with which the normal agrees with
    (left, front, feet). A heart on the right side or a wrong patient position in the scanner can turn this round; for
    other views it is an order like any other, and the same for every stack of that orientation.

    Args:
        orientation: (6,) as in :func:`slice_normal`, and with its errors.

    Returns:
        (3,) float64 unit vector.

    >>> base_to_apex(np.array([1, 0, 0, 0, 1, 0])).tolist()  # axial slices: towards the feet
    [-0.0, -0.0, -1.0]
    """
    normal = slice_normal(orientation)
    return -normal if normal @ _TO_APEX < 0 else normal


def stack_affine(
    positions: np.ndarray,
    orientation: np.ndarray,
    spacing_mm: tuple[float, float],
    single_distance_mm: float | None = None,
) -> np.ndarray:
    """Affine that takes (column, row, slice, 1) to patient coordinates in mm (LPS).

    DICOM PS3.3 C.7.6.2.1.1 within a slice; from slice to slice the measured mean step from the first to the last, not
    what a header says, so that a tilted stack is right too. An uneven stack has no affine: see :func:`uneven_slices`.

    Args:
        positions: (slices, 3) centre of the first pixel of each slice (ImagePositionPatient), in order.
        orientation: (6,) as in :func:`slice_normal`, and with its errors.
        spacing_mm: between rows, between columns (PixelSpacing).
        single_distance_mm: step along :func:`base_to_apex` for a stack of one slice, where nothing can be measured;
            1 mm where it is not known.

    Returns:
        (4, 4) float64.
    """
    positions = np.asarray(positions, dtype=np.float64)
    along_row, along_column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    if len(positions) > 1:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
    else:
        step = base_to_apex(orientation) * (single_distance_mm or 1.0)
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing_mm[1]
    affine[:3, 1] = along_column * spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return affine


def to_patient(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Patient coordinates (n, 3) in mm of index coordinates (n, 3): column, row, slice; fractions are allowed."""
    return np.asarray(index, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def to_index(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index coordinates (n, 3) of patient coordinates (n, 3) in mm: the inverse of :func:`to_patient`."""
    return to_patient(np.linalg.inv(affine), points)


def slice_distances(positions: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Distance from each slice to the next across the slices, (slices - 1,) in mm; negative against the normal's order.

    Args:
        positions: (slices, 3) in order.
        orientation: (6,) as in :func:`slice_normal`, and with its errors.
    """
    return np.diff(np.asarray(positions, dtype=np.float64) @ base_to_apex(orientation))


def uneven_slices(positions: np.ndarray, orientation: np.ndarray, affine: np.ndarray) -> str | None:
    """What is uneven about a stack, in words: slices over ``EVEN_WITHIN_MM`` off the affine; else None.

    Args:
        positions: (slices, 3) in order.
        orientation: (6,) as in :func:`slice_normal`, and with its errors.
        affine: (4, 4) of the stack.
    """
    positions = np.asarray(positions, dtype=np.float64)
    index = np.zeros_like(positions)
    index[:, 2] = np.arange(len(positions))
    off = float(np.linalg.norm(to_patient(affine, index) - positions, axis=1).max())
    if off <= EVEN_WITHIN_MM:
        return None
    distances = np.abs(slice_distances(positions, orientation))
    return f"uneven slices, {distances.min():.2f} to {distances.max():.2f} mm apart and up to {off:.2f} mm from even places"
