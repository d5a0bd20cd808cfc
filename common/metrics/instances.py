"""Scores of instance maps (one integer id per object): of one image, and of a set of images.

Every score follows from counts that add up over images, so pooling is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .overlap import Matching, Overlap, match, overlap

__all__ = [
    "SCORES",
    "THRESHOLDS_PERCENT",
    "InstanceScore",
    "Matching",
    "Overlap",
    "match",
    "overlap",
    "score_image",
    "total",
]

THRESHOLDS_PERCENT: tuple[int, ...] = tuple(range(50, 100, 5))
"""IoU thresholds of the 2018 Data Science Bowl, in percent, so that comparisons stay exact."""

SCORES: tuple[str, ...] = (
    "competition_score",
    "ap50",
    "f1",
    "panoptic_quality",
    "segmentation_quality",
    "recognition_quality",
    "aji",
    "dice",
    "iou",
)
"""Names of the scores that :class:`InstanceScore` offers."""


@dataclass(frozen=True, eq=False)
class InstanceScore:
    """Counts of one image (or summed over several) and the scores that follow from them.

    Where truth and prediction are both empty every score is 1; where only one of them is empty every score is 0.

    Attributes:
        true_positives: (10,) int64, matched pairs at IoU > 0.50, 0.55, ..., 0.95.
        false_positives: (10,) int64, unmatched predicted objects.
        false_negatives: (10,) int64, unmatched true objects.
        matched_iou_sum: sum of the IoU of the pairs matched at 0.5.
        aji_intersection: numerator of the aggregated Jaccard index, pixels.
        aji_union: its denominator, pixels.
        truth_pixels: foreground pixels of the truth.
        predicted_pixels: foreground pixels of the prediction.
        common_pixels: pixels that are foreground in both.
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray
    matched_iou_sum: float
    aji_intersection: int
    aji_union: int
    truth_pixels: int
    predicted_pixels: int
    common_pixels: int

    @property
    def truth_objects(self) -> int:
        """Number of true objects."""
        return int(self.true_positives[0] + self.false_negatives[0])

    @property
    def predicted_objects(self) -> int:
        """Number of predicted objects."""
        return int(self.true_positives[0] + self.false_positives[0])

    @property
    def average_precision(self) -> np.ndarray:
        """(10,) float64, TP / (TP + FP + FN) at each threshold."""
        total = self.true_positives + self.false_positives + self.false_negatives
        return np.where(total > 0, self.true_positives / np.maximum(total, 1), 1.0)

    @property
    def competition_score(self) -> float:
        """Mean of TP / (TP + FP + FN) over the ten thresholds: the score of the 2018 Data Science Bowl."""
        return float(self.average_precision.mean())

    @property
    def ap50(self) -> float:
        """TP / (TP + FP + FN) at IoU > 0.5, what the nuclei literature (Caicedo, StarDist) calls AP."""
        return float(self.average_precision[0])

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN) at IoU > 0.5."""
        return _ratio(2 * int(self.true_positives[0]), self.truth_objects + self.predicted_objects)

    @property
    def recognition_quality(self) -> float:
        """The F1 part of panoptic quality, equal to :attr:`f1`."""
        return self.f1

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the pairs matched at IoU > 0.5; 0 without a matched pair, 1 where both maps are empty."""
        if not self.truth_objects + self.predicted_objects:
            return 1.0
        return self.matched_iou_sum / max(int(self.true_positives[0]), 1)

    @property
    def panoptic_quality(self) -> float:
        """Sum of matched IoU / (TP + FP/2 + FN/2) (Kirillov et al., Panoptic Segmentation, CVPR 2019)."""
        return _ratio(2 * self.matched_iou_sum, self.truth_objects + self.predicted_objects)

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index (Kumar et al., IEEE TMI 2017)."""
        return _ratio(self.aji_intersection, self.aji_union)

    @property
    def dice(self) -> float:
        """Dice of the foreground."""
        return _ratio(2 * self.common_pixels, self.truth_pixels + self.predicted_pixels)

    @property
    def iou(self) -> float:
        """IoU of the foreground."""
        return _ratio(self.common_pixels, self.truth_pixels + self.predicted_pixels - self.common_pixels)

    def scores(self) -> dict[str, float]:
        """All scores by name, in the order of :data:`SCORES`."""
        return {name: float(getattr(self, name)) for name in SCORES}

    def counts(self) -> np.ndarray:
        """(36,) float64, all attributes in their order: what adds up over images (exact up to 2**53)."""
        single = [self.matched_iou_sum, self.aji_intersection, self.aji_union]
        single += [self.truth_pixels, self.predicted_pixels, self.common_pixels]
        return np.concatenate([self.true_positives, self.false_positives, self.false_negatives, single]).astype(float)

    @classmethod
    def from_counts(cls, counts: np.ndarray) -> InstanceScore:
        """The score with these :meth:`counts`, (36,)."""
        hits = np.asarray(counts[:30]).astype(np.int64).reshape(3, 10)
        return cls(hits[0], hits[1], hits[2], float(counts[30]), *(int(value) for value in counts[31:]))


def _ratio(numerator: float, denominator: float) -> float:
    """The quotient, 1 where there was nothing to find and nothing was found."""
    return float(numerator / denominator) if denominator else 1.0


def score_image(truth: np.ndarray, predicted: np.ndarray) -> InstanceScore:
    """Scores of one image.

    Args:
        truth: (rows, columns) integers, 0 background, any positive ids.
        predicted: the same shape.

    Raises:
        ValueError: the shapes differ, a map does not hold integers, or an id is negative.

    Four objects, one missed, the others exact:

    >>> truth = np.array([[1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4]])
    >>> predicted = np.where(truth == 4, 0, truth)
    >>> score = score_image(truth, predicted)
    >>> score.competition_score, score.ap50, score.aji
    (0.75, 0.75, 0.75)
    >>> score.true_positives.tolist()
    [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    found = overlap(truth, predicted)
    percent = np.array(THRESHOLDS_PERCENT)[:, None]
    true_positives = (100 * found.intersection > percent * found.union).sum(axis=1)
    aji_intersection, aji_union = _aji_parts(found)
    return InstanceScore(
        true_positives=true_positives,
        false_positives=len(found.predicted_areas) - true_positives,
        false_negatives=len(found.truth_areas) - true_positives,
        matched_iou_sum=float(match(found, 0.5).matched_iou.sum()),
        aji_intersection=aji_intersection,
        aji_union=aji_union,
        truth_pixels=int(found.truth_areas.sum()),
        predicted_pixels=int(found.predicted_areas.sum()),
        common_pixels=int(found.intersection.sum()),
    )


def _aji_parts(found: Overlap) -> tuple[int, int]:
    """Numerator and denominator of the aggregated Jaccard index as Kumar et al. 2017 define it.

    Each true object takes the prediction of highest IoU (the lowest id among equals); one prediction may serve several
    true objects; true objects without overlap and predictions that serve none add their area to the denominator.
    """
    union = found.union
    iou = found.intersection / np.maximum(union, 1)
    # Sorted by truth, then falling IoU, then id: the first row of each true object is its best prediction.
    order = np.lexsort((found.predicted_index, -iou, found.truth_index))
    served, first = np.unique(found.truth_index[order], return_index=True)
    best = order[first]
    unserved = found.truth_areas.sum() - found.truth_areas[served].sum()
    used = np.unique(found.predicted_index[best])
    unused = found.predicted_areas.sum() - found.predicted_areas[used].sum()
    return int(found.intersection[best].sum()), int(union[best].sum() + unserved + unused)


def total(scores: Sequence[InstanceScore]) -> InstanceScore:
    """Counts summed over images: its scores are those pooled over all objects.

    >>> good = score_image(np.array([[1, 1, 0]]), np.array([[1, 1, 0]]))
    >>> bad = score_image(np.array([[1, 0, 2]]), np.array([[0, 0, 0]]))
    >>> round(total([good, bad]).ap50, 3)
    0.333
    """
    return InstanceScore.from_counts(np.sum([score.counts() for score in scores], axis=0))
