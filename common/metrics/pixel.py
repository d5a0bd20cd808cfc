"""Dice and IoU of the foreground of one image, through MONAI."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_dice, compute_iou


class PixelScore(NamedTuple):
    """Scores of the foreground of one image.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|).
        iou: |A and B| / |A or B|.
    """

    dice: float
    iou: float


def score_pixels(truth: np.ndarray, predicted: np.ndarray) -> PixelScore:
    """Dice and IoU of the foreground, every value above 0 being foreground.

    Empty truths count: an image without truth scores 1 without prediction and 0 with any. MONAI leaves such images out
    unless told otherwise (``ignore_empty=True``), and false positives on empty images would vanish from the mean.
    The bundles' configs therefore name ``DiceMetric`` and ``MeanIoU`` with ``ignore_empty=False``; MONAI's handlers
    ``MeanDice`` and ``MeanIoUHandler`` cannot be told so.

    Args:
        truth: (rows, columns) boolean mask or integer map.
        predicted: the same shape.

    Raises:
        ValueError: the shapes differ.

    >>> score_pixels(np.array([[1, 1, 0, 0]]), np.array([[0, 5, 5, 0]]))
    PixelScore(dice=0.5, iou=0.3333333432674408)
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise ValueError(f"masks differ in shape: {truth.shape} and {predicted.shape}")
    y_pred, y = (torch.from_numpy(mask > 0)[None, None] for mask in (predicted, truth))
    dice = compute_dice(y_pred, y, ignore_empty=False)
    iou = compute_iou(y_pred, y, ignore_empty=False)
    return PixelScore(float(dice), float(iou))
