"""What whole-image networks replaced: a small network that classifies one patch per pixel, kept to compare speed with."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

PATCH = 32


class PatchNetwork(nn.Sequential):
    """Patches (n, 3, 32, 32) float32 to scores (n, 2) of the pixel in the middle: three convolutions, two dense layers.

    After A. Janowczyk, A. Madabhushi, J Pathol Inform 7 (2016) 29, who took the network that Caffe ships for CIFAR-10
    (A. Krizhevsky). Untrained: its time does not depend on its weights.
    """

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
            *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
            *(nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.Linear(64, 2)),
        )


class PixelwiseTime(NamedTuple):
    """How long one image takes.

    Attributes:
        seconds: for all patches of the image, from the time of those that were classified.
        patches: of the image: one per ``stride`` pixels in each direction.
        measured: how many were classified.
    """

    seconds: float
    patches: int
    measured: int


@torch.inference_mode()
def time_pixelwise(rgb: np.ndarray, stride: int = 1, measure: int = 20_000, batch: int = 1000) -> PixelwiseTime:
    """Time the classification of every ``stride``-th pixel by its patch, on a part of the image.

    Args:
        rgb: (rows, columns, 3) uint8.
        stride: pixels between the classified ones, in both directions.
        measure: patches that are really classified, spread over the image; the time of all follows in proportion.
        batch: patches at a time.

    Raises:
        ValueError: not a colour image, or a number below 1.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or min(stride, measure, batch) < 1:
        raise ValueError(f"expected (rows, columns, 3) and numbers from 1, not {rgb.shape}, {stride, measure, batch}")
    network = PatchNetwork().eval()
    rows, columns = (range(0, size, stride) for size in rgb.shape[:2])
    total = len(rows) * len(columns)
    chosen = np.linspace(0, total - 1, min(measure, total)).astype(int)
    network(torch.zeros(batch, 3, PATCH, PATCH))  # the first call of a network is slower than all others
    began = time.perf_counter()
    half = PATCH // 2
    padded = np.pad(rgb, ((half, half), (half, half), (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    for start in range(0, len(chosen), batch):
        row, column = np.divmod(chosen[start : start + batch], len(columns))
        patches = torch.from_numpy(windows[row * stride, column * stride].astype(np.float32))
        network(patches).softmax(1)
    seconds = time.perf_counter() - began
    return PixelwiseTime(seconds * total / len(chosen), total, len(chosen))
