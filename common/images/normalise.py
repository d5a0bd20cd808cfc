"""Grey values of any microscope to one range, robustly and per image."""

from __future__ import annotations

import numpy as np

from .modality import guess_modality

# Linear grey values that are kept, where 0 and 1 are the image's usual range.
LOWEST, HIGHEST = -0.5, 10.0
_BEND = np.float32(5.0)
_SAMPLES = 1_000_000


def _subsample(pixels: np.ndarray) -> np.ndarray:
    """At most about a million pixels on a regular grid: (n, channels)."""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / _SAMPLES)))
    return pixels[::step, ::step].reshape(-1, pixels.shape[2])


def is_dark_field(pixels: np.ndarray) -> bool:
    """Whether objects shine on a dark background (fluorescence).

    A grey image is told by its median, which lies in the lower half of the range; a coloured one by the shade of its
    background, since the median of a dark section of stained tissue lies there too.

    Args:
        pixels: (rows, columns, channels) of any numeric dtype.
    """
    if pixels.shape[2] == 3 and not _is_grey(pixels):
        return guess_modality(pixels) == "fluorescence"
    low, middle, high = np.percentile(_subsample(pixels)[:, 0], (1.0, 50.0, 99.5))
    return bool(middle - low < 0.5 * (high - low))


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((np.ptp(_subsample(pixels), axis=1) == 0).all())


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


def to_unit_range(pixels: np.ndarray) -> np.ndarray:
    """Linear grey values: percentiles over the image become 0 and 1, the same for all channels.

    A coloured picture of fluorescence (a blue DAPI channel, say) becomes grey by its brightest channel.

    Args:
        pixels: (rows, columns, 1 or 3), integer or float.

    Returns:
        (rows, columns, 1 or 3) float32 in [-0.5, 10].
    """
    if pixels.shape[2] == 3 and is_dark_field(pixels):
        pixels = pixels.max(axis=2, keepdims=True)
    low, high = intensity_range(pixels)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(1.0 / (high - low))
    return np.clip(scaled, LOWEST, HIGHEST, out=scaled)


def compress(values: np.ndarray) -> np.ndarray:
    """Grey values of a dark field on a scale on which dim nuclei show and bright ones keep their texture.

    Fluorescence spans decades: one dead cell is ten times as bright as the nuclei around it. The inverse hyperbolic sine
    is linear near 0 and logarithmic far from it (Lupton et al., Astron J 118 (1999) 1406-1410, for stars, which do the
    same); 0 stays 0, 1 stays 1, 10 becomes 2.

    Args:
        values: linear grey values, any shape, float32.
    """
    return np.asarray(np.arcsinh(_BEND * values) * np.float32(1 / np.arcsinh(_BEND)), np.float32)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """An image of any microscope as the networks of the collection see it.

    Args:
        pixels: (rows, columns, 1 or 3), integer or float.

    Returns:
        (rows, columns, 3) float32 from about -0.7 to 2: linear in a bright field, compressed in a dark one. The channels
        of a grey image are equal.
    """
    scaled = to_unit_range(pixels)
    if scaled.shape[2] == 1 and is_dark_field(scaled):
        scaled = compress(scaled)
    scaled = np.minimum(scaled, 2.0)
    return np.repeat(scaled, 3, axis=2) if scaled.shape[2] == 1 else scaled
