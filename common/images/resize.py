"""Images to another size, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional


def resize(images: torch.Tensor, size: Sequence[int], labels: bool = False) -> torch.Tensor:
    """Bilinear from corner to corner, with an antialiasing filter where it shrinks; or the nearest pixel.

    By hand since MONAI's ``Spacingd`` and ``Zoom`` take one image at a time, the first through an affine grid.

    Args:
        images: (batch, channels, rows, columns), floats, or with ``labels`` integers.
        size: rows and columns wanted.
        labels: take the nearest pixel, keep the type.
    """
    wanted = (int(size[0]), int(size[1]))
    if tuple(images.shape[-2:]) == wanted:
        return images
    if labels:
        return functional.interpolate(images.float(), wanted, mode="nearest-exact").to(images.dtype)
    shrinks = wanted[0] < images.shape[-2] or wanted[1] < images.shape[-1]
    return functional.interpolate(images, wanted, mode="bilinear", align_corners=False, antialias=shrinks)


def mirrored_to(images: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Images of at least this size: what is missing is mirrored at the lower and right border.

    Args:
        images: (..., rows, columns).
        size: rows and columns, at least.
    """
    for axis, wanted in zip((-2, -1), size, strict=True):
        length = images.shape[axis]
        if length < wanted:
            # NumPy mirrors by any number of pixels, torch by fewer than there are.
            index = np.pad(np.arange(length), (0, wanted - length), mode="reflect")
            images = images.index_select(axis, torch.from_numpy(index).to(images.device))
    return images
