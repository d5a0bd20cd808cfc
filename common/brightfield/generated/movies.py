"""A generated movie of an aggregate that elongates and turns, with its outlines; for tests and demo."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import RandomState

from .aggregates import draw_scene


class Movie(NamedTuple):
    """A generated movie.

    Attributes:
        pixels: (frames, size, size) uint8.
        truth: (frames, size, size) uint8, 1 where the aggregate is.
    """

    pixels: np.ndarray
    truth: np.ndarray


def draw_movie(frames: int, size: int = 160, seed: int = 0, bits: int = 8) -> Movie:
    """A generated scene, stretched more and more along one axis and slowly turned; each frame has its own grain.

    Args:
        frames: number of frames.
        size: rows and columns.
        seed: of everything random; the first scene from there on with one whole aggregate in its middle is taken.
        bits: 8 or 16.
    """
    number = seed
    while True:
        state = RandomState(number)
        scene = draw_scene(state, size)
        edge = np.concatenate([scene.mask[[0, -1]].ravel(), scene.mask[:, [0, -1]].ravel()])
        if scene.mask.mean() > 0.06 and not edge.any() and np.ptp(scene.pixels) > 0.4:
            break
        number += 1000
    rows, columns = np.nonzero(scene.mask)
    middle = (float(columns.mean()), float(rows.mean()))
    pixels, truth = [], []
    for index in range(frames):
        part = index / max(frames - 1, 1)
        matrix = _growth(middle, angle=40 * part, stretch=1 + 0.35 * part)
        shown = cv2.warpAffine(scene.pixels, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        shown = shown + state.normal(0, 0.01, shown.shape)
        mask = cv2.warpAffine(scene.mask.astype(np.float32), matrix, (size, size))
        pixels.append(shown)
        truth.append((mask > 0.5).astype(np.uint8))
    stack = np.stack(pixels)
    low, high = np.percentile(stack, (0.1, 99.9))
    scaled = np.clip((stack - low) / (high - low), 0, 1) * (2**bits - 1)
    return Movie(scaled.round().astype(np.uint8 if bits == 8 else np.uint16), np.stack(truth))


def _growth(middle: tuple[float, float], angle: float, stretch: float) -> np.ndarray:
    """(2, 3) matrix that stretches along one axis, keeps the area, and turns about the middle."""
    turn = cv2.getRotationMatrix2D((0.0, 0.0), angle, 1)[:, :2]
    matrix = turn @ np.diag([stretch, 1 / stretch])
    return np.hstack([matrix, (np.array(middle) - matrix @ middle)[:, None]])
