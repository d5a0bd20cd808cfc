"""A predicted cine stack made anatomical: one left ventricle per slice, without holes, at one place in space and time.

Works on class maps, not on probabilities: 240 frames of 256x256 are 16 MB as maps and 190 MB as float32 probabilities,
and everything that is repaired here (a second object, a hole, a slice at a wrong place) is a matter of shape and place.
What is anatomical already comes back as it was, pixel by pixel: nothing is smoothed, so no motion is lost.

Classes: 0 background, 1 cavity, 2 myocardium. Connected means by a side (4-connected), so that every class has one closed
outline. Phases are cyclic: the last one is followed by the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from .repair import repaired_slice

Frame = tuple[int, int]

LINKED = 0.3
"""Objects of neighbouring frames are one heart when they share this part of the smaller one."""

SMALL = 0.1
"""A cavity without wall, or a wall without cavity, of less than this part of the typical object's area, is no slice of a
heart that has both."""


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What became of a stack.

    Attributes:
        maps: (phases, slices, rows, columns) uint8.
        removed_frames: (phase, slice) of frames in which something was predicted and nothing is left.
        filled_frames: (phase, slice) of frames inside the heart that held none of it and were interpolated.
        changed_px: (phases, slices) int64, pixels whose class changed.
    """

    maps: np.ndarray
    removed_frames: tuple[Frame, ...]
    filled_frames: tuple[Frame, ...]
    changed_px: np.ndarray


def clean_stack(
    maps: np.ndarray,
    spacing: tuple[float, float],
    present: np.ndarray | None = None,
    shift_mm: float = 25.0,
    smallest_px: int = 5,
) -> Cleaned:
    """Remove what is not the left ventricle, repair what is.

    The heart is the set of objects that overlap from frame to frame (next slices, also over one slice between; previous
    and next phase), not the largest object of each frame; of several objects in one frame the one stays that fits
    the neighbouring frames best (mean IoU). Its centres lie along a line (Theil-Sen over the slices), from which drawn
    ventricles were seen to stray by up to 16 mm. Slices of the heart are consecutive: one that is empty between others is
    interpolated, from the previous and the next phase where both have it, else from the slices beside it. Above the
    base and below the apex nothing is ever added, and which slices those are may differ between phases.

    In each slice: one object, holes filled with the class of the nearest pixel, one cavity (two parts that a papillary
    muscle divides are joined, papillary muscles being part of it), and the cavity closed off by at least one pixel
    of myocardium where myocardium was predicted along half of its outline.

    Args:
        maps: (phases, slices, rows, columns) integers from 0 to 2.
        spacing: (row, column) distance of pixels in mm.
        present: (phases, slices) bool, frames that exist; None: all. Others are empty in the result.
        shift_mm: how far the centre of an object may lie from the line through all centres.
        smallest_px: objects of fewer pixels are removed.

    Raises:
        ValueError: another arrangement, another class, or ``present`` of another shape.
    """
    maps = np.asarray(maps)
    if maps.ndim != 4 or maps.dtype.kind not in "iu" or (maps.size and (maps.min() < 0 or maps.max() > 2)):
        raise ValueError(f"a stack is (phases, slices, rows, columns) of classes 0 to 2, not {maps.shape} {maps.dtype}")
    exists = np.ones(maps.shape[:2], bool) if present is None else np.asarray(present, bool)
    if exists.shape != maps.shape[:2]:
        raise ValueError(f"present is (phases, slices) = {maps.shape[:2]}, not {exists.shape}")
    given = np.where(exists[:, :, None, None], maps, 0).astype(np.uint8)
    result = np.zeros_like(given)
    box = _box(given)
    objects = _Objects(given[box], exists, smallest_px)
    chosen = objects.follow(np.asarray(spacing, float), shift_mm)
    heart = np.where((objects.labels == chosen[:, :, None, None]) & (objects.labels > 0), given[box], 0)
    clean = result[box]
    for phase, part in np.argwhere(chosen):
        around = [heart[frame] == 1 for frame in _linked(phase, part, exists, 1)]
        repaired = repaired_slice(heart[phase, part], around)
        clean[phase, part] = repaired if np.count_nonzero(repaired) >= smallest_px else 0
    clean[_specks_of_wall(clean)] = 0
    kept, missing = _consecutive(np.count_nonzero(clean, axis=(2, 3)), exists)
    clean[~kept] = 0
    for frame in missing:
        clean[frame] = repaired_slice(_interpolated(clean, frame, exists, kept), [])
    changed = (result != maps).sum(axis=(2, 3))
    gone = maps.any(axis=(2, 3)) & ~result.any(axis=(2, 3))
    removed = tuple((int(phase), int(part)) for phase, part in np.argwhere(gone))
    return Cleaned(result, removed, tuple(missing), changed)


