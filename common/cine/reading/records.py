"""One record of :mod:`.stacks` to the stacks it names: pixels, place in space and time, and the truth where it is drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, Problem, leave_out
from ...names import safe_name, unique_names
from ...outputs.nifti import read_nifti
from ..slices import check_spacing
from .pictures import read_pictures
from .stack import Stack, counted
from .stacks import file_stem
from .study import CineStudy, read_studies

_SHORT_AXIS = 3
"""A stack of so many slices is one across the heart, and what has one slice beside it shows the heart lengthwise."""
_BEAT_MS = (200.0, 3000.0)
"""Length of a heart beat that is believed; ACDC's files say one second per phase."""


def read_stacks(
    record: Mapping[str, Any],
    problems: list[Problem],
    source: Any = None,
    assumed_mm: float | None = None,
    outline_included: bool = True,
) -> list[Stack]:
    """The stacks of a record; what is left out or doubtful in them is added to ``problems``.

    Args:
        record: as :func:`.stacks.stack_records` and :func:`.stacks.stacks_of` make them.
        problems: takes what does not stop the rest.
        source: instead of the record's ``image``.
        assumed_mm: pixel size of pictures that nothing tells it of; None refuses them.
        outline_included: which pixels a drawn line owns, see :mod:`...datasets.contours`.

    Raises:
        InputError: no frame of the record can be used, or a pixel size that cannot be.
    """
    source = record["image"] if source is None else source
    if record["kind"] == "dicom":
        stacks = _read_dicom(record, Path(source), problems)
    elif record["kind"] == "nifti":
        stacks = [_read_nifti(record, Path(source))]
    else:
        stacks = [read_pictures(record, problems, assumed_mm, outline_included)]
    return [replace(stack, notes=(*record.get("notes", ()), *stack.notes)) for stack in stacks]


def _read_dicom(record: Mapping[str, Any], source: Path, problems: list[Problem]) -> list[Stack]:
    found: list[Problem] = []
    studies = read_studies(source, found)
    names = _study_names(record, source, studies)
    noted = {(study.name, note) for study in studies for note in study.notes}
    for problem in found:
        # The reader names files relative to the source, of which a run may have many. Notes leave nothing out.
        name = record["name"] if source.is_file() else f"{record['name']}/{problem.name}"
        if (problem.name, problem.reason) not in noted:
            problems.append(Problem(str(name), problem.reason))
    most, made = max(study.slices for study in studies), []
    for study, name in zip(studies, names, strict=True):
        folder = study.sources[0][0].path.parent
        if study.slices == 1 and most >= _SHORT_AXIS:
            lengthwise = f"a stack of one slice beside one of {most}, such as a long axis"
            leave_out(name, InputError(folder, lengthwise, "slices across the heart"), problems)
        else:
            check_spacing(folder, study.spacing_mm)
            made.append(_of_study(study, name, record))
    return made


def _study_names(record: Mapping[str, Any], source: Path, studies: list[CineStudy]) -> list[str]:
    """The record's name, with what tells its stacks apart; no other record's stacks can be called so."""
    folder, names = re.escape(source.resolve().name), []
    for study in studies:
        again = re.fullmatch(rf"{folder}(?:_(\d+))?", study.name)
        part = "" if source.is_file() else (again[1] or "") if again else safe_name(study.name)
        name = f"{record['name']}_{part}" if part else str(record["name"])
        taken = any(f"{name}_".lower().startswith(f"{other}_") for other in record.get("clashing", ()))
        names.append(f"{record['name']}-{part}" if taken else name)
    return unique_names(names)


def _of_study(study: CineStudy, name: str, record: Mapping[str, Any]) -> Stack:
    present = np.ones((study.phases, study.slices), bool)
    paths = [[str(source.path) for source in row] for row in study.sources]
    numbers = [[source.instance_number for source in row] for row in study.sources]
    distinct = {number for row in numbers for number in row} - {None}
    known = len(distinct) == present.size
    step = study.time_step_ms
    return Stack(
        name=name,
        group=str(record["group"]),
        kind="dicom",
        pixels=study.pixels,
        frames=list(study.pixels.reshape(-1, *study.pixels.shape[2:])),
        present=present,
        spacing_mm=study.spacing_mm,
        paths=[list(row) for row in paths],
        stems=_stems(name, paths, set(record.get("same_stems", ()))),
        instances=np.array(numbers, np.int64) if known else counted(present.shape),
        phase_numbers=list(range(1, study.phases + 1)),
        slice_distance_mm=study.slice_distance_mm,
        affine=study.affine,
        trigger_times_ms=_times(study.trigger_times_ms),
        time_step_ms=step if step and step > 0 else None,
        notes=study.notes,
    )


def _stems(name: str, paths: list[list[str]], same: set[str]) -> list[list[str | None]]:
    """Names of the frames' own files; where the run has one twice, with the stack's name, at need with the folder's."""
    taken: set[str] = set()
    made: list[list[str | None]] = []
    for row in paths:
        made.append([])
        for path in map(Path, row):
            plain = file_stem(path)
            wider = [f"{name}_{plain}", f"{name}_{path.parent.name}_{plain}"]
            choices = [*(wider if plain.lower() in same else [plain]), *(f"{wider[0]}_{n}" for n in range(2, 9999))]
            stem = next(choice for choice in map(safe_name, choices) if choice.lower() not in taken)
            taken.add(stem.lower())
            made[-1].append(stem)
    return made


def _times(times: np.ndarray) -> np.ndarray | None:
    """Median over the slices, (phases, slices) to (phases,); None where a phase has none or they do not rise."""
    if not np.isfinite(times).any(axis=1).all():
        return None
    medians = np.nanmedian(times, axis=1)
    return medians if (np.diff(medians) > 0).all() else None


def _read_nifti(record: Mapping[str, Any], path: Path) -> Stack:
    found = read_nifti(path)
    pixels = np.ascontiguousarray(found.pixels, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise InputError(path, "NaN or infinite values", "finite grey values")
    check_spacing(path, found.spacing_mm)
    phases, slices = pixels.shape[:2]
    step = found.time_step_ms if phases > 1 else None
    notes: tuple[str, ...] = ()
    if step is not None and not _BEAT_MS[0] <= step * phases <= _BEAT_MS[1]:
        step, notes = None, (f"{step:g} ms from phase to phase, as the file says, cannot be: times are unknown",)
    return Stack(
        name=str(record["name"]),
        group=str(record["group"]),
        kind="nifti",
        pixels=pixels,
        frames=list(pixels.reshape(-1, *pixels.shape[2:])),
        present=np.ones((phases, slices), bool),
        spacing_mm=found.spacing_mm,
        paths=[[str(path)] * slices for _ in range(phases)],
        stems=[[None] * slices for _ in range(phases)],
        instances=counted((phases, slices)),
        phase_numbers=list(range(1, phases + 1)),
        slice_distance_mm=found.slice_distance_mm,
        affine=found.affine,
        trigger_times_ms=None if step is None else np.arange(phases) * step,
        time_step_ms=step,
        notes=notes,
    )
