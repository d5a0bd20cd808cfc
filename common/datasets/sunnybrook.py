"""The Sunnybrook Cardiac Data (left ventricle in cine MR, the MICCAI challenge of 2009) in the layouts that occur.

Images lie in one of

- ``challenge_training/SC-HF-I-1/IM-0004-0048.dcm`` (the challenge; validation and online likewise),
- ``SCD0000301/CINESAX_5/IM-0005-0040.dcm`` (the Cardiac Atlas; ``scd_patientdata.csv`` gives the patient's code),
- ``images/SC-HF-I-01-IM-0001-0048.png`` with masks of that name in ``endocardium/`` and ``epicardium/``,

contours in ``.../SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-0048-icontour-manual.txt``, i for the endocardium and
o for the epicardium (p1 and p2, the papillary muscles, are part of the cavity and not read). ``patients.csv`` (patient,
dx_mm, dy_mm, dz_mm, ed_phase, es_phase, challenge_group) tells spacing and phases where it is there.

Patients are written with two digits everywhere here (SC-HF-I-01), and contours find their image by patient and instance
number n alone, as their names always say series 0001. A series shows 20 phases of one slice after the other:
phase (n - 1) % 20 + 1 from 1, slice (n - 1) // 20 from 0.

Source: P. Radau et al., Evaluation framework for algorithms segmenting short axis cardiac MRI, MIDAS Journal 2009.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, Problem, leave_out, listed, note
from ..images.reading import is_image_name
from .contours import check_contour, read_contour
from .tables import read_table

logger = logging.getLogger(__name__)

_PHASES = 20
_PATIENT = re.compile(r"SC-(HF-NI|HF-I|HYP|N)-0*(\d+)", re.IGNORECASE)
_PNG_NAME = re.compile(rf"({_PATIENT.pattern})-IM-\d+-(\d+)", re.IGNORECASE)
_CONTOUR_NAME = re.compile(r"IM-\d+-(\d+)-([io])contour-manual\.txt", re.IGNORECASE)
_DICOM_NAME = re.compile(r"IM-(\d+)-(\d+)\.dcm", re.IGNORECASE)
_ATLAS = re.compile(r"SCD\d{7}", re.IGNORECASE)
# The folders of both releases; others are not entered, so that looking into any folder is quick.
_ENTER = re.compile(
    r"(challenge_|SCD|SC-|CINESAX|Sunnybrook|\w*DataContours|contours-manual|IRCCI|png$)", re.IGNORECASE
)
_DEPTH = 6
_ENDO, _EPI = "endocardium", "epicardium"
_KINDS = {"i": _ENDO, "o": _EPI}
# Patients of two of the challenge's groups; the training group holds the others.
_GROUPS = {
    "validation": {"HF-I": (5, 6, 7, 8), "HF-NI": (7, 11, 31, 33), "HYP": (6, 7, 8, 37), "N": (5, 6, 7)},
    "online": {"HF-I": (9, 10, 11, 12), "HF-NI": (12, 13, 14, 15), "HYP": (9, 10, 11, 12), "N": (9, 10, 11)},
    "training": {"HF-I": (1, 2, 4, 40), "HF-NI": (3, 4, 34, 36), "HYP": (1, 3, 38, 40), "N": (2, 3, 40)},
}

Slice = tuple[str, int]  # patient and instance number


@dataclass(frozen=True)
class _Found:
    """Files by slice, as they were found."""

    images: dict[Slice, Path] = field(default_factory=dict)
    # By patient, then by folder and series number: which file has which instance number.
    series: dict[str, dict[tuple[Path, str], dict[int, Path]]] = field(default_factory=lambda: defaultdict(dict))
    labels: dict[str, dict[Slice, Path]] = field(default_factory=lambda: {_ENDO: {}, _EPI: {}})


def matches(folder: Path) -> bool:
    """Whether the folder holds images in one of the layouts of the Sunnybrook data."""
    return any(_is_series(entry) or _is_png(entry) for entry in _folders(folder))


def records(folder: Path, need_labels: bool = True, problems: list[Problem] | None = None) -> list[dict[str, Any]]:
    """One record per image, sorted by patient and instance number; with ``need_labels`` of those with endocardium.

    A slice that lies there as PNG and as DICOM is taken once, as PNG, and its contour text counts before its mask.
    Contours are looked for beside the folder where it has none. Images nobody has drawn on are unlabelled, not
    negative: they are left out with one problem per patient.

    Returns:
        Per image ``name`` (SC-HF-I-01-IM-0001-0048, unique), ``image`` and ``label`` (path of the endocardium's contour
        text or mask, or None), ``epicardium`` (likewise; None means that the myocardium is unlabelled, not absent),
        ``group`` (the patient), ``instance``, ``phase`` (1 to 20), ``slice`` (from 0), ``moment`` ("ed", "es" or None),
        ``spacing_mm`` [row, column] and ``slice_distance_mm`` (None where not known), ``challenge_group`` ("training",
        "validation", "online" or None) and ``modality`` "cine_mr". All values go into JSON.

    Raises:
        InputError: a series of which the patient is not known; several series or files that a contour could belong to;
            a DICOM header that cannot be read or contradicts the file name; and with ``need_labels`` a contour that is
            unusable, or whose image is not there although others of the patient are (all of these are noted in
            ``problems`` and left out, if given); a table that cannot be used.
    """
    found = _find(folder, problems)
    _choose_series(found, problems)
    if need_labels:
        _note_alone(folder, found, problems)
    table = _patients(folder)
    made = []
    for key in sorted(found.images):
        if need_labels and key not in found.labels[_ENDO]:
            continue
        try:
            made.append(_record(key, found, table, need_labels, problems))
        except InputError as error:
            leave_out(_name(key), error, problems)
    return made


def patient_name(text: str) -> str | None:
    """The patient's code as this package writes it, or None.

    Example:
        >>> patient_name("SC-HF-I-1"), patient_name("sc-hf-i-001"), patient_name("SCD0000101")
        ('SC-HF-I-01', 'SC-HF-I-01', None)
    """
    code = _PATIENT.fullmatch(text.strip())
    return f"SC-{code[1].upper()}-{int(code[2]):02d}" if code else None


def challenge_group(patient: str) -> str | None:
    """Group of the challenge that a patient was in: ``training``, ``validation`` or ``online``; None if unknown.

    Example:
        >>> challenge_group("SC-HF-I-01"), challenge_group("SC-N-5"), challenge_group("SC-N-99")
        ('training', 'validation', None)
    """
    code = _PATIENT.fullmatch(patient)
    kind, number = (code[1].upper(), int(code[2])) if code else ("", 0)
    return next((group for group, members in _GROUPS.items() if number in members.get(kind, ())), None)


def _folders(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """The folder and those below it that have a name of the data set's, in the order of their names."""
    if folder.is_dir():
        yield folder
        if depth:
            for entry in sorted(folder.iterdir()):
                if _ENTER.match(entry.name):
                    yield from _folders(entry, depth - 1)