def _specks_of_wall(clean: np.ndarray) -> np.ndarray:
    """(phases, slices) bool: wall without cavity, far smaller than the hearts of its phase that have both."""
    areas, cavities = np.count_nonzero(clean, axis=(2, 3)), np.count_nonzero(clean == 1, axis=(2, 3))
    whole = (cavities > 0) & (areas > cavities)
    specks = np.zeros(areas.shape, bool)
    for phase in np.flatnonzero(whole.any(axis=1)):
        specks[phase] = (cavities[phase] == 0) & (areas[phase] < SMALL * np.median(areas[phase, whole[phase]]))
    return specks


def _box(maps: np.ndarray) -> tuple[slice, ...]:
    """Where anything was predicted, with a margin in which outlines can close."""
    box: list[slice] = [slice(None), slice(None)]
    for axis, size in ((3, maps.shape[2]), (2, maps.shape[3])):
        used = np.flatnonzero(maps.any(axis=(0, 1, axis)))
        box.append(slice(max(used[0] - 2, 0), min(used[-1] + 3, size)) if used.size else slice(0, 0))
    return tuple(box)


def _linked(phase: int, part: int, exists: np.ndarray, reach: int) -> list[Frame]:
    """Existing frames beside one: previous and next phase, and as many slices as ``reach`` on both sides."""
    phases, slices = np.flatnonzero(exists[:, part]), np.flatnonzero(exists[phase])
    place, level = int(np.searchsorted(phases, phase)), int(np.searchsorted(slices, part))
    around = {int(phases[(place + step) % len(phases)]) for step in (-1, 1)} - {phase}
    beside = set(slices[max(level - reach, 0) : level + reach + 1].tolist()) - {part}
    return [(other, part) for other in sorted(around)] + [(phase, other) for other in sorted(beside)]


