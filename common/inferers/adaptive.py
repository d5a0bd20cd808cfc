"""Prediction at the scale at which an image's objects are as large as those that the network learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..instances import DecodeSettings, decode
from ..targets import diameter_of_areas
from .autocast import Network
from .tiled import TiledInferer


class SizeAdaptiveInferer(Inferer):
    """Find the size of the objects, then predict at the scale at which they are as large as in training.

    First at the image's own scale, on at most ``probe_windows`` windows; where nothing is found, at ``other_scales``.
    The diameter is that of a typical object (median over pixels). Cellpose (Stringer et al., Nat Methods 18 (2021) 100-106)
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
        diameter: float = 32.0,
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
        """Typical size; where probes cut the image, of the objects within a probe, if there are any."""
        labels = []
        for part in maps:
            foreground, distance = part[0].cpu().numpy()
            labels.append(decode(foreground, distance, expected, self.settings).labels)
        found = np.concatenate([_areas(part, whole_only=cut) for part in labels])
        if cut and not found.size:
            found = np.concatenate([_areas(part, whole_only=False) for part in labels])
        return diameter_of_areas(found)

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
