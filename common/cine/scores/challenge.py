"""How well a ventricle is outlined: overlap, contours judged by the MICCAI 2009 challenge's rule, agreement of volumes.

The challenge (P. Radau et al., Evaluation Framework for Algorithms Segmenting Short Axis Cardiac MRI, MIDAS Journal 2009)
calls a contour good if its average perpendicular distance (APD, :mod:`.contour_distances`) is below 5 mm; Dice and APD are
averaged over good contours only, and a contour that is missing is not good.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ...datasets.contours import mask_to_contour
from ...metrics.bootstrap import Interval, bootstrap_intervals
from ...metrics.pixel import score_pixels
from .contour_distances import average_perpendicular_distance, hausdorff_distance

REGIONS: dict[str, tuple[int, ...]] = {"cavity": (1,), "myocardium": (2,), "epicardium": (1, 2)}
"""Classes of each region: the endocardial contour encloses the cavity, the epicardial one cavity and myocardium."""

GOOD_APD_MM = 5.0


def pixel_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of pixels with the right class: near 1 whatever is predicted where the ventricle covers 2 % of the image.

    >>> pixel_accuracy(np.array([0, 0, 0, 1]), np.zeros(4))
    0.75
    """
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


@dataclass(frozen=True)
class ContourScore:
    """One contour against a drawn one.

    Attributes:
        dice: of the enclosed pixels; 0 for a missing contour.
        iou: the same.
        apd_mm: average perpendicular distance; nan for a missing contour.
        hausdorff_mm: nan for a missing contour.
    """

    dice: float
    iou: float
    apd_mm: float
    hausdorff_mm: float

    @property
    def found(self) -> bool:
        """Whether there is a contour at all."""
        return not np.isnan(self.apd_mm)

    @property
    def good(self) -> bool:
        """The challenge's rule: APD below 5 mm. A missing contour is not good."""
        return self.apd_mm < GOOD_APD_MM


def score_contour(
    truth: np.ndarray,
    predicted: np.ndarray,
    spacing: tuple[float, float],
    truth_contour: np.ndarray | None = None,
    predicted_contour: np.ndarray | None = None,
) -> ContourScore:
    """Scores of one region of one slice that was drawn.

    Args:
        truth: (rows, columns) bool, inside the drawn contour.
        predicted: the same shape, bool; may be empty.
        spacing: (row, column) distance of pixels in mm.
        truth_contour: as it was drawn; None: the outline of the mask (of its largest part).
        predicted_contour: as it is written; None: the outline of the mask.

    Raises:
        ValueError: the truth is empty. Slices that nobody drew are unlabelled: they have no score.
    """
    truth, predicted = np.asarray(truth) > 0, np.asarray(predicted) > 0
    if not truth.any():
        raise ValueError("a slice without a drawn contour has no score")
    overlap = score_pixels(truth, predicted)
    if not predicted.any():
        return ContourScore(overlap.dice, overlap.iou, np.nan, np.nan)
    drawn = mask_to_contour(truth) if truth_contour is None else truth_contour
    found = mask_to_contour(predicted) if predicted_contour is None else predicted_contour
    apd, hausdorff = (
        measure(found, drawn, spacing) for measure in (average_perpendicular_distance, hausdorff_distance)
    )
    return ContourScore(overlap.dice, overlap.iou, apd, hausdorff)


