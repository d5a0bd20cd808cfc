"""A cine stack as its files hold it, whatever files those are, and what was drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class StackTruth:
    """What was drawn on a stack.

    Attributes:
        classes: (phases, slices, rows, columns) uint8: 0 background, 1 cavity, 2 myocardium.
        drawn: (phases, slices) bool, where the endocardium was drawn.
        myocardium_known: (phases, slices) bool, where the epicardium was drawn too.
        ed_phase, es_phase: index of end-diastole and end-systole, None where nobody says.
    """

    classes: np.ndarray
    drawn: np.ndarray
    myocardium_known: np.ndarray
    ed_phase: int | None
    es_phase: int | None


@dataclass(frozen=True, eq=False)
class Stack:
    """A stack as its files hold it.

    Attributes:
        name, group, kind: see :mod:`.stacks`.
        pixels: (phases, slices, rows, columns) float32, grey; absent frames are 0.
        frames: (rows, columns[, 3]) float32 of each frame that exists, in the order of ``np.argwhere(present)``.
        present: (phases, slices) bool.
        spacing_mm: between rows, between columns.
        paths: source of each frame, [phase][slice], None where there is none.
        stems: how each frame's own files are called, [phase][slice], unique in the run; None where there are none.
        instances: (phases, slices) int64: instance numbers, or where they are not known or not unique within the stack,
            slice * phases + phase + 1; of absent frames 0.
        phase_numbers: what the phases are called.
        spacing_assumed: nobody told the pixel size.
        slice_distance_mm: between slice centres, or None.
        affine: (4, 4) from (column, row, slice, 1) to mm (LPS), or None.
        trigger_times_ms: (phases,) float64, rising, median over the slices; or None.
        time_step_ms: from phase to phase, or None.
        notes: what a reader of the results should know, in words.
        truth: None without any.
    """

    name: str
    group: str
    kind: str
    pixels: np.ndarray
    frames: Sequence[np.ndarray]
    present: np.ndarray
    spacing_mm: tuple[float, float]
    paths: list[list[str | None]]
    stems: list[list[str | None]]
    instances: np.ndarray
    phase_numbers: list[int]
    spacing_assumed: bool = False
    slice_distance_mm: float | None = None
    affine: np.ndarray | None = None
    trigger_times_ms: np.ndarray | None = None
    time_step_ms: float | None = None
    notes: tuple[str, ...] = ()
    truth: StackTruth | None = None


def counted(shape: tuple[int, ...]) -> np.ndarray:
    """(phases, slices) int64, from 1 through the phases of one slice after the other, as Sunnybrook counts."""
    phases, slices = shape
    return np.arange(1, phases * slices + 1, dtype=np.int64).reshape(slices, phases).T
