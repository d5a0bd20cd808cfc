"""Training samples in memory: every frame of every record, each read once, small groups more often than their share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ...datasets.folds import group_of
from ...engine.numbered import read_items
from ...errors import Problem


def read_samples(
    records: Sequence[dict[str, Any]],
    transform: Callable[[dict[str, Any]], list[dict[str, Any]]],
    problems: list[Problem] | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """All frames of all records; arguments and errors as of :func:`...engine.numbered.read_items`.

    Groups are drawn by about the square root of their frames, which takes nothing from a movie of many frames, all alike: a
    sample of a small group is in the list several times, and in memory once.

    Args:
        transform: gives the samples of a record, such as :class:`..transforms.ReadSamplesd`.
    """

    def read(record: dict[str, Any]) -> dict[str, Any]:
        return {"samples": transform(record), "group": group_of(record)}

    found = read_items(records, read, problems, progress)
    counts = Counter[str]()
    for item in found:
        counts[item["group"]] += len(item["samples"])
    most = max(counts.values())
    times = {group: round((most / count) ** 0.5) for group, count in counts.items()}
    return [sample for item in found for sample in item["samples"] * times[item["group"]]]
