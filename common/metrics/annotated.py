"""Scores where only some nuclei are annotated: an unmarked pixel is unknown there, not background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .instances import InstanceScore, score_image
from .overlap import match, overlap


@dataclass(frozen=True)
class AnnotatedScore:
    """Counts over one partially annotated image, or summed over several.

    Attributes:
        annotated: annotated nuclei.
        matched: those of them that a prediction matches at IoU > 0.5; at most one prediction matches each, and a
            prediction matches at most one.
        covered: those of them of whose pixels more than half are predicted as nucleus, by whichever objects.
        judged: predictions that lie mostly on known pixels; every matching one is among them.
    """

    annotated: int
    matched: int
    covered: int
    judged: int

    @property
    def sensitivity(self) -> float:
        """matched / annotated: the share of the annotated nuclei that was found as an object; 1 without any."""
        return self.matched / self.annotated if self.annotated else 1.0

    @property
    def coverage(self) -> float:
        """covered / annotated: the share found as pixels, whether or not parted from their neighbours; 1 without any."""
        return self.covered / self.annotated if self.annotated else 1.0

    @property
    def precision(self) -> float:
        """matched / judged: the share of the predictions in known places that is an annotated nucleus; 1 without any."""
        return self.matched / self.judged if self.judged else 1.0

    @property
    def f1(self) -> float:
        """2 matched / (annotated + judged); 1 where there is neither."""
        both = self.annotated + self.judged
        return 2 * self.matched / both if both else 1.0


def score_annotated(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None) -> AnnotatedScore:
    """Scores a prediction against those nuclei that somebody annotated.

    Sensitivity is over all annotated nuclei. What was predicted on unknown pixels is neither right nor wrong, so
    precision is over the predictions of which more than half lies on known pixels. A prediction is compared whole: the
    part of it that runs from an annotated nucleus into the unknown lowers its IoU.

    Args:
        truth: (rows, columns) integers, the annotated nuclei, 0 elsewhere.
        predicted: (rows, columns) integers, all predicted objects.
        known: (rows, columns), not 0 where it is known whether there is a nucleus: annotated nuclei (which count as
            known in any case), the ring around them, background that somebody or something marked. None: only the
            annotated nuclei are known. Then precision tells of nuclei found in fragments or too small, and nothing of
            false objects elsewhere.

    Raises:
        ValueError: the shapes differ, a map does not hold integers, or an id is negative.

    Two annotated nuclei, one found; one object more on known background, one in the unknown:

    >>> truth = np.array([[1, 1, 0, 0, 2, 2, 0, 0, 0]])
    >>> predicted = np.array([[5, 5, 0, 6, 0, 0, 0, 7, 7]])
    >>> known = np.array([[1, 1, 1, 1, 1, 1, 0, 0, 0]])
    >>> score = score_annotated(truth, predicted, known)
    >>> score.sensitivity, score.precision, score.judged
    (0.5, 0.5, 2)
    """
    found = overlap(truth, predicted)
    places = np.asarray(truth) != 0 if known is None else (np.asarray(truth) != 0) | (np.asarray(known) != 0)
    on_truth = np.bincount(found.truth_index, weights=found.intersection, minlength=len(found.truth_areas))
    return AnnotatedScore(
        annotated=len(found.truth_areas),
        matched=match(found, 0.5).true_positives,
        covered=int((2 * on_truth > found.truth_areas).sum()),
        judged=int(np.count_nonzero(_mostly_on(predicted, places)[1:])),
    )


def score_truth(truth: np.ndarray, predicted: np.ndarray, partial: bool = False) -> InstanceScore:
    """:func:`.instances.score_image`, fair to truth that is not whole.

    Args:
        truth: (rows, columns) integers, 0 elsewhere.
        predicted: (rows, columns) integers, all predicted objects.
        partial: only some objects are annotated: predictions of which not more than half lies on annotated ones are
            neither right nor wrong and left out. False objects elsewhere then go unseen.
    """
    return score_image(truth, keep_known(predicted, truth) if partial else predicted)


def keep_known(predicted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The objects of which more than half lies on known pixels, whole; the others become background.

    Args:
        predicted: (rows, columns) integers from 0.
        known: (rows, columns), not 0 where it is known whether there is an object.

    Raises:
        ValueError: the shapes differ.
    """
    return np.where(_mostly_on(predicted, np.asarray(known) != 0)[predicted], predicted, 0).astype(predicted.dtype)


def _mostly_on(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(largest id + 1,) bool, for each id whether more than half of its pixels lies on the places; never for 0."""
    if labels.shape != places.shape:
        raise ValueError(f"maps differ in shape: {labels.shape} and {places.shape}")
    areas = np.bincount(labels.ravel(), minlength=1)
    mostly = 2 * np.bincount(labels[places], minlength=len(areas)) > areas
    mostly[0] = False
    return mostly


def total_annotated(scores: Sequence[AnnotatedScore]) -> AnnotatedScore:
    """Counts summed over images."""
    return AnnotatedScore(
        annotated=sum(score.annotated for score in scores),
        matched=sum(score.matched for score in scores),
        covered=sum(score.covered for score in scores),
        judged=sum(score.judged for score in scores),
    )
