"""Instance scores and pixel accuracy as MONAI metrics, to be named in a bundle's config."""

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
        metric: name of a score, one of :data:`.instances.SCORES`.
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


class PixelAccuracy(CumulativeIterationMetric):
    """Share of pixels with the right class, for MONAI's ``IgniteMetricHandler`` or by itself.

    In a config, beside Dice and IoU (a network that finds nothing is right on every pixel of the background)::

        "val_pixel_accuracy": {
            "_target_": "monai.handlers.IgniteMetricHandler",
            "metric_fn": {"_target_": "scripts.common.metrics.cumulative.PixelAccuracy", "either": [0, 2]},
            "output_transform": "$monai.handlers.from_engine(['pred_classes', 'label_classes'])"
        }

    MONAI's ``ConfusionMatrixMetric`` has an accuracy of each class against the rest: averaged over C classes, a wrong
    pixel is counted as right C - 2 times. It also takes one-hot maps only, in which no pixel can be unknown by its value.

    Args:
        unknown: value of pixels in the truth whose class is not known.
        either: what such a pixel may be: it is right where one of these is predicted. Empty: unknown pixels are left out.
            Where all but the cavity is unknown, leaving it out would turn the accuracy of the image into the share of the
            cavity that was found.
        reduction: "mean" over images (those without any known pixel are left out), or "pooled" over all pixels.

    Raises:
        ValueError: an unknown reduction.

    >>> metric = PixelAccuracy()
    >>> metric(y_pred=torch.tensor([[[[0, 0, 0, 0, 2]]]]), y=torch.tensor([[[[0, 0, 0, 1, 3]]]]))
    tensor([[3, 4]])
    >>> metric.aggregate()
    tensor(0.7500)
    """

    def __init__(self, unknown: int = 3, either: Sequence[int] = (), reduction: str = "mean") -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"unknown reduction {reduction!r}; expected one of {', '.join(REDUCTIONS)}")
        super().__init__()
        self.unknown, self.either, self.reduction = unknown, tuple(either), reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: object) -> torch.Tensor:
        """Counts of one batch; :meth:`__call__` takes lists of images of different sizes too, without the first axis.

        Args:
            y_pred: (batch, 1, ...) classes, or (batch, classes, ...) one-hot or probabilities.
            y: the same, each by itself; one-hot pixels without any class are unknown.

        Returns:
            (batch, 2) int64: pixels that are right, pixels that are known.

        Raises:
            ValueError: no truth, or images of other sizes.
        """
        if y is None or y.ndim != y_pred.ndim or y.shape[2:] != y_pred.shape[2:] or len(y) != len(y_pred):
            raise ValueError(
                f"sizes differ: {tuple(y_pred.shape)} predicted, {None if y is None else tuple(y.shape)} true"
            )
        predicted, truth = _class_map(y_pred), _class_map(y).to(y_pred.device)
        doubt = truth == self.unknown
        if y.shape[1] > 1:
            doubt = doubt | ~(y > 0).any(dim=1).to(doubt.device)
        right, known = (predicted == truth) & ~doubt, ~doubt
        if self.either:
            possible = torch.isin(predicted, torch.tensor(self.either, device=predicted.device))
            right, known = right | (doubt & possible), torch.ones_like(known)
        return torch.stack([part.flatten(1).sum(dim=1) for part in (right, known)], dim=1)

    def get_buffer(self) -> torch.Tensor | None:
        """(images, 1) float32 accuracy of each image, gathered over all ranks, nan without known pixels; None before any."""
        counts = super().get_buffer()
        return None if counts is None else (counts[:, :1] / counts[:, 1:]).float()

    def aggregate(self, reduction: str | None = None) -> torch.Tensor:
        """The accuracy of all images since the last reset.

        Args:
            reduction: overrides the one given at construction.

        Returns:
            A float32 scalar; nan where nothing is known.
        """
        counts = super().get_buffer()
        if counts is None:
            return torch.tensor(float("nan"))
        if (reduction or self.reduction) == "mean":
            return (counts[:, 0] / counts[:, 1]).nanmean()
        right, known = counts.sum(dim=0)
        return right / known


def _class_map(values: torch.Tensor) -> torch.Tensor:
    """(batch, ...) int64 classes."""
    plain = convert_to_tensor(values, track_meta=False).detach()
    return plain.argmax(dim=1) if plain.shape[1] > 1 else plain[:, 0].long()
