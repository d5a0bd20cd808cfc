"""Grey values of any microscope to one range, robustly and per image."""

from __future__ import annotations

import numpy as np

_SAMPLES = 1_000_000


def _subsample(pixels: np.ndarray) -> np.ndarray:
    """At most about a million pixels on a regular grid: (n, channels)."""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / _SAMPLES)))
    return pixels[::step, ::step].reshape(-1, pixels.shape[2])


def is_dark_field(pixels: np.ndarray) -> bool:
    """Whether objects shine on a dark background (fluorescence): the median lies in the lower half of the range.

    Args:
        pixels: (rows, columns, channels) of any numeric dtype.
    """
    grey = _subsample(pixels).max(axis=1)
    low, middle, high = np.percentile(grey, (1.0, 50.0, 99.5))
    return bool(middle - low < 0.5 * (high - low))


def intensity_range(
    pixels: np.ndarray, low_percentile: float = 0.5, high_percentile: float = 99.7
) -> tuple[float, float]:
    """The grey values that become 0 and 1: percentiles over all channels together, so that colours keep their ratio.

    Returns:
        (low, high); high > low also for a constant image.
    """
    sample = _subsample(pixels)
    low, high = np.percentile(sample, (low_percentile, high_percentile))
    if high <= low:  # a few small objects on an empty ground: their own grey values must not be cut off
        high = sample.max()
    return float(low), float(max(high, low + 1e-6 * abs(low) + 1e-12))


def normalise(pixels: np.ndarray) -> np.ndarray:
    """An image of any microscope as the networks of the collection see it.

    A coloured picture of fluorescence (a blue DAPI channel, say) becomes grey by its brightest channel; then percentiles
    over the image become 0 and 1, the same for all channels. Values outside are kept up to -0.5 and 2.

    Args:
        pixels: (rows, columns, 1 or 3), integer or float.

    Returns:
        (rows, columns, 3) float32; the channels of a grey image are equal.
    """
    if pixels.shape[2] == 3 and is_dark_field(pixels):
        pixels = pixels.max(axis=2, keepdims=True)
    low, high = intensity_range(pixels)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(1.0 / (high - low))
    np.clip(scaled, -0.5, 2.0, out=scaled)
    return np.repeat(scaled, 3, axis=2) if scaled.shape[2] == 1 else scaled
