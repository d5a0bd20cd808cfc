"""Paints a generated heart into a generated chest as balanced steady-state free precession (bSSFP) cine MR shows it.

Blood and fat are bright, muscle, liver and stomach grey, lungs and air dark, with a dark line where fat meets water and the
signal fading away from the coils on the chest. Coordinates are mm, x to the right and y downwards on the screen, the middle
of the left ventricle being (0, 0), the right ventricle to its left. The signal of blood is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...images.noise import noise
from .shape import Section

_BLOOD, _MUSCLE, _LIVER, _STOMACH, _FAT, _LUNG = 1.0, 0.40, 0.48, 0.34, 1.5, 0.07
_SKIN_MM = 82.0  # from the heart's middle to the skin, towards the chest
_TO_CHEST = (-0.62, -0.785)
_CURVE_MM = 180.0  # radius of the chest's curve
_FAT_MM, _CHEST_MM = 11.0, 13.0  # thickness of the fat under the skin and of the chest's muscle with its ribs
_COIL_MM = 210.0  # over which the signal falls to 1/e
_BLUR_PX, _NOISE = 0.6, 0.03
_PAPILLARY = ((-0.5, 3.8), (1.9, 4.4))  # angle from the right, clockwise, and radius in mm
_TRABECULAE = 0.22  # part of the cavity at end-diastole that they take up; they do not shrink while it does
_STRANDS = 0.5  # part of them that is too fine to be seen at end-diastole and packed together at end-systole


class Grid(NamedTuple):
    """Where pixels lie: x and y, both (rows, columns) float32 in mm, and how far apart they are."""

    x: np.ndarray
    y: np.ndarray
    pixel_mm: float


class Chest(NamedTuple):
    """What differs from one generated patient to the next: lengths in mm and signals.

    Attributes:
        skin: distance of the skin from the heart's middle.
        diaphragm: depth of the diaphragm below the heart's middle.
        right: width of the right ventricle at end-diastole.
        vessels: (n, 3) x, y and radius of vessels in the lung.
        ribs: (n,) angle of ribs about the chest's centre.
        stomach: x, y, radius.
        aorta: x, y, radius.
    """

    skin: float
    diaphragm: float
    right: float
    vessels: np.ndarray
    ribs: np.ndarray
    stomach: tuple[float, float, float]
    aorta: tuple[float, float, float]


def make_chest(rng: np.random.Generator) -> Chest:
    """A chest like no other."""
    vessels = np.column_stack([rng.uniform(-60, 105, 40), rng.uniform(-95, 20, 40), rng.uniform(0.6, 1.8, 40)])
    return Chest(
        skin=_SKIN_MM + rng.uniform(-6, 6),
        diaphragm=rng.uniform(33, 38),
        right=rng.uniform(28, 36),
        vessels=vessels,
        ribs=rng.uniform(-0.1, 0.1) + np.arange(-0.6, 0.7, 0.3),
        stomach=(rng.uniform(35, 48), rng.uniform(66, 72), rng.uniform(25, 30)),
        aorta=(rng.uniform(-70, -50), rng.uniform(98, 108), rng.uniform(9, 12)),
    )


def paint_slice(chest: Chest, sections: Sequence[Section], grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """All phases of one slice.

    Args:
        chest: what the heart lies in; it does not move.
        sections: the left ventricle in each phase.
        grid: of the image.
        rng: of textures and noise.

    Returns:
        (phases, rows, columns) float32, not negative.
    """
    still = _paint_chest(chest, sections[0].depth, grid, rng)
    muscle = noise(grid.x.shape, 2.0, rng)
    fading = _fading(chest, grid, rng)
    frames = []
    for section in sections:
        frame = still.copy()
        _paint_right(frame, chest, section, grid)
        _paint_left(frame, section, grid, muscle)
        frame *= 1 + 0.05 * noise(frame.shape, 3.0, rng)
        seen = cv2.GaussianBlur(frame * fading, (0, 0), _BLUR_PX)
        real, imaginary = _NOISE * rng.standard_normal((2, *frame.shape), dtype=np.float32)
        frames.append(np.hypot(seen + real, imaginary))  # magnitude: Rician noise
    return np.stack(frames)


def _lay(canvas: np.ndarray, distance: np.ndarray, value: float | np.ndarray, blur_mm: float) -> None:
    """Paint where a distance (mm) is negative, with an edge as wide as ``blur_mm`` on either side."""
    covered = np.clip(0.5 - distance / (2 * blur_mm), 0, 1)
    canvas += covered * (value - canvas)


def _oval(grid: Grid, centre: tuple[float, float], half: tuple[float, float], turn: float = 0.0) -> np.ndarray:
    """About the distance in mm from an ellipse, negative inside."""
    across, down = grid.x - centre[0], grid.y - centre[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    return (np.hypot((cosine * across + sine * down) / half[0], (cosine * down - sine * across) / half[1]) - 1) * min(
        half
    )


def _inside_skin(chest: Chest, grid: Grid) -> np.ndarray:
    """Distance below the skin in mm, negative outside the body."""
    away = chest.skin - _CURVE_MM
    return _CURVE_MM - np.hypot(grid.x - away * _TO_CHEST[0], grid.y - away * _TO_CHEST[1])


def _fading(chest: Chest, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Sensitivity of the coils: about 1 at the heart."""
    falling = np.exp((chest.skin - _inside_skin(chest, grid)) / _COIL_MM)
    slope = rng.uniform(-0.0008, 0.0008, 2)
    return np.asarray(falling * (1 + slope[0] * grid.x + slope[1] * grid.y), np.float32)