class _Objects:
    """All objects of a stack, numbered from 1, and which of them overlap in neighbouring frames."""

    def __init__(self, maps: np.ndarray, exists: np.ndarray, smallest_px: int) -> None:
        self.labels = np.zeros(maps.shape, np.int32)
        self.exists = exists
        frames, areas, centres, classes = [(-1, -1)], [0], [(np.nan, np.nan)], [(False, False)]
        for phase, part in np.argwhere(maps.any(axis=(2, 3))):
            image = maps[phase, part]
            _, labels, stats, middles = cv2.connectedComponentsWithStats((image > 0).view(np.uint8), connectivity=4)
            numbers = np.zeros(len(stats), np.int32)
            found = [np.bincount(labels[image == value], minlength=len(stats)) > 0 for value in (1, 2)]
            for index in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= smallest_px) + 1:
                numbers[index] = len(areas)
                frames.append((int(phase), int(part)))
                areas.append(int(stats[index, cv2.CC_STAT_AREA]))
                centres.append((middles[index, 1], middles[index, 0]))
                classes.append((bool(found[0][index]), bool(found[1][index])))
            self.labels[phase, part] = numbers[labels]
        self.frames, self.areas, self.centres = frames, np.array(areas), np.array(centres)
        holds = np.array(classes)
        self.walled, self.whole = holds[:, 1], holds[:, 0] & holds[:, 1]
        self.shared = self._overlaps()

    def _overlaps(self) -> dict[tuple[int, int], int]:
        """Pixels shared by each pair of objects of neighbouring frames, in both orders."""
        shared: dict[tuple[int, int], int] = {}
        for phase, part in sorted(set(self.frames[1:])):
            for other in _linked(phase, part, self.exists, 2):
                if other > (phase, part):
                    first, second = self.labels[phase, part], self.labels[other]
                    both = (first > 0) & (second > 0)
                    keys, counts = np.unique(first[both] * np.int64(len(self.areas)) + second[both], return_counts=True)
                    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
                        one, two = divmod(key, len(self.areas))
                        shared[one, two] = shared[two, one] = count
        return shared

    def heart(self) -> np.ndarray:
        """Numbers of the objects in the chain of overlapping ones that covers most.

        Objects with cavity and myocardium count first: a chain of right ventricles has no wall around it.
        """
        pairs = [pair for pair, count in self.shared.items() if count >= LINKED * self.areas[list(pair)].min()]
        size = len(self.areas)
        rows, columns = np.array(pairs, int).reshape(-1, 2).T
        graph = sparse.coo_array((np.ones(len(pairs)), (rows, columns)), shape=(size, size))
        _, chain = connected_components(graph, directed=False)
        both, any_class = np.bincount(chain, self.areas * self.whole), np.bincount(chain, self.areas)
        best = max(range(len(both)), key=lambda index: (both[index], any_class[index]))
        heart = np.flatnonzero((chain == best) & (self.areas > 0))
        phases = np.array(self.frames)[:, 0]
        # Phase by phase, since a whole phase can be without walls: drawn contours have them at end-diastole only.
        for phase in set(phases[heart].tolist()):
            own = heart[phases[heart] == phase]
            whole = own[self.whole[own]]
            if 2 * self.areas[whole].sum() > self.areas[own].sum():
                small = self.areas[own] < SMALL * np.median(self.areas[whole])
                heart = np.setdiff1d(heart, own[small & ~self.walled[own]])
        return heart

    def follow(self, spacing: np.ndarray, shift_mm: float) -> np.ndarray:
        """(phases, slices) int64 number of the object that is the heart, 0 where there is none."""
        chosen = np.zeros(self.exists.shape, np.int64)
        candidates: dict[Frame, list[int]] = {}
        for number in self.heart():
            candidates.setdefault(self.frames[number], []).append(int(number))
        for frame, numbers in candidates.items():
            chosen[frame] = max(numbers, key=lambda number: self.areas[number])
        line = _line_of_centres(chosen, self.centres * spacing)
        for frame, numbers in candidates.items():
            away = {number: np.hypot(*(self.centres[number] * spacing - line[frame[1]])) for number in numbers}
            numbers[:] = [number for number in numbers if away[number] <= shift_mm]
            chosen[frame] = max(numbers, key=lambda number: self.areas[number], default=0)
        doubtful = [(frame, numbers) for frame, numbers in candidates.items() if len(numbers) > 1]
        for _ in range(5):
            before = chosen.copy()
            for frame, numbers in doubtful:
                others = [chosen[other] for other in _linked(*frame, self.exists, 1) if chosen[other]]
                scores = {number: sum(self._iou(number, other) for other in others) for number in numbers}
                chosen[frame] = max(numbers, key=lambda number: (scores[number], self.areas[number]))  # noqa: B023
            if np.array_equal(before, chosen):
                break
        return chosen

    def _iou(self, one: int, two: int) -> float:
        both = self.shared.get((one, two), 0)
        return both / float(self.areas[one] + self.areas[two] - both)


