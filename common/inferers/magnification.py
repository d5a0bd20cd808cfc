"""Prediction at the magnification at which the network was trained, and only where there is something to see."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from .autocast import Network
from .tiled import TiledInferer


class MagnificationInferer(Inferer):
    """Resample each window to the pixel size of the training, predict, and give the maps on the image's own pixels.

    Args:
        inferer: the tiled engine.
        diameter: expected diameter of the objects, in pixels of the training; decoding needs it.
    """

    def __init__(self, inferer: TiledInferer, diameter: float = 28.0) -> None:
        super().__init__()
        self.inferer, self.diameter = inferer, diameter

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
            scale: what brings the image to the pixel size of the training, see :func:`..magnification.scale_to`.
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
        maps = self.inferer(inputs, network, scale=scale, needed=None if possible is None else possible[:, 0])
        meta = {"object_diameter": torch.tensor([self.diameter / scale]), "network_scale": torch.tensor([scale])}
        result = MetaTensor(maps, meta=meta)
        result.is_batch = True
        return result
