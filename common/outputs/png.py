"""Pictures as PNG, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .files import atomic


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG, fast rather than small, whole or not at all.

    Args:
        path: the file.
        picture: (rows, columns, 3) RGB or (rows, columns) grey, uint8.

    Raises:
        InputError: the folder cannot be written.
        ValueError: not uint8, or another shape.
    """
    if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
        raise ValueError(f"a picture is (rows, columns[, 3]) of uint8, not {picture.shape} of {picture.dtype}")
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    encoded = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    with atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
