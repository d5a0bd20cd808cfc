"""Square patches of stained tissue: where they lie on an image and which show tissue."""

from __future__ import annotations

import cv2
import numpy as np

from ..images.windows import window_starts
from ..tissue.masks import slide_light

TISSUE_SHARE = 0.1
"""Share of stained pixels from which a patch shows tissue."""

_PALEST, _DARKEST = 0.86, 0.02  # green light that stained tissue lets through, as a share of the empty slide's


def network_pixels(original: float, scale: float) -> int:
    """A length in original pixels as whole pixels of the network, at least 1.

    >>> network_pixels(36, 0.5)
    18
    """
    return max(1, round(original * scale))


def patch_corners(rows: int, columns: int, size: int, stride: int) -> np.ndarray:
    """Upper left corners of the patches of an image, row by row.

    The patches reach from edge to edge, evenly spread, neighbours at most ``stride`` apart, so that nothing at the lower
    and right border goes unseen. A side shorter than a patch has one, at 0.

    Args:
        rows, columns: of the image, in pixels.
        size: side of a patch.
        stride: between neighbours; above ``size`` it leaves gaps.

    Returns:
        (patches, 2) int64, row and column.

    Raises:
        ValueError: a number below 1.

    >>> patch_corners(4, 8, 4, 2).tolist()
    [[0, 0], [0, 2], [0, 4]]
    """
    if min(rows, columns, size, stride) < 1:
        raise ValueError(f"{rows} x {columns} pixels, patches of {size} every {stride}; expected numbers from 1")
    starts = [window_starts(length, size, size - stride) for length in (rows, columns)]
    return np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)


def tissue_mask(rgb: np.ndarray, light: np.ndarray | None = None) -> np.ndarray:
    """Where something stained lies; glass is not, nor is what lets no light through (ink, the dark beyond a scan).

    By green light, which haematoxylin and eosin both absorb.

    Args:
        rgb: (rows, columns, 3), uint8, uint16 or float; its full scale is told as by :func:`..tissue.masks.slide_light`.
        light: (3,) of the empty slide; estimated by default.

    Returns:
        (rows, columns) bool.

    Raises:
        ValueError: not three channels, or no pixel.
    """
    light = slide_light(rgb) if light is None else light
    green = rgb[..., 1]
    return (green < _PALEST * float(light[1])) & (green > _DARKEST * float(light[1]))


def tissue_shares(mask: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Share of true pixels in each patch, from one table of sums whatever the number of patches.

    Args:
        mask: (rows, columns) bool.
        corners: (patches, 2) integers, row and column.
        size: side of a patch; what lies beyond the image is not counted.

    Returns:
        (patches,) float64, 0 to 1.
    """
    sums = cv2.integral(mask.astype(np.uint8))
    top, left = corners[:, 0], corners[:, 1]
    bottom, right = np.minimum(top + size, mask.shape[0]), np.minimum(left + size, mask.shape[1])
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return inside / np.maximum((bottom - top) * (right - left), 1)
