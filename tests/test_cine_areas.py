"""Areas of discs and rings, by both conventions of which pixels a line owns."""

from __future__ import annotations

import numpy as np
import pytest

from common.cine.areas import frame_areas
from common.datasets.contours import contour_to_mask

ANGLES = np.linspace(0, 2 * np.pi, 180, endpoint=False)


def disc(radius: float, outline_included: bool) -> np.ndarray:
    line = np.stack([40 + radius * np.cos(ANGLES), 42.3 + radius * np.sin(ANGLES)], axis=1)
    return contour_to_mask(line, (84, 80), outline_included)


@pytest.mark.parametrize("radius", [6, 12, 25])
@pytest.mark.parametrize("outline_included", [False, True])
def test_the_area_is_that_inside_the_line_however_the_mask_was_made(radius: float, outline_included: bool) -> None:
    maps = np.where(disc(radius, outline_included), 1, np.where(disc(radius + 8, outline_included), 2, 0))[None, None]
    cavity, wall = frame_areas(maps, outline_included)
    assert cavity[0, 0] == pytest.approx(np.pi * radius**2, rel=0.04)
    assert wall[0, 0] == pytest.approx(np.pi * ((radius + 8) ** 2 - radius**2), rel=0.04)


def test_pixels_on_the_line_would_make_a_small_cavity_a_tenth_too_large() -> None:
    maps = disc(12, True).astype(np.uint8)[None, None]
    assert frame_areas(maps, False)[0][0, 0] > 1.07 * frame_areas(maps, True)[0][0, 0]


def test_frames_without_heart_have_no_area_and_a_cavity_alone_no_wall() -> None:
    maps = np.zeros((2, 1, 84, 80), np.uint8)
    maps[1, 0] = disc(9, True)
    cavity, wall = frame_areas(maps, True)
    assert cavity[0, 0] == 0 < cavity[1, 0]
    assert not wall.any()
