"""Prediction at the magnification at which the network was trained, and only where there is something to see."""

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


class MagnificationInferer(Inferer):
    """Resample each window to the pixel size of the training, predict, and give the maps on the image's own pixels.

    Where a probe finds a typical object too small for the network to part it from its neighbours, the image is enlarged
    until typical objects have the usual size, as in training (:class:`..nuclei.warp.WarpSettings`).

    Args:
        inferer: the tiled engine.
        diameter: usual diameter of the objects, in pixels of the training.
        smallest_diameter: typical objects below this, in pixels of the training, are enlarged to ``diameter``; 0 never.
        settings: how maps are decoded for the estimate.
        largest_scale: between image and network, at most.

    Raises:
        InputError: a diameter that is not above 0, or a smallest one below 0.
    """

    def __init__(
        self,
        inferer: TiledInferer,
        diameter: float = 28.0,
        smallest_diameter: float = 0.0,
        settings: DecodeSettings | None = None,
        largest_scale: float = 3.0,
    ) -> None:
        super().__init__()
        self.inferer, self.diameter = inferer, as_number(diameter, "diameter", above=True)
        self.smallest_diameter = as_number(smallest_diameter, "smallest_diameter")
        self.largest_scale, self.probe = largest_scale, SizeProbe(inferer, settings, windows=2)

    @property
    def network_seconds(self) -> float:
        """Seconds spent in the network since the inferer was made."""
        return self.inferer.network_seconds

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Network,
        *args: Any,
        scale: torch.Tensor | float = 1.0,
        possible: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Maps of one image.

        Args:
            inputs: (1, channels, rows, columns) float32, normalised.
            network: gives logits (1, maps, rows, columns).
            scale: what brings the image to the pixel size of the training, see :func:`..images.magnification.scale_to`.
            possible: (1, 1, rows, columns) bool, where objects may be; windows without any are not predicted.

        Returns:
            (1, maps, rows, columns) float32 in [0, 1], a MetaTensor whose ``meta`` holds ``object_diameter`` (pixels of
            the image) and ``network_scale``.

        Raises:
            ValueError: a batch of several images.
        """
        if inputs.shape[0] != 1:
            raise ValueError(f"one image at a time, since each has its own scale; got a batch of {inputs.shape[0]}")
        inputs = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        scale = float(scale)
        needed = None if possible is None else possible[:, 0]
        diameter, maps = self.diameter / scale, None
        if self.smallest_diameter > 0:
            found, maps = self.probe.look(inputs, network, scale, diameter, needed)
            if np.isfinite(found):
                diameter = found
            if diameter * scale < self.smallest_diameter and scale < self.largest_scale:
                scale, maps = min(self.diameter / diameter, self.largest_scale), None
        if maps is None:
            maps = self.inferer(inputs, network, scale=scale, needed=needed)
        meta = {"object_diameter": torch.tensor([diameter]), "network_scale": torch.tensor([scale])}
        result = MetaTensor(maps, meta=meta)
        result.is_batch = True
        return result
