"""Slices of cine MR for the network: read with their pixel size, grey values and pixels of one scale, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..images.reading import read_image
from ..outputs.nifti import NIFTI_SUFFIXES, kept_nifti, plane_number
from .reading.dicom import is_dicom, read_frame

LOW, HIGH = 1.0, 99.0
"""Percentiles of a slice that become 0 and 1: coil and scanner set the grey values of MR, and fat beside the chest is as
bright as blood, hence no extremes."""


class Slice(NamedTuple):
    """One slice as it lies in its file.

    Attributes:
        pixels: (rows, columns[, 3]) float32.
        spacing_mm: between rows, between columns; None where nothing tells it.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None


def read_slice(path: str | Path, spacing_mm: Sequence[float] | None = None, plane: int | None = None) -> Slice:
    """A slice from DICOM, from any picture, or one plane of a NIfTI volume.

    Args:
        path: the file.
        spacing_mm: between rows and columns, from a table; counts before what the file says.
        plane: of NIfTI, see :attr:`..outputs.nifti.NiftiStack.planes`; a volume of one plane needs none.

    Raises:
        InputError: the file cannot be read, has no such plane, or values there that are not finite.
    """
    path = Path(path)
    own: tuple[float, float] | None
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        volume = kept_nifti(path)
        pixels = np.array(volume.planes[plane_number(path, plane, len(volume.planes))], np.float32)
        own = volume.spacing_mm
        if not np.isfinite(pixels).all():
            raise InputError(path, "NaN or infinite values", "finite grey values")
    elif is_dicom(path):
        frame = read_frame(path)
        pixels, own = frame.pixels, frame.spacing_mm
    else:
        image = read_image(path)
        pixels = np.asarray(image.pixels, np.float32)
        size = image.pixel_size_um
        own = (size / 1000, size / 1000) if size else None
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
    if spacing_mm is not None:
        own = (float(spacing_mm[0]), float(spacing_mm[1]))
    if own is not None:
        check_spacing(path, own)
    return Slice(np.ascontiguousarray(pixels, dtype=np.float32), own)


def check_spacing(path: str | Path, spacing_mm: Sequence[float]) -> None:
    """Refuse pixels (row, column mm) that no picture of a heart has.

    Raises:
        InputError: below 0.1 or above 10 mm.
    """
    if not all(0.1 <= size <= 10 for size in spacing_mm):
        raise InputError(path, f"pixels of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm", "between 0.1 and 10 mm")


def normalise_slices(pixels: np.ndarray) -> np.ndarray:
    """Percentiles 1 and 99 of each slice to 0 and 1, not cut off; (..., rows, columns) float32. A flat slice becomes 0."""
    low, high = np.percentile(pixels, (LOW, HIGH), axis=(-2, -1), keepdims=True)
    scale = np.where(high > low, high - low, 1.0)
    return np.where(high > low, (pixels - low) / scale, 0.0).astype(np.float32)


def resampled_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: float) -> tuple[int, int]:
    """Rows and columns at the pixel size of the network, at least one of each."""
    rows, columns = (max(1, round(n * size / target_mm)) for n, size in zip(shape, spacing_mm, strict=True))
    return rows, columns


def lv_target(classes: np.ndarray, myocardium_known: bool, doubt: int = 3) -> np.ndarray:
    """Class map for the loss: where nobody drew the epicardium, what is not cavity may be background or myocardium.

    Args:
        classes: (rows, columns) uint8 of 0, 1, 2.
        myocardium_known: whether the epicardium was drawn.
        doubt: value of such pixels, see :class:`..engine.losses.PartialClassLoss`.
    """
    return classes if myocardium_known else np.where(classes == 1, 1, doubt).astype(np.uint8)


def spacing_of(record: dict[str, Any], found: Slice, assumed_mm: float | None) -> tuple[float, float]:
    """The pixel size of a slice, or the assumed one.

    Raises:
        InputError: it is not known and none is assumed.
    """
    if found.spacing_mm is not None:
        return found.spacing_mm
    if assumed_mm is None:
        raise InputError(record["image"], "no pixel size", "DICOM, spacing_mm in the data list, or a pixel size given")
    return assumed_mm, assumed_mm
