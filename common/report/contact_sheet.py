"""A picture of the patches that a training would draw, kind by kind, to be judged by eye."""

from __future__ import annotations

import cv2
import numpy as np

from ..images.boundaries import boundary_mask
from ..images.normalise import intensity_range
from ..tissue.sampling import KINDS, Sites, cut_patch
from .caption import caption
from .overlays import ON_BRIGHT

_GAP, _CAPTION = 4, 24  # pixels between patches, height of a caption
_MARK = (255, 220, 0)


def draw_sheet(
    image: np.ndarray,
    sites: Sites,
    instances: np.ndarray | None = None,
    size: int = 32,
    per_kind: int = 36,
    columns: int = 12,
    zoom: int = 2,
    seed: int = 0,
) -> np.ndarray:
    """Patches of each kind below a caption. A kind without sites has its caption alone.

    The site itself is framed; patches beyond the border show the mirrored image.

    Args:
        image: (rows, columns, 3); grey values other than uint8 are stretched between percentiles.
        sites: where patches can be drawn.
        instances: (rows, columns); their outlines are drawn, if given.
        size: of the patches, in pixels of the image.
        per_kind: most patches of each kind.
        columns: patches side by side.
        zoom: pixels of the sheet per pixel of the image.
        seed: of the choice of patches.

    Returns:
        (rows, columns, 3) uint8 RGB.
    """
    rng = np.random.RandomState(seed)
    outlined = _to_bytes(image)
    if instances is not None:
        outlined = outlined.copy()
        outlined[boundary_mask(instances)] = ON_BRIGHT.alone
    step = size * zoom + _GAP
    strips = []
    for kind in KINDS:
        places = sites.of(kind)
        chosen = places[rng.permutation(len(places))[:per_kind]]
        strips.append(caption(f"{kind}: {len(chosen)} of {len(places)}", columns * step + _GAP, _CAPTION, _GAP))
        strip = np.full((-(-len(chosen) // columns) * step, columns * step + _GAP, 3), 255, np.uint8)
        for number, (row, column) in enumerate(chosen):
            top, left = number // columns * step, number % columns * step + _GAP
            patch = cut_patch(outlined, int(row), int(column), size).repeat(zoom, axis=0).repeat(zoom, axis=1)
            strip[top : top + size * zoom, left : left + size * zoom] = _framed(patch, size // 2, zoom)
        strips.append(strip)
    return np.concatenate(strips)


def _framed(patch: np.ndarray, middle: int, zoom: int) -> np.ndarray:
    low, high = (middle - 1) * zoom, (middle + 2) * zoom - 1
    return np.asarray(cv2.rectangle(patch, (low, low), (high, high), _MARK, 1))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    low, high = intensity_range(image)
    return np.clip((image.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
