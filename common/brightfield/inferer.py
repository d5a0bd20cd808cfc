"""The network on whole frames or volumes, some at a time."""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn import functional

from ..flags import as_flag
from ..inferers.autocast import AutocastInferer, Network


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

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Probabilities (frames, classes, ...) float32 on the input's device, for inputs (frames, channels, ...)."""
        parts = []
        for start in range(0, len(inputs), self.batch_size):
            batch = inputs[start : start + self.batch_size]
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
