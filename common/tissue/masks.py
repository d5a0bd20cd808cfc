"""Where in stained tissue a nucleus can be, and where there is likely none: by the amount of haematoxylin alone.

Haematoxylin by colour deconvolution (Ruifrok and Johnston, Anal Quant Cytol Histol 23 (2001) 291-299). Sizes and distances
are in pixels of a quarter of a micrometre (40x), the collection's magnification for tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .stain import separate_stains

FAINTEST = 0.06
"""Optical density of haematoxylin below which nothing is a nucleus, on the image at half its size."""

MARGIN = 16
"""Pixels that :func:`possible_nuclei` adds around what is stained: about the diameter of a small nucleus."""

_FULL_SCALES = (1.0, 255.0, 4095.0, 65535.0)
_BRIGHT_PERCENTILE = 99.5
_SAMPLES = 65_536  # places at which the light is estimated
_BLUR = 1.5  # pixels; the grain of chromatin and of the camera goes, nuclei stay
_DARK_SHARE = 0.65  # of Otsu's threshold, which itself passes over pale nuclei
_SPECK_AREA, _HOLE_AREA = 30, 500
_FEWEST_SHARE = 0.01  # of the image that must remain as background, else the distance is reduced


@dataclass(frozen=True)
class LikelyBackground:
    """Places that are likely no nucleus.

    Attributes:
        mask: (rows, columns) bool.
        distance: pixels that were kept to dark structures and annotated nuclei: what was asked for or, in crowded tissue,
            less.
    """

    mask: np.ndarray
    distance: float


def slide_light(rgb: np.ndarray) -> np.ndarray:
    """Light of the empty slide: a bright percentile of each channel.

    In tissue without any glass the brightest places are stained too. No channel is therefore taken below three quarters of
    the full scale, nor below four fifths of the brightest channel: too bright a light shows haematoxylin where there is
    none, too dark a one hides nuclei, which is worse.

    Args:
        rgb: (rows, columns, 3), integer or float; the full scale is the smallest of 1 (floats only), 255, 4095 and 65535
            that the image does not exceed.

    Returns:
        (3,) float32, in the image's units, above 0.
    """
    _check(rgb)
    # Means of small squares: with the noise of single pixels the percentile would be too bright.
    size = (-(-rgb.shape[1] // 4), -(-rgb.shape[0] // 4))
    small = cv2.resize(_for_opencv(rgb), size, interpolation=cv2.INTER_AREA)
    step = max(1, int(np.sqrt(size[0] * size[1] / _SAMPLES)))
    light = np.percentile(small[::step, ::step].reshape(-1, 3), _BRIGHT_PERCENTILE, axis=0)
    brightest = float(rgb.max())
    scales = _FULL_SCALES if rgb.dtype.kind == "f" else _FULL_SCALES[1:]
    full = next((scale for scale in scales if brightest <= scale), brightest)
    return np.maximum(light, max(0.75 * full, 0.8 * float(light.max()))).astype(np.float32)


def haematoxylin(rgb: np.ndarray, light: np.ndarray | None = None) -> np.ndarray:
    """Amount of haematoxylin at each pixel.

    Args:
        rgb: (rows, columns, 3), uint8, uint16 or float in any range.
        light: (3,) of the empty slide, for parts of one slide; estimated from the image by default (:func:`slide_light`).

    Returns:
        (rows, columns) float32, optical density (natural logarithm), about 0 on glass; can be negative.

    Raises:
        ValueError: not three channels, or no pixel.
    """
    light = slide_light(rgb) if light is None else light
    return np.ascontiguousarray(separate_stains(rgb * (1.0 / light).astype(np.float32))[..., 0])


def possible_nuclei(rgb: np.ndarray, light: np.ndarray | None = None, margin: float = MARGIN) -> np.ndarray:
    """Where a nucleus could be: all but glass and tissue with hardly any haematoxylin, generously.

    Computed at half the size: four times faster, and the noise is averaged.

    Args:
        rgb: (rows, columns, 3), as for :func:`haematoxylin`.
        light: (3,) of the empty slide; estimated by default.
        margin: pixels added around what is stained.

    Returns:
        (rows, columns) bool. Nothing is true on empty glass.

    Raises:
        ValueError: not three channels, or no pixel.
    """
    light = slide_light(rgb) if light is None else light
    rows, columns = rgb.shape[:2]
    half = (-(-columns // 2), -(-rows // 2))
    small = cv2.resize(_for_opencv(rgb), half, interpolation=cv2.INTER_AREA)
    stained = cv2.GaussianBlur(haematoxylin(small, light), (0, 0), 1.0) > FAINTEST
    near = _distance_to(stained) <= margin / 2
    # Half-size pixel i is pixels 2 i and 2 i + 1; for an odd size that is off by one pixel at most, well in the margin.
    return np.repeat(np.repeat(near, 2, axis=0), 2, axis=1)[:rows, :columns]


def likely_background(
    rgb: np.ndarray, annotated: np.ndarray | None = None, distance: float = 50.0, light: np.ndarray | None = None
) -> LikelyBackground:
    """Places that are likely no nucleus even where nobody annotated.

    Dark structures are what exceeds 0.65 of Otsu's threshold of the blurred haematoxylin, without specks, with small holes
    filled. Background keeps ``distance`` to them and to annotated nuclei. In crowded tissue, where less than a hundredth of
    the image remains so, the distance is halved (50, 25, 12.5, 6.25, 3.125) until it does not.

    Args:
        rgb: (rows, columns, 3), as for :func:`haematoxylin`.
        annotated: (rows, columns), nuclei known, as a mask or instance map; None: none.
        distance: pixels.
        light: (3,) of the empty slide; estimated by default.

    Returns:
        The mask and the distance kept. Empty where every place is near something dark.

    Raises:
        ValueError: not three channels, no pixel, or ``annotated`` of another size.
    """
    if annotated is not None and annotated.shape != rgb.shape[:2]:
        raise ValueError(f"annotated is {annotated.shape}, the image {rgb.shape[:2]}")
    avoid = _dark_structures(cv2.GaussianBlur(haematoxylin(rgb, light), (0, 0), _BLUR))
    if annotated is not None:
        avoid |= annotated > 0
    away = _distance_to(avoid)
    smallest = distance / 16
    while True:
        mask = away > distance
        if distance <= smallest or np.count_nonzero(mask) >= _FEWEST_SHARE * mask.size:
            return LikelyBackground(mask, distance)
        distance /= 2


def _dark_structures(stain: np.ndarray) -> np.ndarray:
    # A regular subsample suffices for the threshold; below FAINTEST there is only glass, noise and eosin.
    step = max(1, int(np.sqrt(stain.size / 250_000)))
    hundredths = np.clip(stain[::step, ::step] * 100, 0, 255).astype(np.uint8)
    otsu = cv2.threshold(hundredths, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0] / 100
    dark = _without_small(stain > max(_DARK_SHARE * otsu, FAINTEST), _SPECK_AREA)
    return ~_without_small(~dark, _HOLE_AREA)


def _without_small(mask: np.ndarray, area: int) -> np.ndarray:
    """Without the 4-connected parts below ``area`` pixels (OpenCV: ten times faster than scikit-image's)."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = statistics[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return keep[labels]


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest true one, float32; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def _check(rgb: np.ndarray) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"an image of shape {rgb.shape}; expected (rows, columns, 3)")


def _for_opencv(rgb: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rgb if rgb.dtype in (np.uint8, np.uint16) else rgb.astype(np.float32))
