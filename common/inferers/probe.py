"""How large the objects of an image are, by a look at parts of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ..images.windows import window_starts
from ..nuclei.instances import DecodeSettings, decode
from ..nuclei.targets import diameter_of_areas
from .autocast import Network
from .tiled import TiledInferer


class Look(NamedTuple):
    """What a probe saw.

    Attributes:
        diameter: of a typical object (median over pixels), in pixels of the image; NaN where there are none.
        maps: of the whole image, if the probe looked at all of it; else None.
    """

    diameter: float
    maps: torch.Tensor | None


class SizeProbe:
    """Predict at most so many windows of an image, or all of a small one, and measure what is found.

    Args:
        inferer: the tiled engine.
        settings: how maps are decoded for the estimate.
        windows: on which the estimate rests, at most: those where the image varies most, such as tissue on glass.
    """

    def __init__(
        self,
        inferer: TiledInferer,
        settings: DecodeSettings | None = None,
        windows: int = 4,
    ) -> None:
        self.inferer, self.settings = inferer, settings or DecodeSettings()
        self.windows = windows

    def look(
        self,
        inputs: torch.Tensor,
        network: Network,
        scale: float,
        expected: float,
        needed: torch.Tensor | None = None,
    ) -> Look:
        """Measure at one scale.

        Args:
            inputs: (1, channels, rows, columns) float32, normalised.
            network: gives logits (1, 2, rows, columns): foreground, normalised distance.
            scale: between image and network.
            expected: diameter that objects are decoded with, in pixels of the image.
            needed: (1, rows, columns) bool, where objects may be; the rest is not predicted.
        """
        parts = self._parts(inputs, scale)
        maps = [self._predict(inputs, network, scale, needed, part) for part in parts]
        whole = len(parts) == 1 and maps[0].shape[-2:] == inputs.shape[-2:]
        # Objects that the frame of a part cuts are not measured, unless there are no others.
        labels = [self._labels(part, expected) for part in maps]
        found = np.concatenate([_areas(part, whole_only=not whole) for part in labels])
        if not whole and not found.size:
            found = np.concatenate([_areas(part, whole_only=False) for part in labels])
        return Look(diameter_of_areas(found), maps[0] if whole else None)

    def _labels(self, maps: torch.Tensor, expected: float) -> np.ndarray:
        foreground, distance = maps[0].cpu().numpy()
        return decode(foreground, distance, expected, self.settings).labels

    def _predict(
        self,
        inputs: torch.Tensor,
        network: Network,
        scale: float,
        needed: torch.Tensor | None,
        part: tuple[slice, slice],
    ) -> torch.Tensor:
        rows, columns = part
        cut = None if needed is None else needed[..., rows, columns]
        return self.inferer(inputs[..., rows, columns], network, scale=scale, needed=cut)

    def _parts(self, inputs: torch.Tensor, scale: float) -> list[tuple[slice, slice]]:
        """The image itself, or the parts that vary most."""
        rows, columns = inputs.shape[-2:]
        side = int(2 * self.inferer.patch_size / scale)
        if rows <= side and columns <= side:
            return [(slice(0, rows), slice(0, columns))]
        side //= 2
        # They cover the image, for what there is may lie in a corner of it.
        starts = [window_starts(n, side, 0) for n in (rows, columns)]
        parts = [(slice(r, r + side), slice(c, c + side)) for r in starts[0] for c in starts[1]]
        variation = [float(inputs[..., r, c][..., ::4, ::4].std(dim=(-2, -1)).mean()) for r, c in parts]
        return _apart(parts, np.argsort(variation, kind="stable")[::-1], side)[: self.windows]


def _apart(parts: list[tuple[slice, slice]], order: np.ndarray, side: int) -> list[tuple[slice, slice]]:
    """The parts in that order without those that lie on an earlier one by half a side or more in both directions."""
    chosen: list[tuple[slice, slice]] = []
    for rows, columns in (parts[number] for number in order):
        near = [abs(rows.start - r.start) <= side // 2 and abs(columns.start - c.start) <= side // 2 for r, c in chosen]
        if not any(near):
            chosen.append((rows, columns))
    return chosen


def _areas(labels: np.ndarray, whole_only: bool) -> np.ndarray:
    """Areas of the objects, on demand without those at the frame."""
    areas = np.bincount(labels.ravel())
    if whole_only:
        areas[labels[[0, -1]]] = 0
        areas[labels[:, [0, -1]]] = 0
    areas[0] = 0
    return areas[areas > 0]
