"""Aggregates that no laboratory filmed: outlines, backgrounds and looks drawn at random, with their masks.

Two filmed aggregates teach a network those two. What other laboratories have (elongated, bent, lobed; dark on a bright
ground with a darker rim; wells, dirt, uneven light, other focus) is drawn here, so that the network learns what an aggregate
is rather than what these two look like. Lengths are shares of the frame's side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import RandomState

from .outlines import draw_outline, white_noise

CLOUD_SHARE = 0.4
"""How many of the frames with debris have a cloud of it beside the aggregate."""


class Scene(NamedTuple):
    """A generated frame.

    Attributes:
        pixels: (size, size) float32, grey values about 0 to 1.
        mask: (size, size) uint8, 1 where the aggregate is.
    """

    pixels: np.ndarray
    mask: np.ndarray


def draw_scene(state: RandomState, size: int, texture: Callable[[], np.ndarray] | None = None) -> Scene:
    """One aggregate on a ground with light, dirt and shed cells as they may come.

    Args:
        state: of everything random.
        size: rows and columns.
        texture: gives grey values (size, size) float32 of about mean 0 and deviation 1 for the aggregate's inside, such as
            those of a filmed one; None draws noise.
    """
    mask = draw_outline(state, size)
    bright_ground = state.rand() < 0.7
    level = state.uniform(0.45, 0.9) if bright_ground else state.uniform(0.02, 0.35)
    ground = draw_ground(state, size, level, bright_ground)
    inside = draw_inside(state, mask, ground, bright_ground, texture)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), state.uniform(0.5, 1.6))
    pixels = ground * (1 - soft) + inside * soft
    pixels = add_rim(state, pixels, mask, bright_ground)
    if state.rand() < 0.75:
        pixels = add_debris(state, pixels, mask)
    if state.rand() < 0.15:
        pixels = add_shell(state, pixels, mask)
    if state.rand() < 0.25:
        pixels = emboss(state, pixels)
    return Scene(pixels.astype(np.float32), mask)


def noise(state: RandomState, size: int, sigma: float) -> np.ndarray:
    """(size, size) float32 of mean 0 and deviation 1 whose grains have about ``sigma`` pixels."""
    step = max(1, int(sigma))
    grains = cv2.GaussianBlur(white_noise(state, size // step + 3), (0, 0), max(sigma / step, 0.4))
    if step > 1:
        grains = cv2.resize(grains, (size + 2 * step, size + 2 * step), interpolation=cv2.INTER_CUBIC)
    grains = grains[:size, :size]
    return (grains - grains.mean()) / (grains.std() + 1e-6)


def bump(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where the distance is 0, falling off as a Gauss curve; cut before it underflows."""
    return np.asarray(np.exp(-np.minimum((distance / width) ** 2, 60.0)), np.float32)