def _paint_chest(chest: Chest, depth: float, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """All that does not move, ``depth`` being that of the slice in parts of the heart's length."""
    canvas = np.zeros(grid.x.shape, np.float32)
    fine, coarse, veins = (noise(grid.x.shape, width, rng) for width in (1.5, 6.0, 2.5))
    below, blur = _inside_skin(chest, grid), grid.pixel_mm
    _lay(canvas, -below, _FAT * (1 + 0.06 * coarse), blur)
    _lay(canvas, _FAT_MM - below + 1.5 * coarse, 0.33 + 0.06 * fine + 0.1 * coarse, blur)
    for angle in chest.ribs:
        middle = np.arctan2(_TO_CHEST[1], _TO_CHEST[0]) + angle
        reach, away = _CURVE_MM - _FAT_MM - _CHEST_MM / 2, chest.skin - _CURVE_MM
        centre = (away * _TO_CHEST[0] + reach * np.cos(middle), away * _TO_CHEST[1] + reach * np.sin(middle))
        _lay(canvas, _oval(grid, centre, (13, 4.5), middle + np.pi / 2), 0.12, blur)
    lung = np.maximum(_FAT_MM + _CHEST_MM - below, _oval(grid, (5, 0), (112, 105)))
    _lay(canvas, lung + coarse, _LUNG + 0.015 * fine, blur)
    for x, y, radius in chest.vessels:
        _lay(canvas, np.maximum(np.hypot(grid.x - x, grid.y - y) - radius, lung + 6), 0.45, blur)
    _paint_belly(canvas, chest, depth, grid, (fine, coarse, veins))
    return canvas


def _paint_belly(
    canvas: np.ndarray, chest: Chest, depth: float, grid: Grid, textures: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """What lies below the diaphragm: fat and bowel, liver, stomach, spleen, a large vessel."""
    fine, coarse, veins = textures
    blur, dome = grid.pixel_mm, 0.0022 * grid.x**2
    under = np.maximum(chest.diaphragm + dome - grid.y, _FAT_MM - _inside_skin(chest, grid))
    _lay(canvas, under, 0.05, blur)  # the dark line along the diaphragm
    _lay(canvas, under + 1.5, np.clip(0.6 + 0.25 * coarse + 0.1 * fine, 0.1, 1.2), blur)
    liver = np.maximum(_oval(grid, (-52 - 10 * depth, chest.diaphragm + 27), (70, 29), -0.12), under + 2)
    stomach_x, stomach_y, stomach_radius = chest.stomach
    stomach = np.maximum(np.hypot(grid.x - stomach_x, grid.y - stomach_y) - stomach_radius, under + 2)
    spleen = np.maximum(_oval(grid, (100, chest.diaphragm + 45), (18, 34), 0.3), under + 2)
    aorta_x, aorta_y, aorta_radius = chest.aorta
    aorta = np.hypot(grid.x - aorta_x, grid.y - aorta_y) - aorta_radius
    organs = ((spleen, 0.5), (liver, _LIVER), (stomach, _STOMACH), (aorta, 0.9 * _BLOOD))
    for distance, value in organs:
        _lay(canvas, distance - 1.2, 0.08, blur)
        texture = value * (1 + 0.07 * fine + 0.05 * coarse) + (
            0.5 * np.clip(veins - 1.6, 0, 1) if value == _LIVER else 0
        )
        _lay(canvas, distance, texture, blur)


def _paint_right(canvas: np.ndarray, chest: Chest, section: Section, grid: Grid) -> None:
    """The right ventricle, a crescent that ends before the apex, and the fat that both ventricles lie in."""
    blur = grid.pixel_mm
    reach = np.sqrt(max(0.0, 1 - (section.depth / 0.82) ** 2))  # 1 at the base, 0 at its apex
    width = chest.right * reach * (1 - 0.4 * section.contraction)
    x, y = section.centre
    left, right = x - section.outer - width, x - 0.15 * section.outer
    middle, half = ((left + right) / 2, y + 2.0), ((right - left) / 2, 0.88 * section.outer * (0.55 + 0.45 * reach))
    around = np.minimum(
        _oval(grid, middle, (half[0] + 7, half[1] + 6), 0.08), section.radius(grid.x, grid.y) - section.outer - 3
    )
    _lay(canvas, around, 0.05, blur)
    _lay(canvas, around + 1.5, 0.8, blur)
    if width > 3:
        inner = _oval(grid, middle, half, 0.08)
        _lay(canvas, inner - 3.5, _MUSCLE, blur)
        _lay(canvas, inner, 0.95 * _BLOOD, 1.3 * blur)


def _paint_left(canvas: np.ndarray, section: Section, grid: Grid, texture: np.ndarray) -> None:
    """The left ventricle with papillary muscles and trabeculae, which truth counts as cavity."""
    radius = section.radius(grid.x, grid.y)
    _lay(canvas, radius - section.outer, _MUSCLE * (1 + 0.08 * texture), grid.pixel_mm + 0.3 * section.outer_blur)
    if section.inner <= 0:
        return
    x, y = section.centre
    angle = np.arctan2(grid.y - y, grid.x - x)
    packed = _TRABECULAE * (1 - _STRANDS * (1 - section.contraction)) * section.full_area
    blood = max(0.3, 1 - packed / (np.pi * section.inner**2))
    layer = section.inner * (1 - np.sqrt(blood))
    folds = layer * (1 + 0.35 * np.sin(9 * angle + 1.0) + 0.3 * np.sin(14 * angle))
    _lay(canvas, radius - section.inner + folds, _BLOOD, grid.pixel_mm + 0.3 * section.inner_blur)
    if 0.25 < section.depth < 0.75:
        for turn, size in _PAPILLARY:
            # Within the blood at end-diastole, pressed against the wall at end-systole.
            away = (0.62 + 0.13 * section.contraction) * section.inner
            distance = np.hypot(grid.x - x - away * np.cos(turn), grid.y - y - away * np.sin(turn))
            _lay(canvas, distance - size, _MUSCLE, grid.pixel_mm)
