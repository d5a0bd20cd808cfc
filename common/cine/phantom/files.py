"""Generated studies as files: DICOM as a scanner sends it, and pictures with masks as the Sunnybrook data have them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.contours import contour_to_mask, mask_to_contour
from ...datasets.tables import read_table
from ...errors import InputError
from ...outputs.files import write_text
from ...outputs.png import write_png
from ...outputs.tables import csv_text
from .dicom import Frame, write_cine_images
from .study import Phantom

_NUMBERED_PHASES = 20  # by which the Sunnybrook data count, see :mod:`...datasets.sunnybrook`
_COLUMNS = ("patient", "challenge_group", "dx_mm", "dy_mm", "dz_mm", "ed_phase", "es_phase")
_BRIGHTEST = 4095  # of 12 bits
_HEADER: dict[str, Any] = {
    "ImageType": ["DERIVED", "PRIMARY", "OTHER"],
    "Manufacturer": "medbundles",
    "SeriesDescription": "generated cine, short axis",
    "ImageComments": "Generated; shows no patient.",
    "ScanningSequence": "GR",
    "SequenceVariant": "SS",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "BitsStored": 12,
    "HighBit": 11,
    **dict.fromkeys(("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"), ""),
}


def write_phantom_study(folder: str | Path, phantom: Phantom, patient: str = "PHANTOM") -> dict[Frame, Path]:
    """Write a study as DICOM, one file IM-0001-NNNN.dcm per frame, NNNN counting through the phases of each slice from 1.

    The same phantom and patient give the same files.

    Args:
        folder: made where it is missing.
        phantom: what is written, grey values rounded.
        patient: name and ID in the header.

    Returns:
        The files by (phase, slice).

    Raises:
        InputError: pydicom, an optional package, is not installed; or the folder cannot be written.
    """
    stored = np.rint(np.clip(phantom.pixels, 0, _BRIGHTEST)).astype(np.uint16)
    beat = float(phantom.trigger_times_ms[-1])
    made = hashlib.sha256(patient.encode() + stored.tobytes() + phantom.positions.tobytes()).digest()
    study, series, frame = (_uid(made, name) for name in ("study", "series", "frame of reference"))
    values = {
        **_HEADER,
        "PatientName": patient,
        "PatientID": patient,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": frame,
        "ImageOrientationPatient": phantom.orientation.tolist(),
        "PixelSpacing": list(phantom.spacing_mm),
        "SliceThickness": phantom.slice_distance_mm,
        "SpacingBetweenSlices": phantom.slice_distance_mm,
        "CardiacNumberOfImages": phantom.phases,
        "WindowCenter": round(float(np.percentile(stored, 99)) / 2),
        "WindowWidth": max(1, round(float(np.percentile(stored, 99)))),
    }
    return write_cine_images(
        folder,
        stored,
        phantom.positions,
        np.repeat(phantom.trigger_times_ms[:, None], phantom.slices, axis=1),
        [beat] * phantom.slices,
        values=values,
        uids={place: _uid(made, str(place)) for place in np.ndindex(phantom.phases, phantom.slices)},
    )


def _uid(made: bytes, name: str) -> str:
    """A UID below 2.25, where anybody may (ITU-T X.667), that the content gives."""
    return f"2.25.{int.from_bytes(hashlib.sha256(made + name.encode()).digest()[:16], 'big')}"


def write_phantom_pictures(
    folder: str | Path,
    phantom: Phantom,
    patient: str = "SC-N-90",
    challenge_group: str = "validation",
    labelled_only: bool = True,
) -> list[Path]:
    """Write pictures and masks in the Sunnybrook layout: ``images/``, ``endocardium/``, ``epicardium/``, ``patients.csv``.

    Cavities are drawn at end-diastole and end-systole, the epicardium at end-diastole only. Masks include their outline as
    the data set's do (:mod:`...datasets.contours`), so they are larger than the phantom's truth. Instance numbers count
    20 phases per slice, over which fewer are spread: end-diastole is phase 20.

    Args:
        folder: of the data set; further patients are added to what is there.
        phantom: of at most 20 phases.
        patient: code of the data set's form that it does not have itself, such as SC-N-90, SC-HYP-91.
        challenge_group: for the table.
        labelled_only: leave out the frames nobody has drawn on, as the data set's pictures do.

    Returns:
        The images.

    Raises:
        ValueError: more than 20 phases.
        InputError: the table has the patient already; or the folder cannot be written.
    """
    if phantom.phases > _NUMBERED_PHASES:
        raise ValueError(f"{phantom.phases} phases; instance numbers count at most {_NUMBERED_PHASES}")
    home, found = Path(folder), phantom.function
    table = home / "patients.csv"
    rows = read_table(table, _COLUMNS) if table.is_file() else []
    if any(row["patient"] == patient for row in rows):
        raise InputError(table, f"the patient {patient}", "a patient that is not there yet")
    numbers = [round((phase + 1) * _NUMBERED_PHASES / phantom.phases) for phase in range(phantom.phases)]
    images = []
    for phase, part in np.ndindex(phantom.phases, phantom.slices):
        classes = phantom.truth[phase, part]
        drawn = phase in (found.ed_phase, found.es_phase) and bool((classes == 1).any())
        if labelled_only and not drawn:
            continue
        name = f"{patient}-IM-0001-{part * _NUMBERED_PHASES + numbers[phase]:04d}.png"
        images.append(home / "images" / name)
        write_png(images[-1], _eight_bits(phantom.pixels[phase, part]))
        if drawn:
            write_png(home / "endocardium" / name, _drawn(classes == 1))
        if drawn and phase == found.ed_phase:
            write_png(home / "epicardium" / name, _drawn(classes > 0))
    ends = [None if phase is None else numbers[phase] for phase in (found.ed_phase, found.es_phase)]
    across, down = phantom.spacing_mm[1], phantom.spacing_mm[0]
    own = (patient, challenge_group, across, down, phantom.slice_distance_mm, *ends)
    write_text(table, csv_text([_COLUMNS, *([row[column] for column in _COLUMNS] for row in rows), own]))
    return images


def _drawn(mask: np.ndarray) -> np.ndarray:
    """A mask of 0 and 255 as the data set's own are made from contours: with the line around it."""
    return contour_to_mask(mask_to_contour(mask), mask.shape, outline_included=True).astype(np.uint8) * 255


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """From the lowest to the highest value of the picture, as the data set's own."""
    low, high = float(pixels.min()), float(pixels.max())
    return np.rint((pixels - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
