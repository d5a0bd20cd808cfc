"""A line of text as a strip of a picture."""

from __future__ import annotations

import cv2
import numpy as np


def caption(text: str, width: int, height: int, left: int = 4, dark: bool = False) -> np.ndarray:
    """(height, width, 3) uint8: black on white, or with ``dark`` light on black; ASCII only.

    Args:
        text: cut off where the strip ends.
        width, height: of the strip, in pixels.
        left: pixels before the text.
        dark: for pictures on dark ground.
    """
    strip = np.full((height, width, 3), 0 if dark else 255, np.uint8)
    ink = (230, 230, 230) if dark else (0, 0, 0)
    place, size = (left, height - 6), 0.021 * height
    return np.asarray(cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA))
