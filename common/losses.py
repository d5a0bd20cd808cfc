"""What training minimises for maps of instances."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class InstanceMapLoss(nn.Module):
    """Binary cross-entropy on every map (soft targets allowed) plus soft Dice on the foreground.

    The last channel of the target is a weight: 0 where nothing is known (beyond the field's border, unlabelled tissue).

    Args:
        weights: weight of each map's cross-entropy, in the order of the network's channels; the foreground comes first.
        dice_weight: weight of the Dice term.
    """

    def __init__(self, weights: tuple[float, ...] = (1.0, 1.0), dice_weight: float = 0.5) -> None:
        super().__init__()
        self.weights, self.dice_weight = tuple(weights), dice_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of a batch.

        Args:
            logits: (batch, maps, rows, columns).
            target: (batch, maps + 1, rows, columns) in [0, 1]; the last channel is the weight of each pixel.
        """
        logits = logits.float()
        maps, known = target[:, :-1], target[:, -1:]
        entropy = functional.binary_cross_entropy_with_logits(logits, maps, reduction="none") * known
        per_map = entropy.sum(dim=(0, 2, 3)) / known.sum().clamp(min=1.0)
        weights = torch.as_tensor(self.weights, dtype=per_map.dtype, device=per_map.device)
        seen = (known > 0).to(maps.dtype)
        probability, truth = logits[:, :1].sigmoid() * seen, maps[:, :1] * seen
        overlap = (probability * truth).sum(dim=(1, 2, 3))
        total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
        dice = 1 - (2 * overlap + 1) / (total + 1)
        return (per_map * weights).sum() + self.dice_weight * dice.mean()
