"""Areas of cavity and myocardium in class maps, by the convention by which the maps were drawn."""

from __future__ import annotations

import cv2
import numpy as np


def frame_areas(maps: np.ndarray, outline_included: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Areas of cavity and myocardium in each frame, in square pixels.

    A mask that holds the pixels on its line (:mod:`..datasets.contours`: the Sunnybrook masks, and what is learnt from
    them) has about 7 % more pixels than the line encloses. Its area is that inside the line through its outermost pixels,
    and the myocardium is what the outer line encloses less the cavity.

    Args:
        maps: (phases, slices, rows, columns) integers: 1 cavity, 2 myocardium.
        outline_included: whether the maps hold the pixels on their lines; False counts pixels.

    Returns:
        Two arrays (phases, slices) float64.

    >>> square = np.zeros((1, 1, 9, 9), np.uint8)
    >>> square[0, 0, 2:7, 2:7] = 1
    >>> [float(frame_areas(square, included)[0][0, 0]) for included in (False, True)]
    [25.0, 16.0]
    """
    maps = np.asarray(maps)
    if not outline_included:
        cavity, wall = (np.count_nonzero(maps == value, axis=(2, 3)).astype(np.float64) for value in (1, 2))
        return cavity, wall
    cavity, wall = np.zeros(maps.shape[:2]), np.zeros(maps.shape[:2])
    for frame in map(tuple, np.argwhere(maps.any(axis=(2, 3)))):
        cavity[frame] = _enclosed(maps[frame] == 1)
        if (maps[frame] == 2).any():
            wall[frame] = max(_enclosed(maps[frame] > 0) - cavity[frame], 0.0)
    return cavity, wall


def _enclosed(mask: np.ndarray) -> float:
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(sum(cv2.contourArea(line) for line in lines))
