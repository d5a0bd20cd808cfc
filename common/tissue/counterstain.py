"""Immunohistochemistry: told by its brown, and shown without it.

DAB colours an antigen brown, and haematoxylin, the counterstain, the nuclei a pale blue. Beside the brown the blue is faint,
so that a network which learnt from H&E passes over it; alone and as strong as in H&E it is what such a network knows.
"""

from __future__ import annotations

import numpy as np

from .masks import haematoxylin, slide_light
from .stain import STAINS

BROWN_SHARE = 0.1
"""Share of brown pixels from which an image is immunohistochemistry. In 469 images of H&E (MoNuSeg, TNBC, lymphoma, Data
Science Bowl) it is 0.06 at most, in scikit-image's image of immunohistochemistry 0.55."""

_STAINED = 0.6  # optical density of the three colours together
_STRENGTH = 1.0  # optical density that nuclei get, about that of H&E
_NUCLEI_PERCENTILE = 97.0
_SAMPLES = 100_000
_ROWS = 512  # at a time: slides do not fit in memory several times


def brown_share(rgb: np.ndarray) -> float:
    """Share of pixels that are brown: stained, most of it blue light lost, some of the red too (else it is yellow).

    Args:
        rgb: (rows, columns, 3), uint8, uint16 or float in any range, on a bright ground.
    """
    step = _step(rgb)
    density = _density(rgb[::step, ::step], slide_light(rgb))
    red, green, blue = np.moveaxis(density, -1, 0)
    brown = (density.sum(-1) > _STAINED) & (blue > 1.1 * green) & (red < 0.75 * blue) & (red > 0.2 * blue)
    return float(brown.mean())


def counterstain(rgb: np.ndarray) -> np.ndarray:
    """The same image with haematoxylin alone, strengthened to what it is in H&E.

    Args:
        rgb: as in :func:`brown_share`.

    Returns:
        (rows, columns, 3) uint8, on a white ground.
    """
    light, step = slide_light(rgb), _step(rgb)
    amount = haematoxylin(rgb[::step, ::step], light)
    gain = _STRENGTH / max(float(np.percentile(amount, _NUCLEI_PERCENTILE)), 0.1)
    shown = np.empty(rgb.shape, np.uint8)
    for first in range(0, rgb.shape[0], _ROWS):
        part = np.maximum(haematoxylin(rgb[first : first + _ROWS], light), 0)
        shown[first : first + _ROWS] = np.rint(255 * np.exp(-gain * part[..., None] * STAINS[0]))
    return shown


def _density(rgb: np.ndarray, light: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log(np.clip(rgb / light, 1 / 256, 1)), np.float32)


def _step(rgb: np.ndarray) -> int:
    return max(1, int(np.sqrt(rgb.shape[0] * rgb.shape[1] / _SAMPLES)))
