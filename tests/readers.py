"""Readers of what only other programs read, for tests of what is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile

from common.outputs.labels import MICROMETRES_PER_UNIT


def decode_runs(encodings: Iterable[str], shape: tuple[int, int]) -> np.ndarray:
    """Instance map (rows, columns) int32 of run-length encoded objects, numbered from 1 in their order."""
    flat = np.zeros(shape[0] * shape[1], dtype=np.int32)
    for identity, encoding in enumerate(encodings, start=1):
        for start, length in np.array(encoding.split(), dtype=np.int64).reshape(-1, 2):
            assert start > 0 and length > 0 and start - 1 + length <= flat.size
            assert not flat[start - 1 : start - 1 + length].any()
            flat[start - 1 : start - 1 + length] = identity
    return flat.reshape(shape[1], shape[0]).T


def read_pixel_size(path: str | Path) -> float | None:
    """Edge of a pixel in micrometres from the resolution tags of a TIFF; None where the file does not say."""
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        resolution, unit = tags.valueof("XResolution"), tags.valueof("ResolutionUnit")
    if not resolution or not all(resolution) or int(unit or 0) not in MICROMETRES_PER_UNIT:
        return None
    return MICROMETRES_PER_UNIT[int(unit)] * resolution[1] / resolution[0]
