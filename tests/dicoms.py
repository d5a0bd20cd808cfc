"""Small valid DICOM files, made for tests: one MR image, or a cine of several slices and phases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from common.cine.phantom.dicom import AXIAL, write_cine_images, write_mr_image
from common.cine.reading.geometry import base_to_apex

ROWS, COLUMNS = 12, 17
SPACING = (1.5, 1.25)
PATIENT = "Doe^Jane"
PHASES, SLICES = 5, 4
DISTANCE = 10.0
ELEMENTS: dict[str, Any] = {
    "PatientName": PATIENT,
    "PatientID": "secret-7",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "SeriesNumber": 3,
    "SeriesDescription": "cine sax",
    "PixelSpacing": list(SPACING),
    "SliceThickness": 8,
    "SpacingBetweenSlices": 10,
}


def oblique(first: float = 0.6, second: float = 0.5) -> tuple[float, ...]:
    """An orientation at an angle to all axes: two of the columns of a rotation about x, then about z."""
    c, s, d, t = np.cos(first), np.sin(first), np.cos(second), np.sin(second)
    rotation = np.array([[d, -t, 0], [t, d, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return tuple(rotation[:, 0]) + tuple(rotation[:, 1])


def write_mr(path: Path, stored: np.ndarray, orientation: tuple[float, ...] = AXIAL, **values: Any) -> Path:
    """Write a valid MR image of somebody; ``values`` are DICOM keywords, None takes an element out."""
    return write_mr_image(path, stored, {**ELEMENTS, "ImageOrientationPatient": orientation, **values})


def value(phase: int, place: int) -> int:
    """Value of every pixel of a frame of a written stack, so that its place in the stack can be seen."""
    return 100 * (phase + 1) + place


def write_cine(
    folder: Path,
    names: Iterable[str] | None = None,
    phases: int = PHASES,
    slices: int = SLICES,
    orientation: tuple[float, ...] = AXIAL,
    timed: bool = True,
    **common: Any,
) -> dict[tuple[int, int], Path]:
    """Write a cine with slices from base to apex, numbered like Sunnybrook: slice by slice, from 1."""
    stored = np.empty((phases, slices, ROWS, COLUMNS), np.int16)
    for phase, place in np.ndindex(phases, slices):
        stored[phase, place] = value(phase, place)
    beats = 800 + 10 * np.arange(slices)  # the heart rate differs from breath-hold to breath-hold
    return write_cine_images(
        folder,
        stored,
        positions=base_to_apex(np.array(orientation)) * DISTANCE * np.arange(slices)[:, None] + [5, -3, 8],
        trigger_times_ms=(np.arange(phases)[:, None] + 0.5) / phases * beats if timed else None,
        beats_ms=beats.tolist() if timed else None,
        names=None if names is None else list(names),
        values={**ELEMENTS, "ImageOrientationPatient": orientation, **common},
    )
