"""Outlines of aggregates drawn at random: round, oval, elongated and bent, lobed, and frames without any."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import RandomState

EMPTY_SHARE = 0.03
"""Frames without an aggregate."""

FILLED = (0.03, 0.45)
"""Share of the frame that an aggregate fills, from and to."""


def draw_outline(state: RandomState, size: int) -> np.ndarray:
    """Mask of one aggregate, or of none, (size, size) uint8.

    Its middle lies anywhere in the middle half of the frame, so that it may be cut off by the frame's edge.
    """
    if state.rand() < EMPTY_SHARE:
        return np.zeros((size, size), np.uint8)
    draw = (_oval, _bent, _bent, _lobed)[state.randint(4)]
    shape = draw(state)
    area = np.exp(state.uniform(*np.log(FILLED))) * size * size
    own = np.count_nonzero(shape)
    factor = np.sqrt(area / max(own, 1))
    angle = state.uniform(0, 360)
    matrix = cv2.getRotationMatrix2D((_CANVAS / 2, _CANVAS / 2), angle, factor)
    matrix[:, 2] = matrix[:, 2] + size / 2 - _CANVAS / 2 + state.uniform(-0.18, 0.18, 2) * size
    soft = cv2.warpAffine(shape.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    rough = _rough(state, size)
    return (soft + rough * _edge(soft, size) > 0.5).astype(np.uint8)


_CANVAS = 256


def white_noise(state: RandomState, size: int) -> np.ndarray:
    """(size, size) float32, standard normal. A generator of its own: RandomState takes five times as long."""
    fast = np.random.Generator(np.random.SFC64(state.randint(2**31)))
    return fast.standard_normal((size, size), np.float32)


def _oval(state: RandomState) -> np.ndarray:
    """An ellipse whose radius wavers."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 8):
        radius += state.normal(0, 0.12 / wave) * np.cos(wave * angle + state.uniform(0, 2 * np.pi))
    stretch = np.exp(state.uniform(0, 0.6))
    points = np.stack([radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch], axis=1) * 50 + _CANVAS / 2
    return cv2.fillPoly(np.zeros((_CANVAS, _CANVAS), np.uint8), [points.round().astype(np.int32)], 1)


def _bent(state: RandomState) -> np.ndarray:
    """A body along a curved line, thick at one end or in the middle: what a gastruloid becomes as it elongates."""
    along = np.linspace(-1, 1, 40)
    turn = state.uniform(-1.6, 1.6) * (state.rand() < 0.8) + 1e-3
    bow = turn * along + state.normal(0, 0.3) * along**2
    step = np.stack([np.cos(bow), np.sin(bow)], axis=1)
    line = np.cumsum(step, axis=0) * 2.6
    line = line - line.mean(axis=0) + _CANVAS / 2
    length = 2.6 * len(along)
    width = length / state.uniform(2.0, 8.0)
    head, waist = state.uniform(-0.6, 0.6), state.uniform(-0.35, 0.35)
    radii = width * (1 + head * along + waist * np.cos(state.uniform(1.5, 4.0) * along * 2 + state.uniform(0, 6)))
    mask = np.zeros((_CANVAS, _CANVAS), np.uint8)
    for (x, y), radius in zip(line, np.maximum(radii, 3.0), strict=True):
        cv2.circle(mask, (round(x), round(y)), round(radius), 1, -1)
    return mask


def _lobed(state: RandomState) -> np.ndarray:
    """Two to six bodies that have grown together."""
    mask = np.zeros((_CANVAS, _CANVAS), np.uint8)
    place = np.array([_CANVAS / 2, _CANVAS / 2])
    radius = state.uniform(22, 36)
    for _ in range(state.randint(2, 7)):
        axes = (round(radius * state.uniform(0.8, 1.3)), round(radius * state.uniform(0.8, 1.1)))
        cv2.ellipse(mask, place.round().astype(int).tolist(), axes, state.uniform(0, 180), 0, 360, 1, -1)
        angle, reach = state.uniform(0, 2 * np.pi), radius * state.uniform(0.7, 1.25)
        place = np.clip(place + reach * np.array([np.cos(angle), np.sin(angle)]), 60, _CANVAS - 60)
        radius = radius * state.uniform(0.6, 1.15)
    # Lobes that have grown together have no sharp notches, or hardly any.
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), state.uniform(0.8, 4.5))
    grown = (soft > 0.45).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(grown)
    return (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def _rough(state: RandomState, size: int) -> np.ndarray:
    """Noise that makes the outline uneven, coarse or fine, or not."""
    sigma = size * state.uniform(0.004, 0.03)
    grains = cv2.GaussianBlur(white_noise(state, size), (0, 0), sigma)
    return np.asarray(grains / (grains.std() + 1e-6) * state.uniform(0, 0.25), np.float32)


def _edge(soft: np.ndarray, size: int) -> np.ndarray:
    """1 near the outline, 0 far from it, so that no island grows."""
    return (np.abs(cv2.GaussianBlur(soft, (0, 0), size * 0.006) - 0.5) < 0.45).astype(np.float32)
