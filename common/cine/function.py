"""The heart's function from a segmented cine stack: volumes over the cycle, ejection fraction, mass of the muscle.

Volumes are sums of discs (Simpson's method of discs along the short axis): area in each slice times the distance between
the centres of slices, gaps included; never the slice thickness, which leaves the gaps out.

Which slices count: in every phase those in which the cavity was found, so end-diastole and end-systole may count different
slices. The base moves towards the apex while the heart contracts, out of slices that it filled before; to count the same
slices in both phases would add the atrium to the end-systolic volume or cut the ventricle off in diastole. The number of
slices in both phases is kept beside the volumes, because one basal slice more or less is the largest error there is.

A frame that was not imaged or not read is unknown, not empty, see :func:`measure_volumes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import listed
from .areas import frame_areas

MYOCARDIUM_G_PER_ML = 1.05

OUTLIER = 0.25
"""A phase is implausible when it differs from its five neighbours' median by this part of the largest such median."""

FEWEST_PHASES = 12
"""Of fewer phases none is called implausible: a heart can empty by a quarter between two of them."""


@dataclass(frozen=True, eq=False)
class VolumeCurve:
    """Volumes of all phases.

    Attributes:
        cavity_ml: (phases,) float64, nan where unknown.
        myocardium_ml: (phases,) float64, nan where unknown.
        slices: (phases,) int64, slices in which there is a cavity.
        trigger_times_ms: (phases,) float64 time after the R wave, or None.
        estimated_frames: (phase, slice) of missing frames whose area was interpolated.
    """

    cavity_ml: np.ndarray
    myocardium_ml: np.ndarray
    slices: np.ndarray
    trigger_times_ms: np.ndarray | None = None
    estimated_frames: tuple[tuple[int, int], ...] = ()

    def rows(self) -> list[dict[str, float | int | None]]:
        """The curve as a table: one row per phase (phases counted from 1), None where unknown."""
        times = [None] * len(self.cavity_ml) if self.trigger_times_ms is None else self.trigger_times_ms.tolist()
        parts = zip(times, self.cavity_ml.tolist(), self.myocardium_ml.tolist(), self.slices.tolist(), strict=True)
        return [
            {
                "phase": index + 1,
                "trigger_time_ms": _known(time),
                "cavity_ml": _known(cavity),
                "myocardium_ml": _known(muscle),
                "slices": slices,
            }
            for index, (time, cavity, muscle, slices) in enumerate(parts)
        ]


@dataclass(frozen=True, eq=False)
class HeartFunction:
    """What a clinician reads. None stands for what cannot be known, and ``notes`` say why.

    Attributes:
        curve: all volumes.
        notes: what a reader of the numbers must know, in words.
        implausible_phases: phases that were not considered, since they fall out of the curve.
        edv_ml: end-diastolic volume.
        esv_ml: end-systolic volume.
        stroke_volume_ml: their difference.
        ejection_fraction_percent: stroke volume in percent of the end-diastolic volume.
        mass_g: of the myocardium at end-diastole, papillary muscles left out (they are part of the cavity).
        ed_phase: index of end-diastole, from 0.
        es_phase: index of end-systole, from 0.
        ed_slices: slices that the end-diastolic volume counts.
        es_slices: slices that the end-systolic volume counts.
        ed_time_ms: trigger time of end-diastole.
        es_time_ms: trigger time of end-systole.
    """

    curve: VolumeCurve
    notes: tuple[str, ...]
    implausible_phases: tuple[int, ...] = ()
    edv_ml: float | None = None
    esv_ml: float | None = None
    stroke_volume_ml: float | None = None
    ejection_fraction_percent: float | None = None
    mass_g: float | None = None
    ed_phase: int | None = None
    es_phase: int | None = None
    ed_slices: int | None = None
    es_slices: int | None = None
    ed_time_ms: float | None = None
    es_time_ms: float | None = None


