"""The decision threshold, chosen on validation images and stored with the weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..metrics.annotated import keep_known
from ..metrics.instances import InstanceScore, score_image
from ..outputs.files import write_text
from ..report.svg import curves as draw_curves
from .instances import DecodeSettings, decode

FOREGROUND_GRID: tuple[float, ...] = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
"""Thresholds tried by default: 0.20 to 0.80."""

CRITERIA: tuple[str, ...] = ("dice", "f1", "aji", "pq")
"""Scores that a threshold can be chosen by."""

PLATEAU = 0.002
"""Scores this near the best count as equal to it: such differences are noise."""

_KEYS = ("foreground", "seed", "criterion", "plateau", "curves")


class ValidationMaps(NamedTuple):
    """What the network says about one validation image, and the truth.

    Attributes:
        foreground: (rows, columns) float32, probability of belonging to an object.
        distance: (rows, columns) float32, normalised distance to the outline.
        truth: (rows, columns) integers, 0 background.
        diameter: expected diameter of the objects, pixels.
        known: (rows, columns), not 0 where it is known whether there is an object; predictions of which not more than
            half lies there are left out of the score. None: the image is fully annotated.
    """

    foreground: np.ndarray
    distance: np.ndarray
    truth: np.ndarray
    diameter: float
    known: np.ndarray | None = None


@dataclass(frozen=True)
class ThresholdCurve:
    """Scores by foreground threshold, pooled over all objects of all images.

    Attributes:
        thresholds: ascending, 0 to 1.
        dice, f1, aji, pq: at each threshold (F1 and panoptic quality at IoU > 0.5).
        seed: seed threshold that all of them were decoded with.
        images: how many were scored.
    """

    thresholds: tuple[float, ...]
    dice: tuple[float, ...]
    f1: tuple[float, ...]
    aji: tuple[float, ...]
    pq: tuple[float, ...]
    seed: float
    images: int

    def scores(self, criterion: str) -> tuple[float, ...]:
        """The scores of one of :data:`CRITERIA` at each threshold.

        Raises:
            InputError: another criterion.
        """
        if criterion not in CRITERIA:
            raise InputError("criterion", repr(criterion), f"one of {', '.join(CRITERIA)}")
        return getattr(self, criterion)

    def best(self, criterion: str = "aji", plateau: float = PLATEAU) -> float:
        """The threshold in the middle of the plateau around the highest score.

        The plateau is the longest run of thresholds whose scores lie within ``plateau`` of the highest (of equally long
        ones the first); of an even number the lower of the two in its middle is taken.

        >>> curve = ThresholdCurve((0.3, 0.4, 0.5, 0.6), *[(0.5, 0.8, 0.8, 0.8)] * 4, seed=0.5, images=1)
        >>> curve.best("dice")
        0.5
        """
        return self.thresholds[_middle_of_plateau(self.scores(criterion), plateau)]


def _middle_of_plateau(scores: Sequence[float], plateau: float) -> int:
    """Index of the middle of the longest run within ``plateau`` of the highest score."""
    high = np.asarray(scores) >= max(scores) - plateau
    edges = np.flatnonzero(np.diff(np.concatenate(([False], high, [False])).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    longest = int(np.argmax(stops - starts))
    return int(starts[longest] + stops[longest] - 1) // 2


class ThresholdSearch:
    """Decodes and scores image after image at every threshold.

    Only the counts of each threshold are kept and summed, so that a large validation set needs the memory of one image.

    Args:
        thresholds: foreground thresholds.
        seeds: seed thresholds, each tried with every foreground threshold; by default that of ``settings``.
        settings: everything else about decoding. ``min_confidence`` is applied as it stands: an object whose mean
            probability lies below it is dropped at the lowest threshold too.

    Raises:
        InputError: no thresholds, or thresholds outside 0 to 1.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = FOREGROUND_GRID,
        seeds: Sequence[float] | None = None,
        settings: DecodeSettings | None = None,
    ) -> None:
        self.settings = settings or DecodeSettings()
        self.thresholds = _checked(thresholds, "thresholds")
        self.seeds = _checked(seeds or [self.settings.seed], "seeds")
        self._sums: np.ndarray | None = None
        self._images = 0

    def add(self, maps: ValidationMaps) -> None:
        """Score one validation image (never one of the training)."""
        tried = [[replace(self.settings, foreground=t, seed=s) for t in self.thresholds] for s in self.seeds]
        counts = np.array([[_counts(maps, settings) for settings in row] for row in tried])
        self._sums = counts if self._sums is None else self._sums + counts
        self._images += 1

    def curves(self) -> list[ThresholdCurve]:
        """One curve per seed threshold, by ascending seed.

        Raises:
            InputError: no image was added.
        """
        if self._sums is None:
            raise InputError("validation images", "none", "at least one, to choose the threshold by")
        pairs = zip(self.seeds, self._sums, strict=True)
        return [_curve(self.thresholds, seed, rows, self._images) for seed, rows in pairs]