def _is_series(folder: Path) -> bool:
    atlas = folder.name.upper().startswith("CINESAX") and _ATLAS.fullmatch(folder.resolve().parent.name) is not None
    return (atlas or patient_name(folder.name) is not None) and any(_dicom_files(folder))


def _is_png(folder: Path) -> bool:
    images = folder / "images"
    return (
        (folder / _ENDO).is_dir()
        and images.is_dir()
        and any(_PNG_NAME.fullmatch(file.stem) and is_image_name(file) for file in images.iterdir())
    )


def _dicom_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.suffix.lower() == ".dcm" and file.name[0] != ".")


def _find(folder: Path, problems: list[Problem] | None) -> _Found:
    found = _Found()
    names: dict[str, str] | None = None
    for entry in _folders(folder):
        _add_contours(entry, found)
        if _is_png(entry):
            _add_png(entry, found, problems)
        elif _is_series(entry):
            patient = patient_name(entry.name)
            if patient is None:
                names = _atlas_patients(folder) if names is None else names
                patient = names.get(entry.resolve().parent.name.upper())
            if patient is None:
                expected = "its patient (PatientID, OriginalID) in scd_patientdata.csv"
                leave_out(entry.parent.name, InputError(entry, "a patient that no table names", expected), problems)
            else:
                _add_series(entry, patient, found, problems)
    for above in folder.resolve().parents[:2]:
        if found.series and not any(found.labels.values()):
            _add_contours_beside(above, found)
    return found


def _add_contours_beside(folder: Path, found: _Found) -> None:
    beside = _Found()
    for entry in _folders(folder):
        _add_contours(entry, beside)
    for kind, labels in beside.labels.items():
        found.labels[kind].update({key: path for key, path in labels.items() if key[0] in found.series})