def rings(state: RandomState, size: int) -> np.ndarray:
    """Distance of each pixel to a point near the frame's middle, 1 at the frame's edge."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    centre = state.uniform(-0.15, 0.15, 2).astype(np.float32)
    return np.hypot(rows - centre[0], columns - centre[1]) * 2


def draw_ground(state: RandomState, size: int, level: float, bright: bool) -> np.ndarray:
    """Uneven light, the wall of a well, grain, sometimes streaks."""
    ground = np.full((size, size), level, np.float32)
    slope = state.uniform(-0.15, 0.15, 2).astype(np.float32)
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    ground += slope[0] * rows + slope[1] * columns
    ground += state.uniform(0, 0.08) * noise(state, size, size * state.uniform(0.06, 0.25))
    distance = rings(state, size)
    if state.rand() < 0.5:
        ground += state.uniform(-0.35, 0.25) * np.clip(distance, 0, 1.4) ** 2
    if state.rand() < 0.4:
        ground += _well(state, distance, bright)
    ground += state.uniform(0.0, 0.03) * noise(state, size, state.uniform(0.5, 1.5))
    if state.rand() < 0.25:
        ground += state.uniform(0.01, 0.05) * noise(state, size, state.uniform(1.5, 6.0))
    if state.rand() < 0.1:
        for _ in range(state.randint(1, 4)):
            ends = state.randint(-size // 4, size + size // 4, 4)
            line = np.zeros((size, size), np.float32)
            cv2.line(line, ends[:2].tolist(), ends[2:].tolist(), 1.0, int(state.randint(1, 4)), cv2.LINE_AA)
            ground += state.uniform(-0.5, 0.2) * cv2.GaussianBlur(line, (0, 0), state.uniform(0.4, 3.0))
    return ground


def _well(state: RandomState, distance: np.ndarray, bright: bool) -> np.ndarray:
    """The wall of a well: another grey beyond some radius, and a line or a blurred band at it."""
    radius, soft = state.uniform(0.75, 1.25), state.uniform(0.01, 0.15)
    beyond = 1 / (1 + np.exp(np.clip((radius - distance) / soft, -30, 30)))
    band = bump(distance - radius, state.uniform(0.01, 0.08))
    step = state.uniform(-0.6, 0.1) if bright else state.uniform(-0.05, 0.5)
    return np.asarray(step * beyond + state.uniform(-0.3, 0.4) * band, np.float32)


def draw_inside(
    state: RandomState,
    mask: np.ndarray,
    ground: np.ndarray,
    bright_ground: bool,
    texture: Callable[[], np.ndarray] | None,
) -> np.ndarray:
    """Grey values of the aggregate: darker or brighter with its thickness, grainy, with regions of other grey."""
    size = len(mask)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    thickness = 1 - np.exp(-depth / (size * state.uniform(0.01, 0.12)))
    contrast = -state.uniform(0.03, 0.75) if bright_ground else state.uniform(0.1, 0.6)
    if state.rand() < 0.1:
        contrast = -contrast
    inside = ground + np.float32(contrast) * (state.uniform(0.3, 1.0) + thickness * state.uniform(0, 1.0)) / 1.3
    if texture is not None and state.rand() < 0.6:
        grains = texture()
    else:
        grains = np.sum([state.rand() * noise(state, size, sigma) for sigma in (0.7, 1.5, 3.0, 6.0)], axis=0)
        grains = (grains - grains.mean()) / (grains.std() + 1e-6)
        if state.rand() < 0.4:  # sharp speckles
            grains = np.sign(grains) * np.abs(grains) ** state.uniform(1.0, 1.8)
    # The darker the aggregate, the less of its inside is to be seen.
    strength = state.uniform(0.02, 0.2) * (1 - 0.6 * min(1.0, abs(contrast)))
    inside = inside + np.float32(strength) * grains
    if state.rand() < 0.5:
        inside += state.uniform(0.0, 0.12) * noise(state, size, size * state.uniform(0.04, 0.15))
    return np.clip(inside, -0.1, 1.3).astype(np.float32)


def add_rim(state: RandomState, pixels: np.ndarray, mask: np.ndarray, bright_ground: bool) -> np.ndarray:
    """Lines and halos along the outline, as phase contrast and refraction draw them."""
    if not mask.any():
        return pixels
    size = len(mask)
    inner = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outer = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    signed = np.where(mask > 0, inner, -outer)

    def line(place: float, width: float) -> np.ndarray:
        return bump(signed - place * size, width * size)

    uneven = 1 + np.float32(state.uniform(0, 0.6)) * noise(state, size, size * 0.1)
    if state.rand() < 0.75:
        low, high = (-0.6, 0.05) if bright_ground else (-0.2, 0.5)
        pixels = pixels + state.uniform(low, high) * uneven * line(
            state.uniform(0.002, 0.012), state.uniform(0.005, 0.02)
        )
    if state.rand() < 0.35:
        low, high = (0.0, 0.35) if bright_ground else (-0.3, 0.2)
        pixels = pixels + state.uniform(low, high) * uneven * line(
            state.uniform(0.015, 0.05), state.uniform(0.006, 0.025)
        )
    if state.rand() < 0.5:
        halo = np.where(mask > 0, 0, np.exp(-outer / (size * state.uniform(0.006, 0.06))))
        low, high = (-0.1, 0.35) if bright_ground else (-0.1, 0.15)
        pixels = pixels + state.uniform(low, high) * halo
    return np.asarray(pixels, np.float32)


def add_debris(state: RandomState, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shed cells around the aggregate or anywhere, dust, and clumps far smaller than the aggregate."""
    size = len(mask)
    pixels = np.ascontiguousarray(pixels, np.float32)
    outer = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    if state.rand() < CLOUD_SHARE and mask.any():
        pixels = add_cloud(state, pixels, mask, outer)
    centres = _debris_places(state, mask, outer)
    most = 0.12 * np.sqrt(mask.sum() + 1.0)
    radius = state.uniform(0.004, 0.014) * size
    ring, core = state.uniform(-0.5, 0.3), state.uniform(-0.4, 0.6)
    for row, column in centres:
        own = max(0.8, radius * state.uniform(0.6, 1.5))
        if state.rand() < 0.05:
            own = max(own, min(most, radius * 3))
        _cell(pixels, row, column, own, ring * state.uniform(0.5, 1.2), core * state.uniform(0.5, 1.2))
    for _ in range(state.poisson(1.5)):
        row, column = state.uniform(0, size, 2)
        own = state.uniform(0.004, 0.03) * size
        if outer[min(int(row), size - 1), min(int(column), size - 1)] > 2 * own:
            shade = state.uniform(-0.7, 0.3)
            _cell(pixels, row, column, own, shade, shade)
    return pixels


