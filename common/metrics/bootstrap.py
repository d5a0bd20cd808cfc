"""Confidence intervals by resampling whole groups: patients, fields, slides."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class Interval(NamedTuple):
    """A statistic with its interval.

    Attributes:
        estimate: the statistic of all items.
        low: lower bound, nan where there is only one group.
        high: upper bound, nan where there is only one group.
    """

    estimate: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Its numbers by name, None for nan, which JSON does not know."""
        return {name: None if math.isnan(value) else value for name, value in self._asdict().items()}


def bootstrap_interval(
    items: Sequence[T],
    groups: Sequence[Hashable] | None,
    statistic: Callable[[list[T]], float],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic, drawing whole groups with replacement (the cluster bootstrap).

    Images of one patient resemble each other, so drawing single images would give intervals that are too narrow
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Field and Welsh, JRSS B 2007 for clusters).
    The same seed gives the same interval. One group says nothing about the spread between groups: then both bounds are
    nan. Resamples on which the statistic is nan are left out.

    Args:
        items: one per image, of any kind: numbers, scores, tuples.
        groups: group of each item; None: every item is a group of its own.
        statistic: number that follows from a list of items.
        confidence: share of the resamples between the bounds, 0 < confidence < 1.
        resamples: how many sets of groups are drawn.
        seed: of the random numbers.

    Raises:
        ValueError: no items, another number of groups than of items, or a confidence outside (0, 1).

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "c"], np.mean)
    >>> interval.estimate, interval.low >= 1.5, interval.high <= 4.0
    (2.5, True, True)
    """

    def named(chosen: list[T]) -> dict[str, float]:
        return {"": float(statistic(chosen))}

    return bootstrap_intervals(items, groups, named, confidence, resamples, seed)[""]


def bootstrap_intervals(
    items: Sequence[T],
    groups: Sequence[Hashable] | None,
    statistics: Callable[[list[T]], Mapping[str, float]],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of several statistics from the same resamples; arguments as in :func:`bootstrap_interval`.

    Args:
        statistics: numbers by name that follow from a list of items.
    """
    members = _members(len(items), groups)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, not at {confidence}")
    estimates = {name: float(value) for name, value in statistics(list(items)).items()}
    if len(members) < 2:
        return {name: Interval(value, float("nan"), float("nan")) for name, value in estimates.items()}
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in estimates}
    for _ in range(resamples):
        chosen = [items[index] for group in rng.integers(len(members), size=len(members)) for index in members[group]]
        for name, value in statistics(chosen).items():
            drawn[name].append(float(value))
    return {name: Interval(value, *_bounds(drawn[name], confidence)) for name, value in estimates.items()}


def _members(count: int, groups: Sequence[Hashable] | None) -> list[list[int]]:
    """Indices of the items of each group, groups in the order of their first item."""
    if not count:
        raise ValueError("no items to resample")
    if groups is None:
        return [[index] for index in range(count)]
    if len(groups) != count:
        raise ValueError(f"{count} items, but {len(groups)} groups")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())


def _bounds(values: list[float], confidence: float) -> tuple[float, float]:
    """Percentiles that leave out the same share at both ends."""
    finite = np.array(values)[~np.isnan(values)]
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
