"""Label maps and probabilities as compressed TIFF that keeps the pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ..errors import InputError
from .files import atomic

MICROMETRES_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Length of TIFF's ResolutionUnit: 2 is the inch, 3 the centimetre (TIFF 6.0, page 38)."""


def write_label_tiff(path: str | Path, labels: np.ndarray, pixel_size_um: float | None = None) -> None:
    """Writes an instance or class map: uint16 where the ids fit, else uint32, deflate, whole or not at all.

    Args:
        path: ends in .tif or .tiff.
        labels: (rows, columns) integers from 0 on; uint8 maps of classes stay uint8.
        pixel_size_um: edge of a pixel in micrometres, kept in the resolution tags.

    Raises:
        ValueError: not two-dimensional, not integers, or an id outside 0 to 2**32 - 1.
        InputError: the folder cannot be written.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise ValueError(f"a label map is (rows, columns) of integers, not {labels.shape} of {labels.dtype}")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise ValueError(f"ids from {low} to {high} do not fit 32 bits without sign")
    if labels.dtype != np.uint8:
        labels = labels.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32)
    _write(path, labels, pixel_size_um)


def write_probability_tiff(path: str | Path, probability: np.ndarray, pixel_size_um: float | None = None) -> None:
    """Writes probabilities as uint8, 255 being 1.

    Args:
        path: ends in .tif or .tiff.
        probability: (rows, columns) or (classes, rows, columns), floats from 0 to 1, or uint8 scaled already.
        pixel_size_um: edge of a pixel in micrometres.

    Raises:
        ValueError: another number of axes.
        InputError: the folder cannot be written.
    """
    probability = np.asarray(probability)
    if probability.ndim not in (2, 3):
        raise ValueError(f"probabilities are ([classes,] rows, columns), not {probability.shape}")
    if probability.dtype != np.uint8:
        probability = np.rint(np.clip(probability, 0, 1) * np.float32(255)).astype(np.uint8)
    _write(path, probability, pixel_size_um)


def _write(path: str | Path, values: np.ndarray, pixel_size_um: float | None) -> None:
    options: dict[str, Any] = {}
    if pixel_size_um:
        per_centimetre = MICROMETRES_PER_UNIT[3] / pixel_size_um
        options = {"resolution": (per_centimetre, per_centimetre), "resolutionunit": "CENTIMETER"}
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            values,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 3},
            metadata=None,
            **options,
        )


def read_label_tiff(path: str | Path) -> np.ndarray:
    """Reads an instance map.

    Returns:
        (rows, columns) int32; uint32 where an id does not fit.

    Raises:
        InputError: the file is missing, is no TIFF, or holds no map of integers.
    """
    values = _read(path)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise InputError(path, f"{values.shape} of {values.dtype}", "a label map of rows x columns integers")
    fits = values.dtype.itemsize < 4 or not values.size or int(values.max()) <= np.iinfo(np.int32).max
    return values.astype(np.int32) if fits else values


def _read(path: str | Path) -> np.ndarray:
    try:
        return tifffile.imread(path)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "a TIFF file") from error
    except (tifffile.TiffFileError, OSError) as error:
        raise InputError(path, f"an unreadable file ({error})", "a TIFF file") from error
