"""The tiled inference engine: images of any size through a network, at any scale, blended without seams.

MONAI's ``SlidingWindowInferer`` pads small images up to its window, keeps a second full-size buffer for the weights and
computes at the image's own scale only. Here windows shrink to small images, weights of neighbouring windows sum to one by
construction (one buffer, no division), and each window can be rescaled on its way into the network and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn import functional

from .devices import pick_amp
from .flags import as_flag
from .instances import DecodeSettings, decode

Network = Callable[..., torch.Tensor]


class AutocastInferer(Inferer):
    """The network on the whole input, in bfloat16 where that is fast. For training and for its patches.

    MONAI's engines know ``amp`` on CUDA only.

    Args:
        amp: true, false or ``auto`` (ask the processor).
        channels_last: memory format in which convolutions are fastest on CPUs and tensor cores.
    """

    def __init__(self, amp: bool | str = "auto", channels_last: bool = True) -> None:
        super().__init__()
        self.amp, self.channels_last = amp, channels_last

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (batch, maps, rows, columns) in float32 for inputs (batch, channels, rows, columns)."""
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        device = inputs.device
        with torch.autocast(device.type, torch.bfloat16, enabled=pick_amp(self.amp, device)):
            outputs = network(inputs, *args, **kwargs)
        return outputs.float()


def window_starts(length: int, window: int, overlap: int) -> list[int]:
    """Starts of windows of equal length that cover ``length``, evenly spread, neighbours sharing at least ``overlap``."""
    if length <= window:
        return [0]
    count = int(np.ceil((length - overlap) / (window - overlap)))
    return [int(round(k * (length - window) / (count - 1))) for k in range(count)]


def window_ramps(starts: list[int], window: int) -> list[np.ndarray]:
    """Weights along one axis: linear ramps where neighbours overlap; they sum to one everywhere."""
    ramps = [np.ones(window, np.float32) for _ in starts]
    for k in range(len(starts) - 1):
        shared = starts[k] + window - starts[k + 1]
        rise = (np.arange(shared, dtype=np.float32) + 0.5) / shared
        ramps[k][window - shared :] *= 1 - rise
        ramps[k + 1][:shared] *= rise
    # Evenly spread windows may overlap by more than half of their length: then three meet, and ramps alone exceed one.
    total = np.zeros(starts[-1] + window, np.float32)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + window] += ramp
    return [ramp / total[start : start + window] for start, ramp in zip(starts, ramps, strict=True)]


