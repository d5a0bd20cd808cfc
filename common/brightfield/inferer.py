"""The network on whole frames or volumes, some at a time; on frames of small objects a second time, at a finer scale."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch.nn import functional

from ..flags import as_flag
from ..inferers.autocast import AutocastInferer, Network
from ..nuclei.targets import diameter_of_areas
from .frames import network_image, resample
from .objects.parts import parts_of


class WholeInferer(Inferer):
    """Probabilities of classes for frames that fit the network whole; in two dimensions or three.

    :class:`..inferers.tiled.TiledInferer` cuts what is too large into windows, in two dimensions only. Here frames come at
    the network's size, and are continued at their lower and right border up to a multiple of its divisor.

    Args:
        batch_size: frames, or volumes, per call of the network.
        divisor: the network takes multiples of this size.
        amp: bfloat16: true, false or ``auto``.
        tta: average over the mirror images (four in two dimensions, eight in three).
        device: where the network computes; None is where the input lies.
    """

    def __init__(
        self,
        batch_size: int = 16,
        divisor: int = 16,
        amp: bool | str = "auto",
        tta: bool | str = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.divisor, self.device = batch_size, divisor, device
        self.tta = as_flag(tta, "tta")
        self.network_seconds = 0.0
        self._amp = amp

    def __call__(
        self, inputs: torch.Tensor, network: Network, *args: Any, batch_size: int | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Probabilities (frames, classes, ...) float32 on the input's device, for inputs (frames, channels, ...)."""
        parts, size = [], batch_size or self.batch_size
        for start in range(0, len(inputs), size):
            batch = inputs[start : start + size]
            parts.append(self._batch(batch.to(self.device or inputs.device), network).to(inputs.device))
        return torch.cat(parts)

    def _batch(self, batch: torch.Tensor, network: Network) -> torch.Tensor:
        sides = batch.shape[2:]
        padding = [more for side in reversed(sides) for more in (0, -side % self.divisor)]
        padded = functional.pad(batch, padding, mode="replicate")
        plain = AutocastInferer(self._amp, channels_last=padded.ndim == 4)
        axes = range(2, padded.ndim)
        flips = [f for n in range(len(axes) + 1) for f in itertools.combinations(axes, n)] if self.tta else [()]
        began = time.perf_counter()
        with torch.no_grad():
            views = (plain(padded.flip(flip), network).softmax(dim=1).flip(flip) for flip in flips)
            total = sum(views, torch.zeros(()))
            if isinstance(total, torch.Tensor) and total.device.type == "cuda":
                torch.cuda.synchronize(total.device)
        self.network_seconds += time.perf_counter() - began
        assert isinstance(total, torch.Tensor)
        for axis, side in enumerate(sides, 2):
            total = total.narrow(axis, 0, side)
        return total / len(flips)


class SecondLookInferer(Inferer):
    """Looks at whole frames, measures the objects, and looks again more closely where they are small.

    At one size for all frames an object that fills a quarter of the frame's side is drawn with few pixels, and the network
    sees it smaller than what it learnt from. As :class:`..inferers.adaptive.SizeAdaptiveInferer`, but from the whole frame
    to its parts: the first look sees everything, the second at most the pixels that the source has. Its probabilities count
    twice, those of the first once: debris beside an object is better told from it from afar. Frames of one item get one
    scale, so that a movie's outlines do not change with it.

    Args:
        inferer: of whole frames.
        size: longest side of the frames that come.
        diameter: that objects should have, in pixels of the network: of the disc with the area of a typical one.
        largest_size: longest side of the second look; not above ``size``: no second look.
        tolerance: no second look for less than this ratio.
    """

    def __init__(
        self,
        inferer: WholeInferer,
        size: int = 192,
        diameter: float = 128.0,
        largest_size: int = 768,
        tolerance: float = 1.25,
    ) -> None:
        super().__init__()
        self.inferer, self.size, self.diameter = inferer, size, diameter
        self.largest_size, self.tolerance = largest_size, tolerance

    @property
    def network_seconds(self) -> float:
        """Seconds spent in the network since the inferer was made."""
        return self.inferer.network_seconds

    def __call__(
        self, inputs: torch.Tensor, network: Network, *args: Any, pixels: np.ndarray | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Probabilities of classes.

        Args:
            inputs: (frames, channels, rows', columns') float32; volumes are looked at once.
            network: gives logits (frames, classes, rows', columns').
            pixels: (frames, rows, columns[, channels]) of the source; None: no second look.

        Returns:
            (frames, classes, rows'', columns'') float32 on the input's device, at the size of the last look.
        """
        maps = self.inferer(inputs, network)
        if pixels is None or inputs.ndim != 4:
            return maps
        closest = min(self.largest_size, max(pixels.shape[1:3]))
        if closest < self.tolerance * self.size:
            return maps
        found = _typical_diameter(maps)
        wanted = self.size * self.diameter / found if found > 0 else 0.0  # NaN where nothing was found
        if wanted < self.tolerance * self.size:
            return maps
        size = round(min(wanted, closest))
        batch_size = max(1, int(self.inferer.batch_size * (self.size / size) ** 2))
        closer = network_image(pixels, size).to(inputs.device)
        seen = self.inferer(closer, network, batch_size=batch_size)
        return (2 * seen + resample(maps, seen.shape[2:])) / 3


def _typical_diameter(maps: torch.Tensor) -> float:
    """Of the objects in probabilities (frames, classes, rows, columns): median over their pixels; NaN without any."""
    masks = (maps[:, 0] < 0.5).cpu().numpy()
    return diameter_of_areas(np.concatenate([parts_of(mask).areas for mask in masks]))
