"""A classifier on the patches of an image: white ones are left out, the others go through the network in batches."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer

from ..flags import as_flag, as_number
from ..images.resize import mirrored_to
from ..patches.places import TISSUE_SHARE, network_pixels, patch_corners, tissue_mask, tissue_shares
from .autocast import AutocastInferer, Network


class PatchInferer(Inferer):
    """Class probabilities of all patches of one image. For engines with ``decollate=False``.

    Args:
        patch_size: side of a patch in original pixels (those of the microscope).
        stride: between neighbouring patches, in original pixels; see :func:`..patches.places.patch_corners`.
        scale: pixels of the network per original pixel.
        batch_size: patches per call of the network.
        amp: bfloat16: true, false or ``auto``.
        tta: average over the eight symmetries of the square.
        skip_white: leave out patches without tissue; otherwise all vote.
        tissue_share: share of stained pixels from which a patch shows tissue.
        device: where the network computes; None is where the input lies.

    Attributes:
        size, step: side of a patch and stride in pixels of the network.
        network_seconds: time spent in the network so far.

    Raises:
        InputError: a size, stride or batch below 1, or a scale that is not above 0.
    """

    def __init__(
        self,
        patch_size: float = 36,
        stride: float = 32,
        scale: float = 1.0,
        batch_size: int = 64,
        amp: bool | str = "auto",
        tta: bool | str = False,
        skip_white: bool | str = True,
        tissue_share: float = TISSUE_SHARE,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        patch_size, stride = as_number(patch_size, "patch_size", 1), as_number(stride, "stride", 1)
        scale = as_number(scale, "network_scale", above=True)
        batch_size = int(as_number(batch_size, "batch_size", 1, whole=True))
        self.size, self.step = network_pixels(patch_size, scale), network_pixels(stride, scale)
        self.batch_size, self.tta, self.device = batch_size, as_flag(tta, "tta"), device
        self.skip_white, self.tissue_share = as_flag(skip_white, "skip_white"), tissue_share
        self.network_seconds = 0.0
        self._plain = AutocastInferer(amp)

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Probabilities of the patches; images smaller than a patch are mirrored up to one.

        Args:
            inputs: (1, 3, rows, columns) or (3, rows, columns) float32 RGB from 0 to 1, at the network's scale.
            network: from patches (patches, 3, size, size) to logits (patches, classes).

        Returns:
            ``corners`` (patches, 2) int64, ``size`` () int64, ``probabilities`` (patches, classes) float32 and ``tissue``
            (patches,) bool on the CPU: the content of a :class:`..patches.votes.PatchVotes`.

        Raises:
            ValueError: several images, or not three channels.
        """
        image = inputs[0] if inputs.ndim == 4 and len(inputs) == 1 else inputs
        if image.ndim != 3 or len(image) != 3:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)}; expected one image, (1, 3, rows, columns)")
        image = mirrored_to(image, (self.size, self.size))
        corners = patch_corners(image.shape[1], image.shape[2], self.size, self.step)
        tissue = self._tissue(image, corners)
        # The number of classes is the network's affair: where there is nothing to predict it is asked once.
        shown = np.flatnonzero(tissue) if tissue.any() else np.array([0])
        found = self._predict(image, corners[shown], network)
        probabilities = torch.zeros(len(corners), found.shape[1])
        probabilities[torch.from_numpy(shown)] = found
        probabilities[torch.from_numpy(~tissue)] = 0
        return {
            "corners": torch.from_numpy(corners),
            "size": torch.tensor(self.size),
            "probabilities": probabilities,
            "tissue": torch.from_numpy(tissue),
        }

    def _tissue(self, image: torch.Tensor, corners: np.ndarray) -> np.ndarray:
        if not self.skip_white:
            return np.ones(len(corners), bool)
        rgb = np.ascontiguousarray(image.detach().cpu().numpy().transpose(1, 2, 0))
        return tissue_shares(tissue_mask(rgb), corners, self.size) >= self.tissue_share

    def _predict(self, image: torch.Tensor, corners: np.ndarray, network: Network) -> torch.Tensor:
        """(patches, classes) float32 on the CPU."""
        image = image if self.device is None else image.to(self.device)
        began = time.perf_counter()
        parts = []
        with torch.no_grad():
            for first in range(0, len(corners), self.batch_size):
                places = corners[first : first + self.batch_size].tolist()
                patches = [image[:, row : row + self.size, column : column + self.size] for row, column in places]
                parts.append(self._augmented(torch.stack(patches), network))
            found = torch.cat(parts).cpu()  # waits for the device
        self.network_seconds += time.perf_counter() - began
        return found

    def _augmented(self, patches: torch.Tensor, network: Network) -> torch.Tensor:
        if not self.tta:
            return self._plain(patches, network).softmax(dim=1)
        views = (view.rot90(turns, (-2, -1)) for view in (patches, patches.flip(-1)) for turns in range(4))
        total = sum(self._plain(view, network).softmax(dim=1) for view in views)
        assert isinstance(total, torch.Tensor)
        return total / 8
