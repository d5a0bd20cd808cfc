"""The tiled engine: images of any size through a network, at any scale, blended without seams.

MONAI's ``SlidingWindowInferer`` pads small images up to its window, keeps a second full-size buffer for the weights and
computes at the image's own scale only. Here windows shrink to what covers the image, weights of neighbouring windows sum
to one by construction (one buffer, no division), and each window can be rescaled on its way into the network and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer

from ..errors import InputError
from ..flags import as_flag, as_number
from ..images.resize import mirrored_to, resize
from ..images.windows import fitting_window, window_ramps, window_starts
from .autocast import AutocastInferer, Network

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=1),
}


class TiledInferer(Inferer):
    """Probability maps of images of any size.

    Args:
        patch_size: largest rows and columns of a window as the network sees it, a multiple of ``divisor``.
        overlap: what neighbouring windows share, in pixels of the network; below half of ``patch_size``.
        batch_size: windows per call of the network.
        divisor: the network takes multiples of this size; windows are mirrored up to it.
        amp: bfloat16: true, false or ``auto``.
        tta: average over four flips.
        quarter_turns: with ``tta``, over the four flips of the transposed image too.
        device: where the network computes; None is where the input lies.
        activation: from logits to probabilities: ``sigmoid``, each map by itself, or ``softmax`` over the maps as classes.

    Raises:
        InputError: a size, overlap or batch that cannot be.
        ValueError: an unknown activation.
    """

    def __init__(
        self,
        patch_size: int = 512,
        overlap: int = 96,
        batch_size: int = 4,
        divisor: int = 32,
        amp: bool | str = "auto",
        tta: bool | str = False,
        quarter_turns: bool = True,
        device: torch.device | str | None = None,
        activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation {activation!r}; expected one of {', '.join(_ACTIVATIONS)}")
        self.patch_size, self.divisor = int(as_number(patch_size, "patch_size", 1, whole=True)), divisor
        self.overlap = int(as_number(overlap, "overlap", 0, whole=True))
        self.batch_size = int(as_number(batch_size, "batch_size", 1, whole=True))
        if self.patch_size % divisor:
            raise InputError("--patch_size", repr(patch_size), f"a multiple of {divisor}")
        if self.overlap >= self.patch_size / 2:
            raise InputError("--overlap", repr(overlap), f"less than half of patch_size, which is {patch_size}")
        self.tta, self.quarter_turns, self.device = as_flag(tta, "tta"), quarter_turns, device
        self.network_seconds = 0.0
        self._plain, self._activate = AutocastInferer(amp), _ACTIVATIONS[activation]

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Network,
        *args: Any,
        scale: float = 1.0,
        needed: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Maps in [0, 1], (batch, maps, rows, columns) float32, on the device of the input.

        Args:
            inputs: (batch, channels, rows, columns) float32.
            network: gives logits (batch, maps, rows, columns).
            scale: size at which the network sees the image, relative to the image's own.
            needed: (batch, rows, columns) bool; windows without any such pixel are not predicted, their maps are 0.
        """
        size = tuple(int(n) for n in inputs.shape[-2:])
        largest, overlap = max(1, int(self.patch_size / scale)), int(np.ceil(self.overlap / scale))
        window = [fitting_window(n, largest, min(overlap, largest // 2), self.divisor / scale) for n in size]
        starts = [
            window_starts(n, w, min(overlap, w // 2 - 1) if w > 3 else 0) for n, w in zip(size, window, strict=True)
        ]
        ramps = [window_ramps(s, w) for s, w in zip(starts, window, strict=True)]
        places = [(i, j) for i in range(len(starts[0])) for j in range(len(starts[1]))]
        outputs: torch.Tensor | None = None
        # Windows of all images of the batch together, for one window of one image would leave the device idle.
        chosen = [
            (item, place)
            for item in range(inputs.shape[0])
            for place in places
            if needed is None or bool(needed[item][_box(starts, window, place)].any())
        ]
        # The number of maps is the network's affair: where there is nothing to predict it is asked once.
        chosen = chosen or [(0, places[0])]
        for first in range(0, len(chosen), self.batch_size):
            chunk = chosen[first : first + self.batch_size]
            boxes = [(item, slice(None), *_box(starts, window, place)) for item, place in chunk]
            maps = self._windows(torch.stack([inputs[box] for box in boxes]), network, scale).to(inputs.device)
            if outputs is None:
                outputs = inputs.new_zeros((inputs.shape[0], maps.shape[1], *size), dtype=torch.float32)
            for box, (_, (i, j)), part in zip(boxes, chunk, maps, strict=True):
                if len(places) > 1:
                    part *= torch.from_numpy(np.outer(ramps[0][i], ramps[1][j])).to(part)
                outputs[box] += part
        assert outputs is not None
        return outputs

    def _windows(self, windows: torch.Tensor, network: Network, scale: float) -> torch.Tensor:
        """Rescale a batch of windows, mirror it up to the network's divisor, predict, go back."""
        size = windows.shape[-2:]
        if self.device is not None:
            windows = windows.to(self.device)
        scaled = resize(windows, [max(1, round(n * scale)) for n in size])
        rows, columns = scaled.shape[-2:]
        padded = mirrored_to(scaled, [n + -n % self.divisor for n in (rows, columns)])
        began = time.perf_counter()
        with torch.no_grad():
            maps = self._augmented(padded, network)
            if maps.device.type == "cuda":
                torch.cuda.synchronize(maps.device)
        self.network_seconds += time.perf_counter() - began
        return resize(maps[..., :rows, :columns], list(size))

    def _augmented(self, windows: torch.Tensor, network: Network) -> torch.Tensor:
        if not self.tta:
            return self._activate(self._plain(windows, network))
        views = [(turn, axes) for turn in ((False, True) if self.quarter_turns else (False,)) for axes in _FLIPS]
        total: torch.Tensor | None = None
        for turn, axes in views:
            view = windows.transpose(-1, -2) if turn else windows
            maps = self._activate(self._plain(view.flip(axes) if axes else view, network))
            maps = maps.flip(axes) if axes else maps
            maps = maps.transpose(-1, -2) if turn else maps
            total = maps if total is None else total + maps
        assert total is not None
        return total / len(views)


_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))


def _box(starts: list[list[int]], window: list[int], place: tuple[int, int]) -> tuple[slice, slice]:
    row, column = starts[0][place[0]], starts[1][place[1]]
    return slice(row, row + window[0]), slice(column, column + window[1])