def _line_of_centres(chosen: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(slices, 2) places on the line through the centres: median per slice, median of all slopes (Theil-Sen)."""
    levels = np.flatnonzero(chosen.any(axis=0))
    if not levels.size:
        return np.zeros((chosen.shape[1], 2))
    middles = np.stack([np.median(centres[chosen[chosen[:, level] > 0, level]], axis=0) for level in levels])
    slope = np.zeros(2)
    if len(levels) >= 4:  # fewer slices than that do not outvote a false one
        first, second = np.triu_indices(len(levels), 1)
        slope = np.median((middles[second] - middles[first]) / (levels[second] - levels[first])[:, None], axis=0)
    start = np.median(middles - levels[:, None] * slope, axis=0)
    return np.asarray(start + np.arange(chosen.shape[1])[:, None] * slope)


def _consecutive(areas: np.ndarray, exists: np.ndarray) -> tuple[np.ndarray, list[Frame]]:
    """Which frames stay, and which are to be filled, so that the slices of the heart are consecutive in each phase.

    Starting from the run of slices that covers most, what lies beyond a gap belongs to the heart where the slices of the
    gap show it in most phases, or where two slices at least lie beyond a gap of one.

    Args:
        areas: (phases, slices) pixels of the heart, 0 where there is none.
        exists: (phases, slices) bool.

    Returns:
        (phases, slices) bool, and a list of (phase, slice).
    """
    usual = (areas > 0).sum(axis=0) > 0.5 * exists.sum(axis=0)
    kept = np.zeros(areas.shape, bool)
    missing: list[Frame] = []
    for phase in range(len(areas)):
        levels = np.flatnonzero(exists[phase])
        sizes = areas[phase, levels]
        runs = _runs(sizes > 0)
        if not runs:
            continue
        first, last = max(runs, key=lambda run: sizes[run[0] : run[1]].sum())  # noqa: B023
        for start, end in [run for run in runs if run[0] >= last]:
            if _joins(range(last, start), end - start, usual[levels]):
                last = end
        for start, end in [run for run in reversed(runs) if run[1] <= first]:
            if _joins(range(end, first), end - start, usual[levels]):
                first = start
        heart = levels[first:last]
        kept[phase, heart] = areas[phase, heart] > 0
        missing += [(phase, int(level)) for level in heart if not areas[phase, level]]
    return kept, missing


def _runs(full: np.ndarray) -> list[tuple[int, int]]:
    """Start and end (exclusive) of the consecutive True values."""
    steps = np.diff(np.pad(full.astype(np.int8), 1))
    return list(zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True))


def _joins(gap: Iterable[int], beyond: int, usual: np.ndarray) -> bool:
    gap = list(gap)
    return bool(usual[gap].all()) or (len(gap) == 1 and beyond >= 2)


def _interpolated(clean: np.ndarray, frame: Frame, exists: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(rows, columns) uint8 between the neighbours in time, else in space: the mean of signed distances to the outlines.

    (Shape-based interpolation: S. P. Raya and J. K. Udupa, IEEE Trans Med Imaging 9 (1990) 32-42.)
    """
    phase, part = frame
    around = [other for other in _linked(phase, part, exists, 0) if kept[other]]
    if len(around) == 2:
        weights = (0.5, 0.5)
    else:
        levels = np.flatnonzero(kept[phase])
        below, above = int(levels[levels < part].max()), int(levels[levels > part].min())
        around = [(phase, below), (phase, above)]
        weights = ((above - part) / (above - below), (part - below) / (above - below))
    inside = [
        sum(weight * _signed_distance(test(clean[other])) for weight, other in zip(weights, around, strict=True)) > 0
        for test in (lambda image: image == 1, lambda image: image > 0)
    ]
    return np.where(inside[0], 1, np.where(inside[1], 2, 0)).astype(np.uint8)


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Positive inside, negative outside, in pixels; an empty mask is far from everywhere."""
    if not mask.any():
        return np.full(mask.shape, -1e4)
    return np.asarray(ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask))
