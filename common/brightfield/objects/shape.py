"""Size and shape of the objects of every frame, in pixels and, where the scale is known, in micrometres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.measure import perimeter_crofton

from ...outputs.measurements import measure

Row = dict[str, Any]

LENGTHS = ("perimeter", "equivalent_diameter", "major_axis", "minor_axis")

SHAPE_COLUMNS = (
    *("area_px", "perimeter_px", "equivalent_diameter_px", "circularity", "solidity"),
    *("major_axis_px", "minor_axis_px", "elongation", "eccentricity", "orientation_deg"),
    *("centroid_x_px", "centroid_y_px", "touches_border"),
)
"""Measurements of :func:`frame_shapes` in pixels, in the order of the table."""

MICROMETRES = ("area_um2", *(f"{name}_um" for name in LENGTHS))


def frame_shapes(labels: np.ndarray, pixel_size_um: float | None = None) -> list[Row]:
    """One row per object of a frame, by ascending number.

    ``object`` (number) and what :func:`...outputs.measurements.measure` says of position, area, axes, orientation and
    solidity, with these differences and additions:

    - ``perimeter_px``: by Crofton's formula in four directions (:func:`skimage.measure.perimeter_crofton`), within 1 % on
      discs and ellipses; the line through border pixels is 5 % too long on a large disc and too short on a small one, which
      circularity squares;
    - ``circularity``: 4 pi area / perimeter^2, 1 for a disc (1.01 at most for digital ones of 10 px and more across);
    - ``elongation``: major over minor axis, 1 for a disc; empty for a line of pixels.

    Args:
        labels: (rows, columns) integers, 0 background.
        pixel_size_um: edge of a pixel in micrometres; None leaves out what is in micrometres.
    """
    used = [np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0)]
    if not used[0].size:
        return []
    top, left = int(used[0][0]), int(used[1][0])
    # All numbers are those of the part of the frame in which there is something, at a fraction of the time.
    crop = labels[top : used[0][-1] + 1, left : used[1][-1] + 1]
    table = measure(crop)
    rows = []
    for index, number in enumerate(table["object"].tolist()):
        row: Row = {"object": number, **{name: table[name][index].item() for name in SHAPE_COLUMNS if name in table}}
        own = crop == number
        row["perimeter_px"] = float(perimeter_crofton(np.pad(own, 1), directions=4))
        row["circularity"] = 4 * np.pi * row["area_px"] / row["perimeter_px"] ** 2 if row["perimeter_px"] else None
        row["elongation"] = row["major_axis_px"] / row["minor_axis_px"] if row["minor_axis_px"] else None
        row["centroid_x_px"] += left
        row["centroid_y_px"] += top
        row["touches_border"] = _touches(labels.shape, top, left, own)
        if pixel_size_um:
            row["area_um2"] = row["area_px"] * pixel_size_um**2
            row |= {f"{name}_um": row[f"{name}_px"] * pixel_size_um for name in LENGTHS}
        rows.append(row)
    return rows


def _touches(shape: Sequence[int], top: int, left: int, own: np.ndarray) -> int:
    """1 where the object reaches the outermost rows or columns of the frame."""
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    at_start = top + rows[0] == 0 or left + columns[0] == 0
    return int(at_start or top + rows[-1] == shape[0] - 1 or left + columns[-1] == shape[1] - 1)
