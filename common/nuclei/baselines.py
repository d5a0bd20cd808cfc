"""Nuclei in H&E tissue without any learning: the floor that a network has to stand well above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from ..tissue.masks import haematoxylin

_FLAT = 0.02  # optical density (natural logarithm): about two grey levels of 255; no stain to threshold below


@dataclass(frozen=True)
class BaselineSettings:
    """Lengths in pixels of 0.25 um, the magnification of 40x; chosen among few on the 30 training images of MoNuSeg
    and TNBC's 39.

    Attributes:
        smoothing: standard deviation of the Gaussian on the haematoxylin.
        surroundings: standard deviation of the Gaussian that gives the mean of the surroundings.
        opening: radius of the disc that bridges and specks are removed with.
        distance_smoothing: standard deviation of the Gaussian on the distance map.
        seed_distance: seeds lie farther apart than this.
        min_area: smaller objects are dropped, pixels.
    """

    smoothing: float = 1.5
    surroundings: float = 25.0
    opening: int = 2
    distance_smoothing: float = 2.0
    seed_distance: int = 7
    min_area: int = 60


def nuclei_without_learning(
    rgb: np.ndarray, settings: BaselineSettings | None = None, pixel_size_um: float = 0.25
) -> np.ndarray:
    """Haematoxylin by colour deconvolution, Otsu's threshold, watershed on the distance to the outline.

    A pixel is nucleus where its smoothed haematoxylin exceeds both the image's Otsu threshold (IEEE Trans Syst Man
    Cybern 9 (1979) 62-66) and the mean of its surroundings, which parts nuclei in dense regions; then opening, filling
    of holes, and a watershed from the maxima of the smoothed distance map (Vincent and Soille, IEEE TPAMI 13 (1991)
    583-598).

    Args:
        rgb: (rows, columns, 3) bright-field image of stained tissue, any number type.
        settings: lengths at 0.25 um per pixel.
        pixel_size_um: of the image; lengths are scaled to it.

    Returns:
        (rows, columns) int32, 0 background, ids 1..N.

    Raises:
        ValueError: not a colour image.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"stained tissue is (rows, columns, 3), not {rgb.shape}")
    settings, scale = settings or BaselineSettings(), 0.25 / pixel_size_um
    mask = _stained(rgb, settings, scale)
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    distance = cv2.GaussianBlur(distance, (0, 0), settings.distance_smoothing * scale)
    # Pieces one by one, so that none stays without a seed.
    pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    apart = max(1, round(settings.seed_distance * scale))
    peaks = peak_local_max(distance, min_distance=apart, labels=pieces, exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _large(watershed(-distance, seeds, mask=mask), settings.min_area * scale**2)


def _stained(rgb: np.ndarray, settings: BaselineSettings, scale: float) -> np.ndarray:
    """Pixels of much haematoxylin, without specks and holes."""
    amount = cv2.GaussianBlur(haematoxylin(rgb), (0, 0), settings.smoothing * scale)
    if float(np.ptp(amount)) < _FLAT:
        return np.zeros(amount.shape, bool)
    around = cv2.GaussianBlur(amount, (0, 0), settings.surroundings * scale)
    mask = ((amount > threshold_otsu(amount)) & (amount > around)).astype(np.uint8)
    side = 2 * max(1, round(settings.opening * scale)) + 1
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return ndimage.binary_fill_holes(opened)


def _large(labels: np.ndarray, min_area: float) -> np.ndarray:
    """Objects of at least this area, numbered 1..N."""
    areas = np.bincount(labels.ravel())
    keep = areas >= min_area
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