class TiledInferer(Inferer):
    """Sigmoid maps of an image of any size.

    Args:
        patch_size: rows and columns of a window as the network sees it, a multiple of ``divisor``.
        overlap: what neighbouring windows share, in pixels of the network; below half of ``patch_size``.
        batch_size: windows per call of the network.
        divisor: the network takes multiples of this size; windows are mirrored up to it.
        amp: bfloat16: true, false or ``auto``.
        tta: average over four flips.
        quarter_turns: with ``tta``, over the four flips of the transposed image too.
        device: where the network computes; None is where the input lies.
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
    ) -> None:
        super().__init__()
        if patch_size % divisor or not 0 <= overlap < patch_size / 2:
            raise ValueError(
                f"patch_size {patch_size} must be a multiple of {divisor}, overlap {overlap} below its half"
            )
        self.patch_size, self.overlap, self.batch_size, self.divisor = patch_size, overlap, batch_size, divisor
        self.tta, self.quarter_turns, self.device = as_flag(tta, "tta"), quarter_turns, device
        self.network_seconds = 0.0
        self._plain = AutocastInferer(amp)

    def __call__(
        self, inputs: torch.Tensor, network: Network, *args: Any, scale: float = 1.0, **kwargs: Any
    ) -> torch.Tensor:
        """Maps in [0, 1], (batch, maps, rows, columns) float32, on the device of the input.

        Args:
            inputs: (batch, channels, rows, columns) float32.
            network: gives logits (batch, maps, rows, columns).
            scale: size at which the network sees the image, relative to the image's own.
        """
        size = tuple(int(n) for n in inputs.shape[-2:])
        window = [min(n, max(1, int(self.patch_size / scale))) for n in size]
        overlap = int(np.ceil(self.overlap / scale))
        starts = [
            window_starts(n, w, min(overlap, w // 2 - 1) if w > 3 else 0) for n, w in zip(size, window, strict=True)
        ]
        ramps = [window_ramps(s, w) for s, w in zip(starts, window, strict=True)]
        places = [(i, j) for i in range(len(starts[0])) for j in range(len(starts[1]))]
        outputs: torch.Tensor | None = None
        for item in range(inputs.shape[0]):
            for first in range(0, len(places), self.batch_size):
                chunk = places[first : first + self.batch_size]
                boxes = [_box(starts, window, place) for place in chunk]
                maps = self._windows(torch.stack([inputs[item][(slice(None), *b)] for b in boxes]), network, scale)
                maps = maps.to(inputs.device)
                if outputs is None:
                    outputs = inputs.new_zeros((inputs.shape[0], maps.shape[1], *size), dtype=torch.float32)
                for box, (i, j), part in zip(boxes, chunk, maps, strict=True):
                    if len(places) > 1:
                        part *= torch.from_numpy(np.outer(ramps[0][i], ramps[1][j])).to(part)
                    outputs[item][(slice(None), *box)] += part
        assert outputs is not None
        return outputs

    def _windows(self, windows: torch.Tensor, network: Network, scale: float) -> torch.Tensor:
        """Rescale a batch of windows, mirror it up to the network's divisor, predict, go back."""
        size = windows.shape[-2:]
        if self.device is not None:
            windows = windows.to(self.device)
        scaled = _resize(windows, [max(1, round(n * scale)) for n in size])
        rows, columns = scaled.shape[-2:]
        padded = _mirror_pad(scaled, [-n % self.divisor for n in (rows, columns)])
        began = time.perf_counter()
        with torch.no_grad():
            maps = self._augmented(padded, network)
            if maps.device.type == "cuda":
                torch.cuda.synchronize(maps.device)
        self.network_seconds += time.perf_counter() - began
        return _resize(maps[..., :rows, :columns], list(size))

    def _augmented(self, windows: torch.Tensor, network: Network) -> torch.Tensor:
        if not self.tta:
            return self._plain(windows, network).sigmoid()
        views = [(turn, axes) for turn in ((False, True) if self.quarter_turns else (False,)) for axes in _FLIPS]
        total: torch.Tensor | None = None
        for turn, axes in views:
            view = windows.transpose(-1, -2) if turn else windows
            maps = self._plain(view.flip(axes) if axes else view, network).sigmoid()
            maps = maps.flip(axes) if axes else maps
            maps = maps.transpose(-1, -2) if turn else maps
            total = maps if total is None else total + maps
        assert total is not None
        return total / len(views)


_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))


def _box(starts: list[list[int]], window: list[int], place: tuple[int, int]) -> tuple[slice, slice]:
    row, column = starts[0][place[0]], starts[1][place[1]]
    return slice(row, row + window[0]), slice(column, column + window[1])


