"""Two looks at immunohistochemistry: as it is, for brown nuclei, and at the counterstain alone, for blue ones."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from .autocast import Network


class CounterstainInferer(Inferer):
    """Predict an image, and its counterstain where there is such a view; each pixel takes the surer look.

    Args:
        inferer: predicts one image; the foreground comes first in its maps.
    """

    def __init__(self, inferer: Inferer) -> None:
        super().__init__()
        self.inferer = inferer

    @property
    def network_seconds(self) -> float:
        """Seconds spent in the network since the inferer was made."""
        return float(getattr(self.inferer, "network_seconds", 0.0))

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Network,
        *args: Any,
        counterstain: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Maps of one image, as the inner inferer gives them; what they say of the objects' size is the counterstain's.

        Args:
            inputs: (1, channels, rows, columns) float32, normalised.
            network: gives logits (1, maps, rows, columns).
            counterstain: likewise, from :func:`..tissue.counterstain.counterstain`; empty, as None, where there is none.
        """
        maps = self.inferer(inputs, network, *args, **kwargs)
        if counterstain is None or not counterstain.numel():
            return maps
        other = self.inferer(counterstain, network, *args, **kwargs)
        result = torch.where(other[:, :1] > maps[:, :1], other, maps)
        if isinstance(other, MetaTensor) and isinstance(result, MetaTensor):
            result.meta, result.is_batch = other.meta, True
        return result
