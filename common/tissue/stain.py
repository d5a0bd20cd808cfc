"""Colour of stained tissue in optical density: taking an image apart into stains and putting it together again.

Stain vectors of haematoxylin, eosin and DAB: Ruifrok and Johnston, Anal Quant Cytol Histol 23 (2001) 291-299. Done here
in single precision because scikit-image's ``rgb2hed`` works in double and clips negative stains, which breaks the inverse.
"""

from __future__ import annotations

import numpy as np

# Rows: haematoxylin, eosin, DAB; columns: optical density of red, green, blue. Each row has unit length.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(STAINS).astype(np.float32)
_DARKEST = 1.0 / 256.0


def separate_stains(rgb: np.ndarray) -> np.ndarray:
    """Amount of each stain at each pixel.

    Args:
        rgb: (rows, columns, 3) float32, 1 is the light of the empty slide; values below 1/256 are raised to it.

    Returns:
        (rows, columns, 3) float32: haematoxylin, eosin, DAB, in optical density (natural logarithm); can be negative.
    """
    return np.asarray(-np.log(np.maximum(rgb, _DARKEST)) @ _UNMIX, np.float32)


def combine_stains(stains: np.ndarray) -> np.ndarray:
    """Inverse of :func:`separate_stains`: (rows, columns, 3) stain amounts to RGB, 1 is the light of the empty slide."""
    return np.asarray(np.exp(-(stains @ STAINS)), np.float32)


def jitter_stains(rgb: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Scale and shift each stain (Tellez et al., IEEE TMI 37 (2018) 2126-2136): what another laboratory would have seen.

    Args:
        rgb: (rows, columns, 3) float32 in [0, 1].
        gain, offset: (3,) for haematoxylin, eosin and DAB.

    Returns:
        (rows, columns, 3) float32, clipped to [0, 1].
    """
    return np.clip(combine_stains(separate_stains(rgb) * gain.astype(np.float32) + offset.astype(np.float32)), 0.0, 1.0)


def exchange_stain(rgb: np.ndarray, stain: int, colour: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """Show one stain in another colour: eosin as DAB makes immunohistochemistry of H&E.

    Args:
        rgb: (rows, columns, 3) float32 in [0, 1].
        stain: 0 haematoxylin, 1 eosin, 2 DAB.
        colour: (3,) optical density of red, green, blue, of any length above 0.
        gain: how much stronger the new stain is; 1 shows the amounts that are there.

    Returns:
        (rows, columns, 3) float32, clipped to [0, 1].
    """
    stains = separate_stains(rgb)
    change = gain * colour / np.linalg.norm(colour) - STAINS[stain]
    changed = combine_stains(stains) * np.exp(-stains[..., stain, None] * change.astype(np.float32))
    return np.asarray(np.clip(changed, 0.0, 1.0), np.float32)