def _resize(images: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Bilinear, with an antialiasing filter where it shrinks."""
    if list(images.shape[-2:]) == size:
        return images
    shrinks = size[0] < images.shape[-2]
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=shrinks)


def _mirror_pad(images: torch.Tensor, extra: list[int]) -> torch.Tensor:
    """Mirror at the lower and right border; by more than the image's size too."""
    for axis, more in ((-2, extra[0]), (-1, extra[1])):
        while more > 0:
            length = images.shape[axis]
            step = min(more, max(length - 1, 1))
            mirrored = images.flip(axis).narrow(axis, 1 if length > 1 else 0, step)
            images, more = torch.cat([images, mirrored], axis), more - step
    return images


class SizeAdaptiveInferer(Inferer):
    """Find the size of the objects, then predict at the scale at which they are as large as in training.

    First at the image's own scale, on at most ``probe_windows`` windows; where nothing is found, at ``other_scales``.
    The diameter is the median over the objects found. Cellpose (Stringer et al., Nat Methods 18 (2021) 100-106)
    rescales to a mean diameter likewise, but estimates it with a network of its own.

    Args:
        inferer: the tiled engine.
        diameter: diameter of objects in training, in pixels of the network.
        settings: how maps are decoded for the estimate.
        tolerance: no second pass while the scale needed is within this ratio of one.
        other_scales: tried in this order where nothing is found.
        scale_range: smallest and largest scale.
        probe_windows: windows of the image on which the estimate rests, at most.
    """

    def __init__(
        self,
        inferer: TiledInferer,
        diameter: float = 24.0,
        settings: DecodeSettings | None = None,
        tolerance: float = 1.15,
        other_scales: tuple[float, ...] = (2.0, 0.5),
        scale_range: tuple[float, float] = (0.25, 3.0),
        probe_windows: int = 4,
    ) -> None:
        super().__init__()
        self.inferer, self.diameter, self.settings = inferer, diameter, settings or DecodeSettings()
        self.tolerance, self.other_scales, self.scale_range = tolerance, tuple(other_scales), scale_range
        self.probe_windows = probe_windows

    @property
    def network_seconds(self) -> float:
        """Seconds spent in the network since the inferer was made."""
        return self.inferer.network_seconds

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Maps of one image.

        Args:
            inputs: (1, channels, rows, columns) float32, normalised.
            network: gives logits (1, 2, rows, columns): foreground, normalised distance.

        Returns:
            (1, 2, rows, columns) float32 in [0, 1], a MetaTensor whose ``meta`` holds ``object_diameter`` (pixels of
            the image) and ``network_scale``.
        """
        if inputs.shape[0] != 1:
            raise ValueError(f"one image at a time, since each has its own scale; got a batch of {inputs.shape[0]}")
        inputs = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        scale, diameter, maps = self._estimate(inputs, network)
        if maps is None:
            maps = self.inferer(inputs, network, scale=scale)
        meta = {"object_diameter": torch.tensor([diameter]), "network_scale": torch.tensor([scale])}
        result = MetaTensor(maps, meta=meta)
        result.is_batch = True
        return result

    def _estimate(self, inputs: torch.Tensor, network: Network) -> tuple[float, float, torch.Tensor | None]:
        """(scale, diameter, maps at this scale if they are at hand already)."""
        for scale in (1.0, *self.other_scales):
            probes = self._probes(inputs, scale)
            maps = [self.inferer(probe, network, scale=scale) for probe in probes]
            whole = len(probes) == 1 and probes[0].shape == inputs.shape
            diameter = self._found_diameter(maps, self.diameter / scale, cut=not whole)
            if not np.isfinite(diameter):
                continue
            needed = float(np.clip(self.diameter / diameter, *self.scale_range))
            if whole and 1 / self.tolerance <= needed / scale <= self.tolerance:
                return scale, diameter, maps[0]
            return needed, diameter, None
        return 1.0, self.diameter, None

    def _found_diameter(self, maps: list[torch.Tensor], expected: float, cut: bool) -> float:
        """Median over objects; where probes cut the image, over those within a probe, if there are any."""
        labels = []
        for part in maps:
            foreground, distance = part[0].cpu().numpy()
            labels.append(decode(foreground, distance, expected, self.settings).labels)
        found = np.concatenate([_areas(part, whole_only=cut) for part in labels])
        if cut and not found.size:
            found = np.concatenate([_areas(part, whole_only=False) for part in labels])
        return float(2 * np.sqrt(np.median(found) / np.pi)) if found.size else float("nan")

    def _probes(self, inputs: torch.Tensor, scale: float) -> list[torch.Tensor]:
        """The image itself, or parts of it on a regular grid."""
        rows, columns = inputs.shape[-2:]
        side = int(2 * self.inferer.patch_size / scale)
        if rows <= side and columns <= side:
            return [inputs]
        side //= 2
        steps = int(np.ceil(np.sqrt(self.probe_windows)))
        starts = [np.unique(np.linspace(0, max(n - side, 0), steps + 2)[1:-1].astype(int)) for n in (rows, columns)]
        return [inputs[..., r : r + side, c : c + side] for r in starts[0] for c in starts[1]]


def _areas(labels: np.ndarray, whole_only: bool) -> np.ndarray:
    """Areas of the objects, on demand without those at the frame."""
    areas = np.bincount(labels.ravel())
    if whole_only:
        areas[labels[[0, -1]]] = 0
        areas[labels[:, [0, -1]]] = 0
    areas[0] = 0
    return areas[areas > 0]
