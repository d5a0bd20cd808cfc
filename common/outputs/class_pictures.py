"""Class and probability as two pictures, named and coloured as the Caffe tutorial for nuclei wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .png import write_png


def write_class_pictures(
    folder: str | Path, stem: str, labels: np.ndarray, foreground: np.ndarray
) -> tuple[Path, Path]:
    """Writes ``<stem>_class.png`` and ``<stem>_prob.png`` (Janowczyk and Madabhushi, J Pathol Inform 7 (2016) 29).

    The first is binary, 255 where an object is. The second is RGB: red is the probability of *not* nucleus, green that
    of nucleus, blue is 0; red and green add up to 255 at every pixel. Each is written whole or not at all.

    Args:
        folder: made where it is missing.
        stem: file name of the image without its ending.
        labels: (rows, columns) instance ids or a mask; everything that is not 0 is an object.
        foreground: (rows, columns) probability of nucleus: floats from 0 to 1, or uint8 with 255 for 1. What lies
            outside 0 to 1 is clipped, nan counts as 0.

    Returns:
        Both paths, in this order.

    Raises:
        ValueError: not two-dimensional, or shapes that differ.
        InputError: the folder cannot be written.
    """
    labels, foreground = np.asarray(labels), np.asarray(foreground)
    if labels.ndim != 2 or labels.shape != foreground.shape:
        raise ValueError(f"labels and foreground are (rows, columns): found {labels.shape} and {foreground.shape}")
    if foreground.dtype != np.uint8:
        scaled = np.nan_to_num(foreground.astype(np.float32), nan=0.0).clip(0, 1)
        foreground = np.rint(scaled * np.float32(255)).astype(np.uint8)
    target = Path(folder)
    classes, probability = target / f"{stem}_class.png", target / f"{stem}_prob.png"
    write_png(classes, np.where(labels != 0, np.uint8(255), np.uint8(0)))
    write_png(probability, np.stack([255 - foreground, foreground, np.zeros_like(foreground)], axis=2))
    return classes, probability
