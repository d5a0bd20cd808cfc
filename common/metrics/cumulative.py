"""Instance scores as a MONAI metric, to be named in a bundle's config."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor

from .instances import SCORES, InstanceScore, score_image

REDUCTIONS = ("mean", "pooled")


class InstanceMetric(CumulativeIterationMetric):
    """An instance score over a set of images, for MONAI's ``IgniteMetricHandler`` or by itself.

    In a config::

        "key_val_metric": {
            "competition_score": {
                "_target_": "IgniteMetricHandler",
                "metric_fn": {"_target_": "scripts.common.metrics.cumulative.InstanceMetric"},
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"
            }
        }

    MONAI's ``PanopticQualityMetric`` loops over the whole image once per object and offers panoptic quality only.

    Args:
        metric: name of a score, one of :data:`common.metrics.instances.SCORES`.
        reduction: "mean" over images, or "pooled" over all objects of all images (for "competition_score", the
            mean over thresholds of the pooled TP / (TP + FP + FN)).

    Raises:
        ValueError: an unknown metric or reduction.

    >>> metric = InstanceMetric("ap50")
    >>> labels = torch.tensor([[[[1, 1, 0, 2]]]])
    >>> metric(y_pred=torch.where(labels == 2, 0, labels), y=labels)
    tensor([[0.5000]])
    >>> metric.aggregate()
    tensor(0.5000)
    """

    def __init__(self, metric: str = "competition_score", reduction: str = "mean") -> None:
        if metric not in SCORES:
            raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(SCORES)}")
        if reduction not in REDUCTIONS:
            raise ValueError(f"unknown reduction {reduction!r}; expected one of {', '.join(REDUCTIONS)}")
        super().__init__()
        self.metric, self.reduction = metric, reduction

    def __call__(
        self,
        y_pred: torch.Tensor | Sequence[torch.Tensor],
        y: torch.Tensor | Sequence[torch.Tensor] | None = None,
        **kwargs: object,
    ) -> torch.Tensor:
        """Scores label maps and remembers them for :meth:`aggregate`.

        Args:
            y_pred: predicted instances, (batch, 1, rows, columns) or a list of (1, rows, columns), integers or floats
                that hold integers, 0 background.
            y: true instances, in the same arrangement; sizes may differ between the images of a list.

        Returns:
            (batch, 1) float32, the score of each image.

        Raises:
            ValueError: no truth, another number of channels than one, or shapes that differ.
        """
        predictions, truths = list(y_pred), list(y) if y is not None else []
        if len(predictions) != len(truths):
            raise ValueError(f"{len(predictions)} predictions, but {len(truths)} truths")
        scores = [score_image(_label_map(t), _label_map(p)) for p, t in zip(predictions, truths, strict=True)]
        values = torch.tensor([[getattr(score, self.metric)] for score in scores], dtype=torch.float32)
        counts = torch.from_numpy(np.stack([score.counts() for score in scores]))
        device = predictions[0].device
        # float64 holds the counts exactly; MPS has no float64, so they stay on the CPU there.
        self.extend(values.to(device), counts.to("cpu" if device.type == "mps" else device))
        return values

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: object) -> torch.Tensor:
        raise NotImplementedError("InstanceMetric scores whole batches in __call__")

    def get_buffer(self) -> torch.Tensor | None:
        """(images, 1) score of each image, gathered over all ranks; None before the first image."""
        buffers = super().get_buffer()
        return None if buffers is None else buffers[0]

    def aggregate(self, reduction: str | None = None) -> torch.Tensor:
        """The score of all images since the last reset.

        Args:
            reduction: overrides the one given at construction.

        Returns:
            A float32 scalar; nan where there were no images.
        """
        buffers = super().get_buffer()
        if buffers is None:
            return torch.tensor(float("nan"))
        values, counts = buffers
        if (reduction or self.reduction) == "mean":
            return values.mean()
        pooled = InstanceScore.from_counts(counts.sum(dim=0).cpu().numpy())
        return torch.tensor(getattr(pooled, self.metric), dtype=torch.float32)


def _label_map(labels: torch.Tensor) -> np.ndarray:
    """(rows, columns) integers of a (1, rows, columns) tensor."""
    if labels.ndim != 3 or labels.shape[0] != 1:
        raise ValueError(f"expected label maps of shape (1, rows, columns), found {tuple(labels.shape)}")
    plain = convert_to_tensor(labels[0], track_meta=False).detach().cpu()
    if plain.is_floating_point() or plain.dtype == torch.bool:
        plain = plain.to(torch.int64)
    return plain.numpy()
