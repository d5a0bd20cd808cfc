"""A folder of DICOM files to cine stacks (phases, slices, rows, columns), ordered by place and time, never by file name.

What comes out of one folder:

- Files are told apart by study, series, image size, pixel spacing and orientation. Series that hold one slice over time
  each (a series per breath-hold) and agree in all but the series are one stack again.
- Where anything in the folder has several phases, images without a time course are no cine (localisers, scouts, maps) and
  are left out; where nothing has, single images beside a stack are left out.
- Slices run from base to apex (:func:`.geometry.base_to_apex`), phases by trigger time, which is ranked within each slice
  since the heart rate differs from breath-hold to breath-hold; by instance number where a frame has no trigger time or all
  are equal.
- A stack is always complete. Where slices differ in phases (a file lost, end-diastole and end-systole alone, a stray image
  in the series), the phases are matched to those of the fullest slice, and the slices or phases are left out that cost the
  fewest frames. A stack of end-diastole and end-systole is one of two phases.
- The same instance, or the same place and time, is kept once: the lower instance number, then the lower UID.

All that is left out or doubtful is named.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import InputError, Problem, leave_out, listed
from .dicom import DicomFrame, is_dicom, read_frame
from .geometry import base_to_apex, stack_affine, uneven_slices
from .phases import Frames, clock, complete, first_of_each, match_phases, rank, slices_of

logger = logging.getLogger(__name__)

_SAME_COSINES = 5e-3


@dataclass(frozen=True)
class FrameSource:
    """Where a frame of a stack comes from: enough to write a result that refers to it."""

    path: Path
    sop_instance_uid: str
    series_uid: str
    instance_number: int | None


@dataclass(frozen=True, eq=False)
class CineStudy:
    """A stack of slices over the heart beat.

    Attributes:
        name: the folder of its files, relative to the one that was read, with underscores; never from a DICOM tag. Further
            stacks of the same folder have ``_2``, ``_3`` appended.
        pixels: (phases, slices, rows, columns) float32, slices from base to apex.
        sources: file of each frame, [phase][slice].
        trigger_times_ms: (phases, slices) float64 since the R peak, NaN where the file does not say.
        spacing_mm: between rows, between columns.
        slice_distance_mm: mean distance between slice centres as measured; of a single slice what the header says, or None.
        slice_thickness_mm: as the header says, or None.
        positions: (slices, 3) centre of the first pixel of each slice in mm (LPS).
        orientation: (6,) direction cosines along a row, then along a column.
        affine: (4, 4) from (column, row, slice, 1) to mm (LPS).
        study_uid, series_description: of the first frame.
        notes: what a reader should know, in words: one phase only, uneven slices.
    """

    name: str
    pixels: np.ndarray
    sources: tuple[tuple[FrameSource, ...], ...]
    trigger_times_ms: np.ndarray
    spacing_mm: tuple[float, float]
    slice_distance_mm: float | None
    slice_thickness_mm: float | None
    positions: np.ndarray
    orientation: np.ndarray
    affine: np.ndarray
    study_uid: str
    series_description: str
    notes: tuple[str, ...] = ()

    @property
    def phases(self) -> int:
        return self.pixels.shape[0]

    @property
    def slices(self) -> int:
        return self.pixels.shape[1]

    @property
    def time_step_ms(self) -> float | None:
        """Median time from one phase to the next, over all slices; None for one phase or unknown times."""
        steps = np.diff(self.trigger_times_ms, axis=0)
        return float(np.median(steps)) if steps.size and np.isfinite(steps).all() else None


def read_studies(path: str | Path, problems: list[Problem] | None = None, workers: int = 4) -> list[CineStudy]:
    """Read all cine stacks of a folder, whatever its depth; the module says what belongs together and in which order.

    All images of the folder are in memory until their stacks are built.

    Args:
        path: a folder, or one DICOM file. Files that are no DICOM by their ending and content are passed over, so are
            hidden ones and DICOMDIR.
        problems: takes what is left out or doubtful; without it the first raises.
        workers: threads that read.

    Returns:
        The stacks, most frames first.

    Raises:
        InputError: there is no such folder, no DICOM file in it, or no image could be used; without ``problems`` also
            what would be left out.
    """
    root = Path(path)
    frames = _read_all(root, problems, workers)
    found = problems if problems is not None else []
    stacks = _without_stills(
        _joined(_told_apart(_once(_placed(frames, root, problems), root, problems))), root, problems
    )
    studies: list[CineStudy] = []
    for stack in stacks:
        try:
            studies.append(_study(stack, root, problems))
        except InputError as error:
            leave_out(_where(stack, root), error, problems)
    if not studies:
        reasons = f": {found[0].reason}" if found else ""
        raise InputError(root, f"no image that can be used{reasons}", "a cine MR study of DICOM files")
    studies.sort(key=lambda study: -study.phases * study.slices)
    return _renamed(studies)


def _read_all(root: Path, problems: list[Problem] | None, workers: int) -> Frames:
    if not root.exists():
        raise InputError(root, "no such file or folder", "a folder of DICOM files")
    paths = [root] if root.is_file() else sorted(entry for entry in root.rglob("*") if _may_be_frame(entry, root))
    if not paths:
        raise InputError(root, "no DICOM file", "a folder of DICOM files")
    frames: Frames = []
    with ThreadPoolExecutor(workers, thread_name_prefix="dicom") as pool:
        for path, result in zip(paths, pool.map(_read_or_error, paths), strict=True):
            if isinstance(result, InputError):
                leave_out(_relative(path, root), result, problems)
            else:
                frames.append(result)
    # From here on nothing depends on the names and places of the files.
    return sorted(frames, key=rank)


def _may_be_frame(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and path.name != "DICOMDIR" and path.is_file() and is_dicom(path)


def _read_or_error(path: Path) -> DicomFrame | InputError:
    try:
        return read_frame(path)
    except InputError as error:
        return error


def _relative(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _names(frames: Sequence[DicomFrame], root: Path) -> str:
    return listed(_relative(frame.path, root) for frame in frames)


def _where(frames: Sequence[DicomFrame], root: Path) -> str:
    return _relative(frames[0].path, root)


def _drop(frames: Frames, found: str, expected: str, root: Path, problems: list[Problem] | None) -> None:
    """Name frames that are left out, in one problem."""
    if frames:
        error = InputError(frames[0].path.parent, f"{found} ({_names(frames, root)})", expected)
        leave_out(_where(frames, root), error, problems)


def _placed(frames: Frames, root: Path, problems: list[Problem] | None) -> Frames:
    placed: Frames = []
    for frame in frames:
        try:
            if frame.position is None or frame.orientation is None:
                raise ValueError("no ImagePositionPatient or ImageOrientationPatient")
            base_to_apex(frame.orientation)
            placed.append(frame)
        except ValueError as error:
            expected = "an image with a place in the patient"
            leave_out(_relative(frame.path, root), InputError(frame.path, str(error), expected), problems)
    return placed


def _once(frames: Frames, root: Path, problems: list[Problem] | None) -> Frames:
    first, again = first_of_each(frames, lambda frame: frame.sop_instance_uid)
    _drop(again, f"{len(again)} copies of instances that are there already", "every instance once", root, problems)
    return first


def _same_geometry(one: DicomFrame, other: DicomFrame) -> bool:
    assert one.orientation is not None and other.orientation is not None
    return (
        (one.study_uid, one.pixels.shape) == (other.study_uid, other.pixels.shape)
        and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3)
        and np.allclose(one.orientation, other.orientation, rtol=0, atol=_SAME_COSINES)
    )


def _told_apart(frames: Frames) -> list[Frames]:
    stacks: list[Frames] = []
    for frame in frames:
        for stack in stacks:
            if stack[0].series_uid == frame.series_uid and _same_geometry(stack[0], frame):
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return stacks


def _joined(stacks: list[Frames]) -> list[Frames]:
    """Series of one slice over time, alike in all but their place, as one stack."""
    joined: list[Frames] = []
    for stack in stacks:
        partner = None
        if len(stack) > 1 and len(slices_of(stack)) == 1:
            partner = next((other for other in joined if _continues(other, stack)), None)
        if partner is None:
            joined.append(list(stack))
        else:
            partner.extend(stack)
    return joined


def _continues(stack: Frames, single: Frames) -> bool:
    """Whether a stack holds a series per slice, as many phases as the single slice, and not yet a slice at its place."""
    slices = slices_of(stack)
    series = {frame.series_uid for frame in stack}
    return (
        len(series) == len(slices)
        and all(len({frame.series_uid for frame in members}) == 1 for members in slices)
        and len(stack) == len(slices) * len(single)
        and _same_geometry(stack[0], single[0])
        and len(slices_of(stack + single)) == len(slices) + 1
    )


def _without_stills(stacks: list[Frames], root: Path, problems: list[Problem] | None) -> list[Frames]:
    moving = [stack for stack in stacks if len(stack) > len(slices_of(stack))]
    kept = moving or [stack for stack in stacks if len(stack) > 1] or stacks
    beside = "a time course" if moving else "several slices"
    for stack in stacks:
        if not any(stack is other for other in kept):
            found = f"{len(stack)} image(s) without {beside} beside a stack with one, such as a localiser"
            _drop(stack, found, f"images with {beside}", root, problems)
    return kept


def _study(stack: Frames, root: Path, problems: list[Problem] | None) -> CineStudy:
    time = clock(stack)
    slices: list[Frames] = []
    for members in slices_of(stack):
        ordered = sorted(members, key=lambda frame: (time(frame), *rank(frame)))
        first, again = first_of_each(ordered, time)
        slices.append(first)
        _drop(again, f"{len(again)} image(s) of a place and time that is there already", "each once", root, problems)
    table, left_out = complete(match_phases(slices, time))
    for part in left_out:
        _drop(*part, root, problems)
    study = _built(table, root)
    for note in study.notes:
        logger.warning("%s: %s", study.name, note)
        if problems is not None:
            problems.append(Problem(study.name, note))
    return study


def _built(table: list[list[DicomFrame]], root: Path) -> CineStudy:
    first = table[0][0]
    positions = np.array([frame.position for frame in table[0]], dtype=np.float64)
    orientation = np.asarray(first.orientation)
    header = first.spacing_between_slices_mm or first.slice_thickness_mm
    affine = stack_affine(positions, orientation, first.spacing_mm, header)
    measured = float(np.linalg.norm(affine[:3, 2])) if len(positions) > 1 else header
    uneven = uneven_slices(positions, orientation, affine)
    notes = (["one phase only: nothing can be said about the heart beat"] if len(table) == 1 else []) + (
        [uneven] if uneven else []
    )
    return CineStudy(
        name=_study_name([frame.path for row in table for frame in row], root),
        pixels=np.stack([[frame.pixels for frame in row] for row in table]),
        sources=tuple(
            tuple(FrameSource(f.path, f.sop_instance_uid, f.series_uid, f.instance_number) for f in row)
            for row in table
        ),
        trigger_times_ms=np.array(
            [[np.nan if f.trigger_time_ms is None else f.trigger_time_ms for f in row] for row in table]
        ),
        spacing_mm=first.spacing_mm,
        slice_distance_mm=measured,
        slice_thickness_mm=first.slice_thickness_mm,
        positions=positions,
        orientation=orientation,
        affine=affine,
        study_uid=first.study_uid,
        series_description=first.series_description,
        notes=tuple(notes),
    )


def _study_name(paths: list[Path], root: Path) -> str:
    if root.is_file():
        return root.stem
    folders = [path.parent.relative_to(root).parts for path in paths]
    shared = [parts[0] for parts in zip(*folders, strict=False) if len(set(parts)) == 1]
    return "_".join(shared) or root.resolve().name


def _renamed(studies: list[CineStudy]) -> list[CineStudy]:
    named: list[CineStudy] = []
    for study in studies:
        count = sum(other.name == study.name for other in studies[: len(named)])
        named.append(replace(study, name=f"{study.name}_{count + 1}") if count else study)
    return named
