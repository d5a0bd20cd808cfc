"""Objects along time: parts of neighbouring frames that are one object get one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from .parts import Parts

OVERLAP = 0.2
"""Share of the smaller part that two frames must have in common for one object."""

PATIENCE = 3
"""Frames that an object may be missing and still be the same."""

_GROWTH = 5.0  # in area from frame to frame, at most: a speck inside an object's outline is not the object
_NEVER = 1e6


@dataclass(eq=False)
class _Seen:
    """An object where it was seen last."""

    identity: int
    frame: int
    box: tuple[slice, slice]
    crop: np.ndarray
    area: int
    centroid: np.ndarray


@dataclass(eq=False)
class Follower:
    """Numbers the objects of a sequence, frame after frame; what it has seen so far is its state.

    Parts are linked one to one (Kuhn, Naval Research Logistics 2 (1955) 83-97) by the pixels that they share with an object
    where it was seen last, or where they share none and are of like size, by the distance of their centroids, up to one
    diameter: stages drift.
    """

    seen: list[_Seen] = field(default_factory=list)
    known: int = 0

    def follow(self, parts: Parts, frame: int) -> np.ndarray:
        """The numbers, from 1 on, of the parts of the next frame, (parts,) int64."""
        self.seen = [one for one in self.seen if frame - one.frame <= PATIENCE]
        identities = np.zeros(len(parts), np.int64)
        if len(parts) and self.seen:
            costs = np.stack([_costs(one, parts) for one in self.seen])
            for before, now in zip(*linear_sum_assignment(costs), strict=True):
                if costs[before, now] < _NEVER:
                    identities[now] = self.seen[before].identity
        for part in np.flatnonzero(identities == 0):
            self.known += 1
            identities[part] = self.known
        now_seen = [
            _Seen(int(one), frame, parts.box(part), parts.crop(part), int(parts.areas[part]), parts.centroids[part])
            for part, one in enumerate(identities.tolist())
        ]
        found = set(identities.tolist())
        self.seen = [one for one in self.seen if one.identity not in found] + now_seen
        return identities


def _costs(one: _Seen, parts: Parts) -> np.ndarray:
    """(parts,) of being this object: below 1 by overlap, from 1 to 2 by distance."""
    shared = np.bincount(parts.labels[one.box][one.crop], minlength=len(parts) + 1)[1:]
    overlap = shared / np.minimum(parts.areas, one.area)
    diameter = np.sqrt(4 * np.maximum(parts.areas, one.area) / np.pi)
    distance = np.hypot(*(parts.centroids - one.centroid).T) / diameter
    ratio = parts.areas / one.area
    near = (distance < 1) & (ratio > 0.5) & (ratio < 2)
    # Of two halves of one object the larger goes on as the object.
    size = 0.1 * np.abs(np.log(ratio)).clip(0, 5)
    shares = (overlap >= OVERLAP) & (ratio > 1 / _GROWTH) & (ratio < _GROWTH)
    return np.where(shares, 0.5 * (1 - overlap) + size, np.where(near, 1 + distance, _NEVER))


def main_parts(
    frames: Sequence[Parts], identities: Sequence[np.ndarray], keep: int | None = None
) -> tuple[list[int | None], int | None]:
    """Which part of each frame is the main object: that which weighs most over all frames.

    Where it is not seen, the heaviest part that is a third to three times as large as the object in the nearest frame
    takes its place (the stage may have jumped); a speck never does.

    Args:
        frames: parts of each frame.
        identities: their numbers, as :meth:`Follower.follow` gives them.
        keep: number of the object that was the main one before, which stays it while it is seen.

    Returns:
        The part of each frame, counted from 0, or None; and the number of the main object.
    """
    totals: dict[int, float] = {}
    for parts, numbers in zip(frames, identities, strict=True):
        for number, weight in zip(numbers.tolist(), parts.weights.tolist(), strict=True):
            totals[number] = totals.get(number, 0.0) + weight
    if not totals:
        return [None] * len(frames), keep
    main = keep if keep in totals else max(totals, key=lambda number: (totals[number], -number))
    chosen: list[int | None] = [_position(numbers, main) for numbers in identities]
    covered = [index for index, part in enumerate(chosen) if part is not None]
    missing = [index for index, part in enumerate(chosen) if part is None]
    for index in sorted(missing, key=lambda frame: min(abs(frame - other) for other in covered)):
        beside = min((f for f, part in enumerate(chosen) if part is not None), key=lambda frame: abs(frame - index))
        reference = frames[beside].areas[chosen[beside]]
        ratio = frames[index].areas / reference
        weights = np.where((ratio > 1 / 3) & (ratio < 3), frames[index].weights, 0.0)
        if weights.any():
            chosen[index] = int(weights.argmax())
    return chosen, main


def _position(numbers: np.ndarray, wanted: int) -> int | None:
    found = np.flatnonzero(numbers == wanted)
    return int(found[0]) if found.size else None
