"""The outline of one object along time: a frame in which it leaks, breaks up or vanishes is decided by those beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .parts import Parts, filled, parts_of

DEVIATION = 1.35
"""Factor by which the area of one frame may differ from frames beside it that agree."""

_LEVELS = (26, 51, 77, 102, 153, 179, 204, 230)  # of 255: other probabilities at which an outline can lie
_BETTER = 0.1  # of overlap with the frames beside it, for another outline to be taken


@dataclass(eq=False)
class Region:
    """Where an object is in a frame: its box and what of the box it fills, holes included.

    Attributes:
        box: rows, columns.
        crop: bool.
        note: how it came to be, "" for plainly.
    """

    box: tuple[slice, slice]
    crop: np.ndarray
    note: str = ""

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.crop))


def region_of(parts: Parts, part: int | None) -> Region | None:
    """A part with its holes filled."""
    return None if part is None else Region(parts.box(part), filled(parts.crop(part)))


def overlap_of(one: Region, other: Region) -> float:
    """Intersection over union."""
    shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.box, other.box, strict=True)]
    if any(part.stop <= part.start for part in shared):
        return 0.0
    crops = [
        region.crop[tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, region.box, strict=True))]
        for region in (one, other)
    ]
    common = int(np.count_nonzero(crops[0] & crops[1]))
    return common / (one.area + other.area - common)


def settle(
    regions: Sequence[Region | None], foreground: np.ndarray | None, before: Region | None = None
) -> list[Region | None]:
    """The object of every frame, outlined anew where it does not fit the frames beside it.

    A frame is in doubt where the nearest frames before and after it agree in area within :data:`DEVIATION` and it has no
    object, or one whose area differs from both by more. Then outlines at other probabilities than one half are tried, and
    the one that overlaps most with those frames is taken if it fits in area and overlaps clearly better. What stays in
    doubt is kept and noted, never invented.

    Args:
        regions: of one object in each frame.
        foreground: (frames, rows, columns) uint8 probability, 255 being 1; None: nothing is outlined anew.
        before: the object in the frame before the first.
    """
    settled: list[Region | None] = list(regions)
    for index, region in enumerate(settled):
        earlier = settled[index - 1] if index else before
        later = next((after for after in settled[index + 1 :] if after is not None), None)
        if earlier is None or later is None or not _alike(earlier.area, later.area):
            continue
        wanted = float(np.sqrt(earlier.area * later.area))
        if region is not None and _alike(region.area, wanted):
            continue
        found = None if foreground is None else _outlined(foreground[index], region, (earlier, later), wanted)
        if found is not None:
            settled[index] = found
        elif region is not None:
            change = 100 * (region.area / wanted - 1)
            region.note = f"area {change:+.0f} % against the frames beside it"
    return settled


def _alike(one: float, other: float) -> bool:
    return max(one, other) <= DEVIATION * min(one, other)


def _outlined(
    foreground: np.ndarray, region: Region | None, beside: tuple[Region, Region], wanted: float
) -> Region | None:
    """The outline at another probability that fits best, if it fits."""
    best, best_overlap = None, _BETTER + (0.0 if region is None else _mean_overlap(region, beside))
    for level in _LEVELS:
        parts = parts_of(foreground >= level, None, int(wanted / DEVIATION))
        for part in range(len(parts)):
            candidate = Region(parts.box(part), filled(parts.crop(part)))
            overlap = _mean_overlap(candidate, beside)
            if overlap > best_overlap and _alike(candidate.area, wanted):
                candidate.note = f"outlined at probability {level / 255:.1f} to fit the frames beside it"
                best, best_overlap = candidate, overlap
    return best


def _mean_overlap(region: Region, beside: tuple[Region, Region]) -> float:
    return sum(overlap_of(region, other) for other in beside) / len(beside)