def add_cloud(state: RandomState, pixels: np.ndarray, mask: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """A dense cloud of shed cells on one side of the aggregate, touching it, over a haze of those out of focus.

    Args:
        state: of everything random.
        pixels: (rows, columns) float32, left as it is.
        mask: (rows, columns) uint8.
        outer: distance of each pixel to the aggregate, in px.
    """
    size = len(mask)
    inside = np.argwhere(mask > 0)
    middle, reach = inside.mean(axis=0), np.sqrt(len(inside) / np.pi)
    angle, far = state.uniform(0, 2 * np.pi), reach * state.uniform(0.9, 1.4)
    centre = middle + far * np.array([np.sin(angle), np.cos(angle)])
    spread = reach * state.uniform(0.25, 0.6)
    places = centre + state.standard_normal((state.randint(60, 260), 2)) * spread
    places = places[((places >= 0) & (places < size)).all(axis=1)]
    places = places[outer[places[:, 0].astype(int), places[:, 1].astype(int)] > 1.0]
    cells = np.zeros_like(pixels)
    radius = size * state.uniform(0.004, 0.011)
    ring, core = state.uniform(-0.3, 0.25), state.uniform(-0.3, 0.5)
    for row, column in places:
        bright = state.uniform(0.2, 1.2)
        _cell(cells, row, column, max(0.8, radius * state.uniform(0.6, 1.4)), ring * bright, core * bright)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    haze = bump(np.hypot(rows - centre[0], columns - centre[1]), spread * 1.6) * state.uniform(-0.12, 0.2)
    haze = haze * (1 + 0.5 * noise(state, size, max(1.0, 1.5 * radius)))
    # The aggregate lies before its cloud, or its edge would be lost.
    return np.asarray(pixels + (cells + haze) * (outer > 0.5), np.float32)


def _debris_places(state: RandomState, mask: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """(n, 2) rows and columns of shed cells, outside the aggregate: along it, in a cloud on one side, or anywhere."""
    size, count = len(mask), int(state.exponential(25)) + 2
    kind = state.rand()
    if kind < 0.35:
        places = state.uniform(0, size, (count, 2))
    else:
        inside = np.argwhere(mask > 0)
        if not len(inside):
            return np.zeros((0, 2))
        middle = inside.mean(axis=0)
        angle = state.uniform(0, 2 * np.pi)
        spread = state.uniform(0.2, 0.9) if kind < 0.7 else np.pi
        turned = angle + state.uniform(-spread, spread, count)
        reach = np.sqrt(mask.sum() / np.pi) * (1 + np.abs(state.normal(0.05, 0.35, count)))
        places = middle + np.stack([np.sin(turned), np.cos(turned)], axis=1) * reach[:, None]
    inside_frame = ((places >= 0) & (places < size)).all(axis=1)
    places = places[inside_frame]
    return places[outer[places[:, 0].astype(int), places[:, 1].astype(int)] > 1.0]


def _cell(pixels: np.ndarray, row: float, column: float, radius: float, ring: float, core: float) -> None:
    """Add one round cell in place: a core and a ring around it."""
    reach = int(np.ceil(radius * 2)) + 1
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    window = pixels[top : int(row) + reach + 1, left : int(column) + reach + 1]
    rows = np.arange(top, top + window.shape[0], dtype=np.float32)[:, None] - row
    columns = np.arange(left, left + window.shape[1], dtype=np.float32)[None] - column
    distance = np.hypot(rows, columns) / radius
    window += ring * bump(distance - 1, 0.35) + core * bump(distance, 0.6)


def add_shell(state: RandomState, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thin shell around the aggregate that is not of it, as the zona of an embryo or a drop of gel."""
    size = len(mask)
    inside = np.argwhere(mask > 0)
    if not len(inside):
        return pixels
    hull = cv2.convexHull(np.ascontiguousarray(inside[:, ::-1], np.int32))
    full = cv2.fillConvexPoly(np.zeros_like(mask), hull, 1)
    outer = cv2.distanceTransform(1 - full, cv2.DIST_L2, 5) / size
    place, width = state.uniform(0.01, 0.06), state.uniform(0.003, 0.012)
    band = ((outer > 0) & (outer < place)).astype(np.float32)
    lines = bump(outer - place, width) * (outer > 0)
    shade = state.uniform(-0.12, 0.08) * band * (1 - mask) + state.uniform(-0.25, 0.25) * lines
    return np.asarray(pixels + cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 0.7), np.float32)


def emboss(state: RandomState, pixels: np.ndarray) -> np.ndarray:
    """Shade as differential interference contrast does: the slope of the grey values in one direction."""
    angle = state.uniform(0, 2 * np.pi)
    soft = cv2.GaussianBlur(pixels, (0, 0), state.uniform(0.7, 1.5))
    slope = np.cos(angle) * cv2.Sobel(soft, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    share = state.uniform(0.4, 0.95)
    return np.asarray((1 - share) * pixels + share * (0.5 + state.uniform(0.15, 0.5) * slope), np.float32)