def measure_volumes(
    maps: np.ndarray,
    spacing: tuple[float, float],
    slice_distance_mm: float,
    present: np.ndarray | None = None,
    trigger_times_ms: Sequence[float] | np.ndarray | None = None,
    outline_included: bool = False,
) -> VolumeCurve:
    """Volumes of cavity and myocardium in each phase.

    The area in a missing frame is taken between the slices beside it in the same phase; at an end of the stack between
    the phases before and after it (the cycle being closed) where both exist, or nothing where the slice is empty in all
    phases that it has. Otherwise the volume of the phase is unknown (nan). A slice that
    exists in no phase, at an end of the stack, is not part of the stack.

    Args:
        maps: (phases, slices, rows, columns) integers: 1 cavity, 2 myocardium.
        spacing: (row, column) distance of pixels in mm.
        slice_distance_mm: between the centres of neighbouring slices.
        present: (phases, slices) bool, frames that exist; None: all.
        trigger_times_ms: (phases,) time after the R wave.
        outline_included: whether the maps hold the pixels on their lines, see :func:`.areas.frame_areas`.

    Raises:
        ValueError: another arrangement, or a distance that is not positive.

    >>> disc = np.zeros((1, 2, 10, 10), np.uint8)
    >>> disc[:, :, 2:7, 2:6] = 1
    >>> measure_volumes(disc, (2.0, 1.0), 10.0).cavity_ml  # 2 slices of 20 px of 2 mm2, 10 mm apart
    array([0.8])
    """
    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise ValueError(f"a stack is (phases, slices, rows, columns), not {maps.shape}")
    pixel_mm2 = float(spacing[0]) * float(spacing[1])
    cavity, wall = frame_areas(maps, outline_included)
    return volumes_of_areas(cavity * pixel_mm2, wall * pixel_mm2, slice_distance_mm, present, trigger_times_ms)


def volumes_of_areas(
    cavity_mm2: np.ndarray,
    myocardium_mm2: np.ndarray,
    slice_distance_mm: float,
    present: np.ndarray | None = None,
    trigger_times_ms: Sequence[float] | np.ndarray | None = None,
) -> VolumeCurve:
    """:func:`measure_volumes` from areas, such as those inside drawn contours.

    Args:
        cavity_mm2: (phases, slices).
        myocardium_mm2: (phases, slices).
        slice_distance_mm: between the centres of neighbouring slices.
        present: (phases, slices) bool.
        trigger_times_ms: (phases,).

    Raises:
        ValueError: as :func:`measure_volumes`.
    """
    cavity, muscle = (np.asarray(areas, np.float64) for areas in (cavity_mm2, myocardium_mm2))
    exists = np.ones(cavity.shape, bool) if present is None else np.asarray(present, bool)
    times = None if trigger_times_ms is None else np.asarray(trigger_times_ms, np.float64)
    if cavity.ndim != 2 or muscle.shape != cavity.shape or exists.shape != cavity.shape:
        raise ValueError(f"areas are (phases, slices): {cavity.shape}, {muscle.shape}, present {exists.shape}")
    if not slice_distance_mm > 0 or (times is not None and times.shape != cavity.shape[:1]):
        raise ValueError(
            f"slices are {slice_distance_mm} mm apart, trigger times {None if times is None else times.shape}"
        )
    imaged = np.flatnonzero(exists.any(axis=0))
    if imaged.size:  # slices without any frame at the ends are no part of the stack
        stack = slice(imaged[0], imaged[-1] + 1)
        cavity, muscle, exists = cavity[:, stack], muscle[:, stack], exists[:, stack]
    cavity, muscle = _with_missing(cavity, exists), _with_missing(muscle, exists)
    estimated = np.argwhere(~exists & np.isfinite(cavity)) + (0, imaged[0] if imaged.size else 0)
    scale = slice_distance_mm / 1000
    return VolumeCurve(
        cavity_ml=cavity.sum(axis=1) * scale,
        myocardium_ml=muscle.sum(axis=1) * scale,
        slices=(cavity > 0).sum(axis=1),
        trigger_times_ms=times,
        estimated_frames=tuple((int(phase), int(part)) for phase, part in estimated),
    )


