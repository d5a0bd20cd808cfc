"""Small valid DICOM files, made for tests: one MR image, or a cine of several slices and phases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from common.cine.geometry import base_to_apex

ROWS, COLUMNS = 12, 17
SPACING = (1.5, 1.25)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PATIENT = "Doe^Jane"
PHASES, SLICES = 5, 4
DISTANCE = 10.0


def oblique(first: float = 0.6, second: float = 0.5) -> tuple[float, ...]:
    """An orientation at an angle to all axes: two of the columns of a rotation about x, then about z."""
    c, s, d, t = np.cos(first), np.sin(first), np.cos(second), np.sin(second)
    rotation = np.array([[d, -t, 0], [t, d, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return tuple(rotation[:, 0]) + tuple(rotation[:, 1])


def write_mr(path: Path, stored: np.ndarray, **values: Any) -> Path:
    """Write a valid MR image; ``values`` are DICOM keywords, None takes an element out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    elements: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5",
        "Modality": "MR",
        "PatientName": PATIENT,
        "PatientID": "secret-7",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "SeriesNumber": 3,
        "SeriesDescription": "cine sax",
        "InstanceNumber": 1,
        "ImagePositionPatient": [0.0, 0.0, 0.0],
        "ImageOrientationPatient": [float(f"{value:.9f}") for value in values.pop("orientation", AXIAL)],
        "PixelSpacing": list(SPACING),
        "SliceThickness": 8,
        "SpacingBetweenSlices": 10,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": stored.dtype.itemsize * 8,
        "HighBit": stored.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    for keyword, value in {**elements, **values}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OW", stored.tobytes())
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2")
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def value(phase: int, place: int) -> int:
    """Value of every pixel of a frame of a written stack, so that its place in the stack can be seen."""
    return 100 * (phase + 1) + place


def write_cine(
    folder: Path,
    names: Iterable[str] | None = None,
    phases: int = PHASES,
    slices: int = SLICES,
    orientation: tuple[float, ...] = AXIAL,
    timed: bool = True,
    **common: Any,
) -> dict[tuple[int, int], Path]:
    """Write a cine with slices from base to apex, numbered like Sunnybrook: slice by slice, from 1."""
    numbered = iter(names or [f"IM-0001-{number + 1:04d}.dcm" for number in range(phases * slices)])
    direction = base_to_apex(np.array(orientation))
    paths: dict[tuple[int, int], Path] = {}
    for place in range(slices):
        beat = 800 + 10 * place  # the heart rate differs from breath-hold to breath-hold
        for phase in range(phases):
            values: dict[str, Any] = {
                "InstanceNumber": place * phases + phase + 1,
                "ImagePositionPatient": np.round(direction * DISTANCE * place + [5, -3, 8], 6).tolist(),
                "TriggerTime": round((phase + 0.5) / phases * beat, 3) if timed else None,
                "NominalInterval": beat if timed else None,
                **common,
            }
            stored = np.full((ROWS, COLUMNS), value(phase, place), np.int16)
            paths[phase, place] = write_mr(folder / next(numbered), stored, orientation=orientation, **values)
    return paths