def _checked(values: Sequence[float], name: str) -> tuple[float, ...]:
    grid = tuple(sorted({float(value) for value in values}))
    if not grid or grid[0] < 0 or grid[-1] > 1:
        raise InputError(name, str(list(values)), "numbers from 0 to 1")
    return grid


def _counts(maps: ValidationMaps, settings: DecodeSettings) -> np.ndarray:
    labels = decode(maps.foreground, maps.distance, maps.diameter, settings).labels
    if maps.known is not None:
        labels = keep_known(labels, (np.asarray(maps.known) != 0) | (maps.truth != 0))
    return score_image(maps.truth, labels).counts()


def _curve(grid: tuple[float, ...], seed: float, sums: np.ndarray, images: int) -> ThresholdCurve:
    totals = [InstanceScore.from_counts(row) for row in sums]
    return ThresholdCurve(
        thresholds=grid,
        dice=tuple(total.dice for total in totals),
        f1=tuple(total.f1 for total in totals),
        aji=tuple(total.aji for total in totals),
        pq=tuple(total.panoptic_quality for total in totals),
        seed=seed,
        images=images,
    )


@dataclass(frozen=True)
class ThresholdChoice:
    """The thresholds to decode with and how they were found.

    Attributes:
        foreground, seed: the chosen thresholds.
        criterion: one of :data:`CRITERIA`.
        plateau: scores this near the best counted as equal.
        curves: what was measured, one curve per seed threshold tried.
    """

    foreground: float
    seed: float
    criterion: str
    plateau: float
    curves: tuple[ThresholdCurve, ...]

    @property
    def curve(self) -> ThresholdCurve:
        """The curve of the chosen seed threshold."""
        return next(curve for curve in self.curves if curve.seed == self.seed)

    def settings(self, base: DecodeSettings | None = None) -> DecodeSettings:
        """``base`` with the chosen thresholds in place of its own."""
        return replace(base or DecodeSettings(), foreground=self.foreground, seed=self.seed)

    def svg(self) -> str:
        """The curves of all four scores at the chosen seed threshold, the chosen threshold marked: an ``<svg>``."""
        curve = self.curve
        series = {name: curve.scores(key) for name, key in zip(("Dice", "F1", "AJI", "PQ"), CRITERIA, strict=True)}
        note = (
            f"foreground threshold (seed {self.seed:g}, {curve.images:,} validation images, chosen by {self.criterion})"
        )
        return draw_curves(curve.thresholds, series, note, marked=self.foreground)


def choose(curves: Sequence[ThresholdCurve], criterion: str = "aji", plateau: float = PLATEAU) -> ThresholdChoice:
    """The seed threshold with the best curve (ties again to the middle), and on it the best foreground threshold.

    Raises:
        InputError: another criterion, or no curves.
    """
    if not curves:
        raise InputError("threshold curves", "none", "at least one")
    ordered = sorted(curves, key=lambda curve: curve.seed)
    curve = ordered[_middle_of_plateau([max(curve.scores(criterion)) for curve in ordered], plateau)]
    return ThresholdChoice(curve.best(criterion, plateau), curve.seed, criterion, plateau, tuple(ordered))


def write_choice(path: str | Path, choice: ThresholdChoice) -> None:
    """Writes a choice as JSON, usually ``models/threshold.json``, whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, json.dumps(asdict(choice), indent=2, allow_nan=False) + "\n")


def read_choice(path: str | Path) -> ThresholdChoice:
    """What :func:`write_choice` wrote.

    Raises:
        InputError: no such file, no JSON, or JSON that holds something else.
    """
    expected = "thresholds as the bundle stores them with its weights"
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, error.strerror or "a file that cannot be read", expected) from error
    except ValueError as error:
        raise InputError(path, f"no JSON ({error})", expected) from error
    try:
        foreground, seed, criterion, plateau, curves = (content[key] for key in _KEYS)
        measured = tuple(_from_json(curve) for curve in curves)
        choice = ThresholdChoice(float(foreground), float(seed), str(criterion), float(plateau), measured)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"JSON of another kind ({error!r})", expected) from error
    return choice


def stored_settings(path: str | Path, base: DecodeSettings | None = None) -> DecodeSettings:
    """The decode settings with the thresholds stored with the weights; ``base`` as it is where none are stored yet.

    Args:
        path: usually ``models/threshold.json``; it need not exist.
        base: settings for all else; the defaults without it.

    Raises:
        InputError: a file that holds something else.
    """
    base = base or DecodeSettings()
    return read_choice(path).settings(base) if Path(path).is_file() else base


def _from_json(content: dict[str, Any]) -> ThresholdCurve:
    numbers = {name: tuple(float(value) for value in content[name]) for name in ("thresholds", *CRITERIA)}
    return ThresholdCurve(**numbers, seed=float(content["seed"]), images=int(content["images"]))
