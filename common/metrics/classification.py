"""Agreement of predicted classes with the truth: accuracy, precision and recall, confusion, calibration, slides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

BINS = 10
"""Of equal width between confidences 0 and 1, as usual for the calibration error (Guo et al., ICML 2017)."""


class ClassRow(NamedTuple):
    """What was found for one image, or for one slide (:func:`slide_rows`).

    Attributes:
        image: name, unique among the images.
        group: patient or case.
        slide: of the image.
        truth: index of the true class.
        predicted: index of the predicted class, -1 for none (an image without tissue).
        probabilities: one per class, adding up to 1; of an image without class they are not used.
        votes: number of patches, or for a slide of images, that were given each class.
    """

    image: str
    group: str
    slide: str
    truth: int
    predicted: int
    probabilities: tuple[float, ...]
    votes: tuple[int, ...]


class ClassScores(NamedTuple):
    """Scores that follow from a confusion matrix; nan where nothing is known.

    Attributes:
        accuracy: share of images with the right class; one without class is wrong.
        balanced_accuracy: mean recall of the classes that occur in the truth.
        macro_f1: mean F1 of the classes that occur in the truth.
        precision: (classes,) float64, nan for a class that was never predicted.
        recall: (classes,) float64, nan for a class that does not occur.
        f1: (classes,) float64, nan for a class that neither occurs nor was predicted.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


class Reliability(NamedTuple):
    """Confidence against accuracy in bins of confidence, as sums, so that those of several sets can be added.

    Attributes:
        counts: (bins,) float64, images with a confidence in the bin.
        confidence: (bins,) float64, sum of their confidences.
        correct: (bins,) float64, how many of them have the right class.
    """

    counts: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray

    @property
    def calibration_error(self) -> float:
        """Mean over images of the distance between the accuracy and the mean confidence of their bin; nan for none."""
        total = self.counts.sum()
        return float(np.abs(self.correct - self.confidence).sum() / total) if total else float("nan")


class Classified(Protocol):
    """An image with a class."""

    @property
    def predicted(self) -> int:
        """Index of the class, -1 for none."""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """One per class, adding up to 1."""


class SlideClass(NamedTuple):
    """The class of a slide.

    Attributes:
        predicted: index of the class, -1 for none.
        probabilities: one per class, adding up to 1; without class all are equal.
        counts: number of images that were given each class.
    """

    predicted: int
    probabilities: tuple[float, ...]
    counts: tuple[int, ...]


def confusion_matrix(rows: Sequence[ClassRow], classes: int) -> np.ndarray:
    """How many images of each true class were given each class.

    Returns:
        int64 (classes, classes + 1): true class, predicted class; the last column counts images without class.

    Raises:
        ValueError: a class that does not exist.

    >>> rows = [ClassRow("a", "p", "s", 0, 1, (0.4, 0.6), (1, 2)), ClassRow("b", "p", "s", 1, -1, (0.5, 0.5), (0, 0))]
    >>> confusion_matrix(rows, 2).tolist()
    [[0, 1, 0], [0, 0, 1]]
    """
    if any(not 0 <= row.truth < classes or not -1 <= row.predicted < classes for row in rows):
        raise ValueError(f"classes are numbers from 0 to {classes - 1}, and -1 where none was predicted")
    matrix = np.zeros((classes, classes + 1), np.int64)
    np.add.at(matrix, ([row.truth for row in rows], [row.predicted % (classes + 1) for row in rows]), 1)
    return matrix


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Scores of a confusion matrix.

    Args:
        confusion: (classes, classes + 1) as of :func:`confusion_matrix`, or a sum of such.

    >>> scores = class_scores(np.array([[3, 1, 0], [0, 2, 2]]))
    >>> scores.accuracy, scores.recall.tolist(), scores.precision.round(2).tolist()
    (0.625, [0.75, 0.5], [1.0, 0.67])
    """
    right = np.diag(confusion[:, :-1]).astype(np.float64)
    true, found = confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
    recall, f1 = _ratio(right, true), _ratio(2 * right, true + found)
    occurs = true > 0
    return ClassScores(
        accuracy=float(right.sum() / true.sum()) if occurs.any() else float("nan"),
        balanced_accuracy=float(recall[occurs].mean()) if occurs.any() else float("nan"),
        macro_f1=float(f1[occurs].mean()) if occurs.any() else float("nan"),
        precision=_ratio(right, found),
        recall=recall,
        f1=f1,
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def reliability(rows: Sequence[ClassRow], bins: int = BINS) -> Reliability:
    """Confidences of the predicted class against what is right, in bins of equal width.

    A confidence on the border of two bins counts in the lower one, as Guo et al. define it. Images without class have no
    confidence and are left out.

    >>> rows = [ClassRow("a", "p", "s", 0, 0, (0.75, 0.25), (3, 1)), ClassRow("b", "p", "s", 1, 0, (0.75, 0.25), (3, 1))]
    >>> reliability(rows).calibration_error
    0.25
    """
    known = [row for row in rows if row.predicted >= 0]
    confidence = np.array([row.probabilities[row.predicted] for row in known], dtype=np.float64)
    correct = np.array([row.truth == row.predicted for row in known], dtype=np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    sums = (np.bincount(place, weights, bins) for weights in (np.ones(len(known)), confidence, correct))
    return Reliability(*sums)


def slide_class(images: Sequence[Classified]) -> SlideClass:
    """The class of the highest mean probability of the images of one slide, those without class left out.

    Args:
        images: one at least.
    """
    classes, known = len(images[0].probabilities), [image for image in images if image.predicted >= 0]
    if not known:
        return SlideClass(-1, (1 / classes,) * classes, (0,) * classes)
    mean = np.mean([image.probabilities for image in known], axis=0)
    counts = np.bincount([image.predicted for image in known], minlength=classes)
    return SlideClass(int(mean.argmax()), tuple(mean.tolist()), tuple(counts.tolist()))


def slide_rows(rows: Sequence[ClassRow]) -> list[ClassRow]:
    """One row per slide: the class of the highest mean probability of its images, as ``image`` the name of the slide.

    Images without class do not count; a slide of such images alone has no class either. Slides of one name whose truth
    differs are two slides.

    Returns:
        Slides in the order of their first images, with the number of images that were given each class as votes.
    """
    slides: dict[tuple[str, int], list[ClassRow]] = {}
    for row in rows:
        slides.setdefault((row.slide, row.truth), []).append(row)
    return [_slide_row(own) for own in slides.values()]


def _slide_row(images: Sequence[ClassRow]) -> ClassRow:
    first, found = images[0], slide_class(images)
    return ClassRow(first.slide, first.group, first.slide, first.truth, *found)
