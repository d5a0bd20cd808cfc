"""Random surfaces for generated images."""

from __future__ import annotations

import cv2
import numpy as np


def noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Random surface of unit standard deviation whose details are ``sigma`` pixels wide: (rows, columns) float32."""
    surface = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), max(sigma, 0.3))
    return (surface - surface.mean()) / max(float(surface.std()), 1e-6)