def _add_contours(folder: Path, found: _Found) -> None:
    parents = folder.resolve().parents
    patient = patient_name(parents[1].name) if folder.name == "IRCCI-expert" and len(parents) > 1 else None
    for file in sorted(folder.iterdir()) if patient else ():
        name = _CONTOUR_NAME.fullmatch(file.name)
        if name and patient:
            found.labels[_KINDS[name[2].lower()]][patient, int(name[1])] = file


def _add_png(folder: Path, found: _Found, problems: list[Problem] | None) -> None:
    found.images.update(_png_files(folder / "images", problems))
    for kind, labels in found.labels.items():
        if (folder / kind).is_dir():
            # Contour text is finer than a mask, whichever is met first.
            texts = {key: path for key, path in labels.items() if path.suffix.lower() == ".txt"}
            labels.update({**_png_files(folder / kind, problems), **texts})


def _png_files(folder: Path, problems: list[Problem] | None) -> dict[Slice, Path]:
    files: dict[Slice, Path] = {}
    for file in sorted(folder.iterdir()):
        if not is_image_name(file):
            continue
        name = _PNG_NAME.fullmatch(file.stem)
        key = (str(patient_name(name[1])), int(name[4])) if name else None
        if key is None:
            error = InputError(file, "a name without patient and instance", "SC-HF-I-01-IM-0001-0048.png")
            leave_out(file.name, error, problems)
        elif key in files:
            both = f"{files[key].name} and {file.name} of one slice"
            leave_out(file.name, InputError(folder, both, "each slice once"), problems)
        else:
            files[key] = file
    return files


def _add_series(folder: Path, patient: str, found: _Found, problems: list[Problem] | None) -> None:
    for file in _dicom_files(folder):
        name = _DICOM_NAME.fullmatch(file.name)
        if name is None:
            leave_out(file.name, InputError(file, "a name without instance number", "IM-0004-0048.dcm"), problems)
            continue
        instances = found.series[patient].setdefault((folder, name[1]), {})
        if int(name[2]) in instances:
            both = f"{instances[int(name[2])].name} and {file.name} of one instance number"
            leave_out(file.name, InputError(folder, both, "each instance once"), problems)
        else:
            instances[int(name[2])] = file


def _choose_series(found: _Found, problems: list[Problem] | None) -> None:
    """Move the images of the series that the contours belong to into ``found.images``."""
    twice = 0
    drawn = {key for labels in found.labels.values() for key in labels}
    for patient, series in sorted(found.series.items()):
        wanted = {number for name, number in drawn if name == patient}
        fits = {key: len(wanted & set(instances)) for key, instances in series.items()}
        best = [key for key, count in fits.items() if count == max(fits.values())]
        if len(best) > 1:
            where = listed(f"{folder.name}/IM-{number}" for folder, number in best)
            error = InputError(best[0][0], f"several series that fit the contours alike: {where}", "one of them")
            leave_out(patient, error, problems)
            continue
        images = {(patient, number): file for number, file in series[best[0]].items()}
        twice += len(images.keys() & found.images.keys())
        found.images.update({key: file for key, file in images.items() if key not in found.images})
    if twice:
        logger.info("%d slices lie there as DICOM and as PNG; the PNG images are taken", twice)


