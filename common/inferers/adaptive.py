"""Prediction at the scale at which an image's objects are as large as those that the network learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..flags import as_number
from ..nuclei.instances import DecodeSettings
from .autocast import Network
from .probe import SizeProbe
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
        probe_windows: windows of the image on which the estimate rests, at most; those that vary most.

    Raises:
        InputError: a diameter that is not above 0.
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
        self.inferer, self.diameter = inferer, as_number(diameter, "diameter", above=True)
        self.tolerance, self.other_scales, self.scale_range = tolerance, tuple(other_scales), scale_range
        self.probe = SizeProbe(inferer, settings, probe_windows)

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
            diameter, maps = self.probe.look(inputs, network, scale, self.diameter / scale)
            if not np.isfinite(diameter):
                continue
            needed = float(np.clip(self.diameter / diameter, *self.scale_range))
            if maps is not None and 1 / self.tolerance <= needed / scale <= self.tolerance:
                return scale, diameter, maps
            return needed, diameter, None
        return 1.0, self.diameter, None
