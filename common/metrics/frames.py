"""Scores of class maps, frame by frame: IoU, Dice, pixel accuracy, boundary F1 and Hausdorff distance.

A class that a frame does not have, and of which nothing is found either, scores 1 in IoU, Dice and boundary F1; one that
is found where it is not scores 0, and so does one that is missed. MONAI's metrics leave empty truths out by default, so
that what is found on an empty frame would vanish. Distances to nothing do not exist: they are nan.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

TOLERANCE = 0.0075
"""How far apart boundaries may lie and match, as a share of the frame's diagonal (G. Csurka et al., BMVC 2013)."""


class ClassScore(NamedTuple):
    """Scores of one class in one frame.

    Attributes:
        iou: pixels in both, by pixels in either.
        dice: twice the pixels in both, by the pixels of one and of the other.
        boundary_f1: harmonic mean of the shares of either boundary that lie within the tolerance of the other.
        hausdorff: largest distance of a boundary pixel to the other boundary, in px; nan where one is empty.
    """

    iou: float
    dice: float
    boundary_f1: float
    hausdorff: float


def score_frames(
    predicted: np.ndarray, truth: np.ndarray, classes: int = 1, tolerance: float = TOLERANCE
) -> list[dict[str, float]]:
    """Scores of each frame, by name: means over the classes besides the background, and with several the IoU of each.

    Args:
        predicted: (frames, rows, columns) integers, 0 background.
        truth: the same shape.
        classes: how many there are besides the background.
        tolerance: of boundaries, a share of the frame's diagonal.

    Returns:
        Per frame ``iou``, ``dice``, ``pixel_accuracy`` (one minus the Hamming distance), ``boundary_f1``,
        ``hausdorff_px``, and ``iou_1``, ``iou_2``, ... where there are several classes.

    Raises:
        ValueError: the shapes differ.

    >>> frame = np.zeros((1, 8, 8), np.uint8); frame[0, 2:6, 2:6] = 1
    >>> score_frames(frame, frame)[0]["iou"]
    1.0
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"maps of (frames, rows, columns) expected, of equal shape: {predicted.shape} and {truth.shape}"
        )
    found = []
    for own, true in zip(predicted, truth, strict=True):
        scores = [score_class(own == number, true == number, tolerance) for number in range(1, classes + 1)]
        distances = [score.hausdorff for score in scores if np.isfinite(score.hausdorff)]
        row = {
            "iou": float(np.mean([score.iou for score in scores])),
            "dice": float(np.mean([score.dice for score in scores])),
            "pixel_accuracy": float((own == true).mean()),
            "boundary_f1": float(np.mean([score.boundary_f1 for score in scores])),
            "hausdorff_px": float(np.mean(distances)) if distances else float("nan"),
        }
        if classes > 1:
            row.update({f"iou_{number}": score.iou for number, score in enumerate(scores, 1)})
        found.append(row)
    return found


def score_class(predicted: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> ClassScore:
    """Scores of one class in one frame; (rows, columns) bool each."""
    both, either = int((predicted & truth).sum()), int((predicted | truth).sum())
    if not either:
        return ClassScore(1.0, 1.0, 1.0, float("nan"))
    iou, dice = both / either, 2 * both / (both + either)
    if not predicted.any() or not truth.any():
        return ClassScore(iou, dice, 0.0, float("nan"))
    to_truth, to_predicted = _distances(predicted, truth), _distances(truth, predicted)
    reach = max(1.0, tolerance * float(np.hypot(*truth.shape)))
    precision, recall = float((to_truth <= reach).mean()), float((to_predicted <= reach).mean())
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return ClassScore(iou, dice, f1, float(max(to_truth.max(), to_predicted.max())))


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of each boundary pixel of one mask to the nearest of the other, in px."""
    away = cv2.distanceTransform(1 - _boundary(other), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return away[_boundary(one) > 0]


def _boundary(mask: np.ndarray) -> np.ndarray:
    """uint8, 1 on pixels of the mask beside a pixel that is none of it, or at the frame's edge."""
    values = mask.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return values - cv2.erode(values, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
