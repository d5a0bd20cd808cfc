"""What training minimises: maps of instances, and classes of which some pixels are known by halves."""

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


class PartialClassLoss(nn.Module):
    """Cross-entropy plus soft Dice over classes, where some pixels are only known to be one of two classes.

    Such a pixel counts for the sum of both probabilities (marginal loss; G. Shi et al., Med Image Anal 70 (2021) 101979),
    so that an image whose myocardium nobody drew teaches where the cavity is, and nothing about the myocardium. The Dice of
    a class is the mean over the images in which it is known everywhere; one in which it is absent asks for nothing there.

    Args:
        classes: number of classes, 0 being the background.
        either: the value of pixels in doubt, and the two classes that they may be.
        dice_weight: weight of the Dice term, the mean over all classes but the background.
        class_weights: of the cross-entropy, one per class; pixels in doubt weigh as the first of theirs.
    """

    class_weights: torch.Tensor

    def __init__(
        self,
        classes: int = 3,
        either: tuple[int, tuple[int, int]] = (3, (0, 2)),
        dice_weight: float = 1.0,
        class_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.dice_weight = classes, dice_weight
        self.doubt, self.either = either
        weights = torch.ones(classes) if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if len(weights) != classes:
            raise ValueError(f"{len(weights)} class weights for {classes} classes")
        self.register_buffer("class_weights", weights)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of a batch.

        Args:
            logits: (batch, classes, rows, columns).
            target: (batch, 1, rows, columns), classes or the value of doubt.
        """
        logs = functional.log_softmax(logits.float(), dim=1)
        truth = target[:, 0].long()
        doubt = truth == self.doubt
        first, second = self.either
        settled = truth.masked_fill(doubt, first)
        entropy = -logs.gather(1, settled[:, None])[:, 0]
        entropy = torch.where(doubt, -torch.logaddexp(logs[:, first], logs[:, second]), entropy)
        weights = self.class_weights.to(logs.device)[settled]
        cross_entropy = (entropy * weights).sum() / weights.sum()
        terms = [
            self._dice(logs[:, c].exp(), truth == c, doubt if c in self.either else None)
            for c in range(1, self.classes)
        ]
        known = [term for term in terms if term is not None]
        return cross_entropy + self.dice_weight * torch.stack(known).mean() if known else cross_entropy

    @staticmethod
    def _dice(probability: torch.Tensor, truth: torch.Tensor, doubt: torch.Tensor | None) -> torch.Tensor | None:
        """1 - Dice of each image without doubt about this class, their mean; None if there is no such image."""
        if doubt is not None:
            sure = ~doubt.flatten(1).any(1)
            if not sure.any():
                return None
            probability, truth = probability[sure], truth[sure]
        # By image, not over the batch: there a cavity of 50 pixels beside one of 3,000 would hardly count.
        overlap = (probability * truth).sum(dim=(1, 2))
        total = probability.sum(dim=(1, 2)) + truth.sum(dim=(1, 2))
        return (1 - (2 * overlap + 1) / (total + 1)).mean()
