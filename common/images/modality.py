"""What kind of microscopy an image is, from its pixels alone: used to stratify folds where no table tells it."""

from __future__ import annotations

import numpy as np

MODALITIES = ("fluorescence", "purple_on_purple", "purple_on_white", "brightfield", "purple_on_yellow")

# Luminance (0 to 1) of the most frequent shade: below, the background is dark. In the Data Science Bowl training set
# fluorescence stays below 0.15, grey brightfield above 0.85 and stained tissue above 0.45; dark H&E sections of MoNuSeg
# (TCGA) go down to 0.27.
_DARK_GREY = 0.35
_DARK_COLOUR = 0.2
# Largest minus smallest channel (0 to 1) of the background: 0.01 to 0.06 on white, 0.15 to 0.22 on purple.
_COLOURED = 0.1
_MOST_SAMPLES = 512


def guess_modality(pixels: np.ndarray) -> str:
    """Name the modality of one image.

    A dark background is fluorescence. On a bright one, a grey image is brightfield and a colour image stained tissue,
    told apart by the colour of its brightest fifth: purple, yellow or white. Grey images of more than 8 bits are judged
    within their own range of values, as cameras rarely use all 16 bits.

    Args:
        pixels: (rows, columns, 1 or 3) or (rows, columns), uint8, uint16 or float32.

    Returns:
        One of ``MODALITIES``.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    step = max(1, min(pixels.shape[:2]) // _MOST_SAMPLES)
    samples = _scaled(pixels[::step, ::step]).reshape(-1, pixels.shape[2])
    luminance = samples.mean(axis=1)
    grey = samples.shape[1] == 1
    if _mode(luminance) < (_DARK_GREY if grey else _DARK_COLOUR):
        return "fluorescence"
    if grey:
        return "brightfield"
    background = np.median(samples[luminance >= np.quantile(luminance, 0.8)], axis=0)
    if background.max() - background.min() < _COLOURED:
        return "purple_on_white"
    # Yellow lacks blue, purple lacks green.
    return "purple_on_yellow" if background[2] < background[1] else "purple_on_purple"


def _scaled(pixels: np.ndarray) -> np.ndarray:
    """Values as float32 from 0 to 1: by the type for 8 bits, else by the image's own range."""
    values = pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        return values / 255
    low, high = np.percentile(values, (0.5, 99.5))
    if pixels.shape[-1] == 3:
        low = np.float32(0)  # a shift would change the colours
    return ((values - low) / max(float(high - low), 1e-6)).clip(0, 1)


def _mode(luminance: np.ndarray) -> float:
    """Centre of the fullest of 32 bins after smoothing over three: the shade of the background."""
    counts = np.histogram(luminance, bins=32, range=(0, 1))[0]
    return float((np.argmax(np.convolve(counts, np.ones(3), mode="same")) + 0.5) / 32)
