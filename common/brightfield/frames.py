"""Frames as the network sees them: grey values of any camera to one range, any size to one size, and maps back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ..images.resize import resize

LOWEST, HIGHEST = -0.5, 1.5
"""Grey values that are kept, where 0 and 1 are a frame's usual range."""

_SAMPLES = 65_536


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Grey values of one frame, or of one volume, to a range that bit depth, gain and a few bright pixels do not change.

    Percentiles 1 and 99 of each channel become 0 and 1, and what lies far beyond is cut off: a halo or a reflection may be
    as bright as it likes. A frame of one grey value becomes 0 everywhere.

    Args:
        pixels: (..., channels), integers or finite floats.

    Returns:
        The same shape, float32 in [-0.5, 1.5].
    """
    values = np.asarray(pixels)
    flat = values.reshape(-1, values.shape[-1])
    # An odd step, or it would always meet the same columns.
    sample = flat[:: max(1, len(flat) // _SAMPLES) | 1]
    low, high = np.percentile(sample, (1.0, 99.0), axis=0).astype(np.float64)
    # A few small things on an empty ground: their own range.
    flat_ground = high <= low
    high = np.where(flat_ground, flat.max(axis=0), high)
    span = np.maximum(high - low, 1e-12 + 1e-6 * np.abs(low))
    scaled = (values.astype(np.float32) - low.astype(np.float32)) * (1.0 / span).astype(np.float32)
    return np.clip(scaled, LOWEST, HIGHEST, out=scaled)


def working_shape(shape: Sequence[int], size: int) -> tuple[int, ...]:
    """What a frame or volume is resampled to: its longest side becomes ``size``, the others keep their proportion.

    >>> working_shape((500, 700), 256)
    (183, 256)
    """
    factor = size / max(shape)
    return tuple(max(1, round(length * factor)) for length in shape)


def resample(images: torch.Tensor, shape: Sequence[int], labels: bool = False) -> torch.Tensor:
    """Linear from corner to corner, averaging where it shrinks; or the nearest element, keeping the type.

    :func:`..images.resize.resize` for two dimensions or three (torch averages in two only; here block by block).

    Args:
        images: (batch, channels, rows, columns) or (batch, channels, depth, rows, columns).
        shape: what is wanted.
        labels: take the nearest element.
    """
    if len(shape) == 2:
        return resize(images, shape, labels)
    wanted, there = [int(length) for length in shape], list(images.shape[2:])
    if there == wanted:
        return images
    if labels:
        return functional.interpolate(images.float(), wanted, mode="nearest-exact").to(images.dtype)
    blocks = [max(1, old // new) for new, old in zip(wanted, there, strict=True)]
    if max(blocks) > 1:
        images = functional.avg_pool3d(images, blocks, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(images, wanted, mode="trilinear", align_corners=False)


def network_image(pixels: np.ndarray, size: int, spatial_dims: int = 2) -> torch.Tensor:
    """Frames or a volume as the network takes them, each frame normalised by itself, a volume as a whole.

    Args:
        pixels: (frames, rows, columns[, channels]); with three dimensions (depth, rows, columns[, channels]).
        size: of the longest side.
        spatial_dims: 2 or 3.

    Returns:
        (frames, channels, rows', columns') or (1, channels, depth', rows', columns') float32.
    """
    units = pixels[..., None] if pixels.ndim == 3 else pixels
    units = units[None] if spatial_dims == 3 else units
    target = working_shape(units.shape[1:-1], size)
    image = torch.empty(len(units), units.shape[-1], *target)
    # One after the other: copies of a whole movie in float32 would fill the memory.
    for number, unit in enumerate(units):
        scaled = torch.from_numpy(np.ascontiguousarray(np.moveaxis(normalise(unit), -1, 0)))
        image[number] = resample(scaled[None], target)[0]
    return image


def network_label(label: np.ndarray, size: int, spatial_dims: int = 2) -> torch.Tensor:
    """Class maps at the network's size, the class of the nearest pixel.

    Args:
        label: (frames, rows, columns) or (depth, rows, columns) uint8.
        size: see :func:`network_image`.
        spatial_dims: likewise.

    Returns:
        (frames, 1, rows', columns') or (1, 1, depth', rows', columns') uint8.
    """
    units = label[None] if spatial_dims == 3 else label
    return resample(torch.from_numpy(np.ascontiguousarray(units))[:, None], working_shape(units.shape[1:], size), True)
