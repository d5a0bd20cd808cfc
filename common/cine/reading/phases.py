"""Frames of one stack to slices and phases: by place along the normal, by time within the heart beat, without gaps."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .dicom import DicomFrame
from .geometry import base_to_apex

_SAME_PLACE_MM = 0.25

Frames = list[DicomFrame]


class LeftOut(NamedTuple):
    """Frames that are not in the stack: what was found, and what was expected."""

    frames: Frames
    found: str
    expected: str


class Complete(NamedTuple):
    """A stack without gaps, [phase][slice], and what it lacks."""

    table: list[Frames]
    left_out: list[LeftOut]


def rank(frame: DicomFrame) -> tuple[float, str, float, str]:
    """Order that the files' names have no part in; unknown numbers come last."""
    series, instance = (
        np.inf if number is None else float(number) for number in (frame.series_number, frame.instance_number)
    )
    return series, frame.series_uid, instance, frame.sop_instance_uid


def first_of_each(frames: Frames, key: Callable[[DicomFrame], Hashable]) -> tuple[Frames, Frames]:
    seen: set[Hashable] = set()
    first: Frames = []
    again: Frames = []
    for frame in frames:
        (again if key(frame) in seen else first).append(frame)
        seen.add(key(frame))
    return first, again


def slices_of(stack: Frames) -> list[Frames]:
    """The frames of each slice, slices from base to apex, each in the order of the stack."""
    assert stack[0].orientation is not None
    direction = base_to_apex(stack[0].orientation)
    depths = np.array([direction @ frame.position for frame in stack])
    order = np.argsort(depths, kind="stable")
    numbers = np.cumsum(np.diff(depths[order], prepend=depths[order[0]]) > _SAME_PLACE_MM)
    return [sorted((stack[index] for index in order[numbers == number]), key=rank) for number in range(numbers[-1] + 1)]


def clock(stack: Frames) -> Callable[[DicomFrame], float]:
    """What orders the frames of a slice: trigger time where every frame has one and they tell frames apart."""
    triggers = [[frame.trigger_time_ms for frame in members] for members in slices_of(stack)]
    known = all(time is not None for members in triggers for time in members)
    if known and any(len(set(members)) > 1 for members in triggers):
        return lambda frame: float(frame.trigger_time_ms or 0)
    if all(frame.instance_number is not None for frame in stack):
        return lambda frame: float(frame.instance_number or 0)
    numbers = {frame.sop_instance_uid: float(number) for number, frame in enumerate(sorted(stack, key=rank))}
    return lambda frame: numbers[frame.sop_instance_uid]


def match_phases(slices: list[Frames], time: Callable[[DicomFrame], float]) -> list[dict[int, DicomFrame]]:
    """The frame of each phase, per slice: by rank, or matched to the fullest slices where the counts differ."""
    most = max(map(len, slices))
    full = [frames for frames in slices if len(frames) == most]
    if len(full) == len(slices):
        return [dict(enumerate(frames)) for frames in slices]
    keys = _comparable(slices, full, time)
    reference = np.median([[keys(frame) for frame in frames] for frames in full], axis=0)
    matched: list[dict[int, DicomFrame]] = []
    for frames in slices:
        cost = np.abs(np.array([keys(frame) for frame in frames])[:, None] - reference)
        _, phases = linear_sum_assignment(cost)
        matched.append({int(phase): frame for phase, frame in zip(phases, frames, strict=True)})
    return matched


def _comparable(
    slices: list[Frames], full: list[Frames], time: Callable[[DicomFrame], float]
) -> Callable[[DicomFrame], float]:
    """A time that means the same in every slice: as a share of the heart beat, or the number within the slice."""
    frames = [frame for members in slices for frame in members]
    if time(frames[0]) == frames[0].trigger_time_ms and all(frame.nominal_interval_ms for frame in frames):
        return lambda frame: time(frame) / float(frame.nominal_interval_ms or 1)
    most, first = len(full[0]), time(full[0][0])
    numbers = [[(time(frame) - first) % most for frame in members] for members in full]
    if all(row == list(range(most)) for row in numbers):
        return lambda frame: (time(frame) - first) % most
    return time


def complete(slices: list[dict[int, DicomFrame]]) -> Complete:
    """The largest stack without gaps: of the fullest slices down to all of them the choice that keeps most frames.

    Args:
        slices: the frame of each phase, per slice.
    """
    choices = []
    for least in sorted({len(phases) for phases in slices}):
        chosen = [phases for phases in slices if len(phases) >= least]
        shared = sorted(set.intersection(*(set(phases) for phases in chosen)))
        choices.append((len(chosen) * len(shared), chosen, shared))
    # The first of equals has more slices.
    _, chosen, shared = max(choices, key=lambda choice: choice[0])
    left_out = []
    for phases in slices:
        if not any(phases is other for other in chosen):
            found = f"a slice with {len(phases)} of {max(map(len, slices))} phases"
            left_out.append(LeftOut(list(phases.values()), found, "all phases of every slice"))
    incomplete = [frame for phases in chosen for phase, frame in phases.items() if phase not in shared]
    found = f"{len({phase for phases in chosen for phase in phases} - set(shared))} phase(s) that some slices lack"
    left_out.append(LeftOut(incomplete, found, "all slices of every phase"))
    return Complete([[phases[phase] for phases in chosen] for phase in shared], left_out)