def _with_missing(areas: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """(phases, slices) areas with those of missing frames interpolated, nan where that cannot be done."""
    filled = np.where(exists, areas, np.nan)
    phases = np.flatnonzero(exists.any(axis=1))
    for place, phase in enumerate(phases):
        levels = np.flatnonzero(exists[phase])
        before, after = phases[place - 1], phases[(place + 1) % len(phases)]
        for part in np.flatnonzero(~exists[phase]):
            if levels[0] < part < levels[-1]:
                filled[phase, part] = np.interp(part, levels, areas[phase, levels])
            elif exists[:, part].any() and not areas[exists[:, part], part].any():
                filled[phase, part] = 0.0
            elif len(phases) >= 3 and exists[before, part] and exists[after, part]:
                filled[phase, part] = (areas[before, part] + areas[after, part]) / 2
    return filled


def implausible_phases(cavity_ml: np.ndarray) -> tuple[int, ...]:
    """Phases whose volume falls out of the curve: a segmentation that failed, not a heart.

    Each volume is compared with the median of five phases around it, the cycle being closed; a real curve, whose extremes
    are rounded, stays within :data:`OUTLIER` of its largest such median. The curve itself is not smoothed.

    Args:
        cavity_ml: (phases,), nan where unknown.

    Returns:
        Indices; none for fewer known phases than :data:`FEWEST_PHASES`.

    >>> implausible_phases(np.array([100, 95, 85, 70, 55, 45, 0, 45, 55, 70, 85, 95.0]))
    (6,)
    """
    known = np.flatnonzero(np.isfinite(cavity_ml))
    if len(known) < FEWEST_PHASES:
        return ()
    volumes = np.asarray(cavity_ml, np.float64)[known]
    usual = np.median([np.roll(volumes, shift) for shift in range(-2, 3)], axis=0)
    return tuple(int(phase) for phase in known[np.abs(volumes - usual) > OUTLIER * usual.max()])


def heart_function(curve: VolumeCurve, ed_phase: int | None = None, es_phase: int | None = None) -> HeartFunction:
    """Volumes at end-diastole (largest) and end-systole (smallest), and what follows from them.

    The cycle is closed, so every phase comes after end-diastole; of equal volumes the first end-diastole, and the first
    end-systole after it, is taken. Unknown and implausible phases are left out.

    Args:
        curve: what :func:`measure_volumes` found.
        ed_phase: takes this phase as end-diastole (index from 0), such as that of the truth to compare with.
        es_phase: takes this phase as end-systole.

    Raises:
        ValueError: a phase that the curve does not have, or whose volume is unknown.
    """
    volumes = curve.cavity_ml
    outliers = implausible_phases(volumes)
    usable = [int(phase) for phase in np.flatnonzero(np.isfinite(volumes)) if phase not in outliers]
    for phase in (ed_phase, es_phase):
        if phase is not None and not (0 <= phase < len(volumes) and np.isfinite(volumes[phase])):
            raise ValueError(f"the volume of phase index {phase} is unknown; known are {usable}")
    if not usable or not volumes[usable].any():
        why = "no phase has all its slices" if not usable else "no left ventricle was found"
        return HeartFunction(curve, (why,), outliers)
    ed = max(usable, key=lambda phase: volumes[phase]) if ed_phase is None else ed_phase
    later = sorted((phase for phase in usable if phase != ed), key=lambda phase: (phase - ed) % len(volumes))
    es = min(later, key=lambda phase: volumes[phase], default=None) if es_phase is None else es_phase
    return _function(curve, ed, es, outliers)


def _function(curve: VolumeCurve, ed: int, es: int | None, outliers: tuple[int, ...]) -> HeartFunction:
    edv = float(curve.cavity_ml[ed])
    esv = None if es is None else float(curve.cavity_ml[es])
    muscle = float(curve.myocardium_ml[ed])
    stroke = None if esv is None else edv - esv
    times = curve.trigger_times_ms
    return HeartFunction(
        edv_ml=edv,
        esv_ml=esv,
        stroke_volume_ml=stroke,
        ejection_fraction_percent=None if stroke is None or not edv else 100 * stroke / edv,
        mass_g=MYOCARDIUM_G_PER_ML * muscle if muscle > 0 else None,
        ed_phase=ed,
        es_phase=es,
        ed_slices=int(curve.slices[ed]),
        es_slices=None if es is None else int(curve.slices[es]),
        ed_time_ms=None if times is None else _known(times[ed]),
        es_time_ms=None if times is None or es is None else _known(times[es]),
        implausible_phases=outliers,
        notes=_notes(curve, es, muscle, outliers),
        curve=curve,
    )


def _notes(curve: VolumeCurve, es: int | None, muscle: float, outliers: tuple[int, ...]) -> tuple[str, ...]:
    notes = []
    unknown = np.flatnonzero(~np.isfinite(curve.cavity_ml))
    if es is None:
        notes.append("only one phase has a volume: no end-systole, no ejection fraction")
    elif len(curve.cavity_ml) - len(unknown) < FEWEST_PHASES:
        known = len(curve.cavity_ml) - len(unknown)
        notes.append(f"{known} phases only: the largest and smallest volumes may lie between them")
    if unknown.size:
        notes.append(f"slices are missing in phase {listed(unknown + 1)}: volume unknown")
    if curve.estimated_frames:
        named = listed(f"{phase + 1}/{part + 1}" for phase, part in curve.estimated_frames)
        notes.append(f"missing frames were interpolated (phase/slice): {named}")
    if outliers:
        notes.append(f"left out as implausible: phase {listed(phase + 1 for phase in outliers)}")
    if not muscle > 0:
        notes.append("no myocardium at end-diastole: no mass")
    return tuple(notes)


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
