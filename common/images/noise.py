"""Random surfaces for generated and altered images."""

from __future__ import annotations

import cv2
import numpy as np


def noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Random surface of unit standard deviation whose details are ``sigma`` pixels wide: (rows, columns) float32."""
    surface = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), max(sigma, 0.3))
    return (surface - surface.mean()) / max(float(surface.std()), 1e-6)


def smooth_field(shape: tuple[int, int], cells: int, rng: np.random.RandomState) -> np.ndarray:
    """A smooth random surface (rows, columns) float32 in [0, 1], from ``cells`` x ``cells`` random values."""
    coarse = rng.rand(cells, cells).astype(np.float32)
    surface = np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))
    low, high = float(surface.min()), float(surface.max())
    return np.asarray((surface - low) / max(high - low, 1e-6), np.float32)