def challenge_summary(scores: Sequence[ContourScore]) -> dict[str, float]:
    """A set of contours by the challenge's rule and, beside it, plainly.

    Args:
        scores: one per drawn contour.

    Returns:
        ``good_percent`` of all drawn contours; ``dice_of_good`` and ``apd_mm_of_good``, means over good contours (nan
        without any); ``mean_dice`` and ``mean_iou`` over all, missing ones as 0; ``mean_apd_mm`` and
        ``mean_hausdorff_mm`` over those found; ``found_percent``.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("no contours to summarise")
    return _summary(_table(scores))


def _table(scores: Sequence[ContourScore]) -> np.ndarray:
    return np.array([[score.dice, score.iou, score.apd_mm, score.hausdorff_mm] for score in scores])


def _summary(table: np.ndarray) -> dict[str, float]:
    found, good = ~np.isnan(table[:, 2]), table[:, 2] < GOOD_APD_MM
    return {
        "good_percent": 100 * float(good.mean()),
        "dice_of_good": _mean(table[good, 0]),
        "apd_mm_of_good": _mean(table[good, 2]),
        "mean_dice": _mean(table[:, 0]),
        "mean_iou": _mean(table[:, 1]),
        "mean_apd_mm": _mean(table[found, 2]),
        "mean_hausdorff_mm": _mean(table[found, 3]),
        "found_percent": 100 * float(found.mean()),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def challenge_intervals(
    scores: Sequence[ContourScore],
    patients: Sequence[Hashable],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """:func:`challenge_summary` with intervals over patients, which are drawn whole.

    Args:
        scores: one per drawn contour.
        patients: of each contour.
        confidence: of the intervals.
        resamples: how many sets of patients are drawn.
        seed: of the random numbers.

    Returns:
        The keys of :func:`challenge_summary`, over all contours, and the same with ``per_patient_`` before them: mean of the
        patients' own summaries, which is what the challenge's papers give.

    Raises:
        ValueError: no scores, or another number of patients.
    """
    if not scores or len(scores) != len(patients):
        raise ValueError(f"{len(scores)} contours, but {len(patients)} patients")
    tables = {patient: [] for patient in patients}  # type: dict[Hashable, list[ContourScore]]
    for score, patient in zip(scores, patients, strict=True):
        tables[patient].append(score)
    own = [(_table(part), _summary(_table(part))) for part in tables.values()]

    def statistics(chosen: list[tuple[np.ndarray, dict[str, float]]]) -> dict[str, float]:
        pooled = _summary(np.concatenate([table for table, _ in chosen]))
        values = {name: np.array([summary[name] for _, summary in chosen]) for name in pooled}
        means = {f"per_patient_{name}": _mean(part[~np.isnan(part)]) for name, part in values.items()}
        return {**pooled, **means}

    return bootstrap_intervals(own, None, statistics, confidence, resamples, seed)


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two measurements of the same things, after Bland and Altman (Lancet 327 (1986) 307-310).

    Attributes:
        bias: mean of measured minus reference, with its interval.
        lower_limit: of agreement, bias - 1.96 standard deviations (n - 1) of the differences.
        upper_limit: bias + 1.96 standard deviations.
        correlation: Pearson's, nan where one of both is constant.
        standard_deviation: of the differences.
        means: (n,) means of both measurements.
        differences: (n,) measured minus reference.
        left_out: pairs of which a number is missing.
    """

    bias: Interval
    lower_limit: Interval
    upper_limit: Interval
    correlation: Interval
    standard_deviation: float
    means: np.ndarray
    differences: np.ndarray
    left_out: int


def bland_altman(
    measured: Sequence[float | None] | np.ndarray,
    reference: Sequence[float | None] | np.ndarray,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Bias, limits of agreement and correlation, each with a bootstrap interval over the pairs.

    Args:
        measured: (n,) numbers, one per patient; None or nan where unknown.
        reference: (n,) the same of the truth.
        confidence: of the intervals.
        resamples: how many sets of pairs are drawn.
        seed: of the random numbers.

    Raises:
        ValueError: different numbers of both, or fewer than two complete pairs.
    """
    both = np.array([np.asarray(list(values), np.float64) for values in (measured, reference)])
    complete = np.isfinite(both).all(axis=0)
    pairs = both[:, complete].T
    if len(pairs) < 2:
        raise ValueError(f"agreement needs two pairs at least, not {len(pairs)}")

    def statistics(chosen: list[np.ndarray]) -> dict[str, float]:
        one, two = np.stack(chosen).T
        bias, sd = float(np.mean(one - two)), float(np.std(one - two, ddof=1))
        varies = min(np.ptp(one), np.ptp(two)) > 0
        correlation = float(np.corrcoef(one, two)[0, 1]) if varies else float("nan")
        return {"bias": bias, "low": bias - 1.96 * sd, "high": bias + 1.96 * sd, "correlation": correlation}

    found = bootstrap_intervals(list(pairs), None, statistics, confidence, resamples, seed)
    return Agreement(
        bias=found["bias"],
        lower_limit=found["low"],
        upper_limit=found["high"],
        correlation=found["correlation"],
        standard_deviation=float(np.std(pairs[:, 0] - pairs[:, 1], ddof=1)),
        means=pairs.mean(axis=1),
        differences=pairs[:, 0] - pairs[:, 1],
        left_out=int((~complete).sum()),
    )