def _note_alone(folder: Path, found: _Found, problems: list[Problem] | None) -> None:
    """Name images without contour and contours without image: what is not there at all per patient, else each."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for patient, number in found.images:
        numbers[patient].append(number)
    for patient, instances in sorted(numbers.items()):
        bare = [number for number in instances if (patient, number) not in found.labels[_ENDO]]
        if bare:
            reason = f"{len(bare)} of {len(instances)} images without contour of the endocardium (unlabelled, left out)"
            note([Problem(patient, reason)], problems)
    absent: dict[str, int] = defaultdict(int)
    for kind, labels in found.labels.items():
        for key, path in sorted(labels.items()):
            if key[0] not in numbers:
                absent[key[0]] += 1
            elif key not in found.images:
                error = InputError(path, f"a contour ({kind}) without image", f"an image with instance number {key[1]}")
                leave_out(_name(key), error, problems)
    for patient, count in sorted(absent.items()):
        reason = f"{count} contours of a patient without any image in {folder} (left out)"
        note([Problem(patient, reason)], problems)


def _record(
    key: Slice, found: _Found, table: dict[str, dict[str, str]], check: bool, problems: list[Problem] | None
) -> dict[str, Any]:
    patient, number = key
    image, row = found.images[key], table.get(patient, {})
    paths = {kind: labels.get(key) for kind, labels in found.labels.items()}
    if check:
        _check_text(paths[_ENDO], _name(key), problems)
        try:
            _check_text(paths[_EPI], _name(key), problems)
        except InputError as error:
            leave_out(f"{_name(key)} (epicardium)", error, problems)
            paths[_EPI] = None
    spacing = _table_spacing(row)
    if image.suffix.lower() == ".dcm":
        spacing = _header_spacing(image, number) or spacing
    return {
        "name": _name(key),
        "image": str(image),
        "label": _text(paths[_ENDO]),
        "epicardium": _text(paths[_EPI]),
        "group": patient,
        "instance": number,
        "phase": _phase(number),
        "slice": (number - 1) // _PHASES,
        "moment": _moment(key, found, row),
        "spacing_mm": spacing,
        "slice_distance_mm": _number(row, "dz_mm"),
        "challenge_group": row.get("challenge_group") or challenge_group(patient),
        "modality": "cine_mr",
    }


def _name(key: Slice) -> str:
    return f"{key[0]}-IM-0001-{key[1]:04d}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _phase(number: int) -> int:
    return (number - 1) % _PHASES + 1


def _check_text(path: Path | None, name: str, problems: list[Problem] | None) -> None:
    if path is not None and path.suffix.lower() == ".txt":
        note(check_contour(read_contour(path), path, f"{name} ({path.name})"), problems)


def _moment(key: Slice, found: _Found, row: dict[str, str]) -> str | None:
    """End-diastole or end-systole: by the table, else by what was drawn (the epicardium at end-diastole only)."""
    patient, phase = key[0], _phase(key[1])
    if row.get("ed_phase") and row.get("es_phase"):
        return {_number(row, "ed_phase"): "ed", _number(row, "es_phase"): "es"}.get(float(phase))
    ends = {_phase(number) for name, number in found.labels[_EPI] if name == patient}
    others = {_phase(number) for name, number in found.labels[_ENDO] if name == patient} - ends
    if len(ends) != 1 or len(others) > 1:
        return None
    return "ed" if phase in ends else "es" if phase in others else None


def _header_spacing(path: Path, number: int) -> list[float] | None:
    """[row, column] mm of a DICOM file; None without pydicom (an optional extra, not needed to list files)."""
    try:
        from pydicom import dcmread
    except ImportError:
        return None
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["InstanceNumber", "PixelSpacing"])
        instance = header.get("InstanceNumber")
        spacing = [float(value) for value in header.get("PixelSpacing") or ()]
    except Exception as error:  # pydicom raises nearly anything on damaged files
        raise InputError(path, f"a DICOM header that cannot be read ({error})", "an intact DICOM file") from error
    if instance is not None and int(instance) != number:
        raise InputError(path, f"instance number {instance} in the header", f"{number}, as the file name says")
    return spacing if len(spacing) == 2 and min(spacing) > 0 else None


def _table_spacing(row: dict[str, str]) -> list[float] | None:
    down, across = _number(row, "dy_mm"), _number(row, "dx_mm")
    return [down, across] if down and across else None


def _number(row: dict[str, str], column: str) -> float | None:
    text = row.get(column)
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError("patients.csv", f"{text!r} in the column {column}", "a number") from error


def _patients(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of ``patients.csv`` by patient; a table about other things is passed over."""
    path = _table_path(folder, "patients.csv")
    rows = read_table(path, ("patient",)) if path else []
    named = ((patient_name(row["patient"]), row) for row in rows)
    return {patient: row for patient, row in named if patient}


def _atlas_patients(folder: Path) -> dict[str, str]:
    path = _table_path(folder, "scd_patientdata.csv")
    rows = read_table(path, ("PatientID", "OriginalID")) if path else []
    named = ((row["PatientID"].upper(), patient_name(row["OriginalID"])) for row in rows)
    return {identity: patient for identity, patient in named if patient}


def _table_path(folder: Path, name: str) -> Path | None:
    """The table in the folder, or in one of the two above it."""
    folder = folder.resolve()
    return next((base / name for base in (folder, *folder.parents[:2]) if (base / name).is_file()), None)
