"""Generated MR images as DICOM files: one image, or a cine numbered slice by slice as the Sunnybrook data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...outputs.files import atomic

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Frame = tuple[int, int]


def write_mr_image(path: str | Path, stored: np.ndarray, values: Mapping[str, Any] | None = None) -> Path:
    """Write a valid MR image (MR Image Storage, explicit VR little endian), whole or not at all.

    Args:
        path: the file.
        stored: (rows, columns) integers of 8 or 16 bits, written as they are.
        values: by DICOM keyword, in place of what is written otherwise (an axial image of a patient without name); None
            takes an element out. Numbers of ImageOrientationPatient are rounded to what fits the standard's 16 characters.

    Returns:
        The path.

    Raises:
        InputError: pydicom, an optional package, is not installed; or the folder cannot be written.
    """
    path = Path(path)
    try:
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
    except ImportError as error:
        raise InputError(path, "no package that writes DICOM", "pydicom: pip install 'pydicom>=3.0'") from error
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    own = {"SOPClassUID": MRImageStorage, "SOPInstanceUID": generate_uid(), **_elements(stored), **(values or {})}
    for keyword, value in own.items():
        if keyword == "ImageOrientationPatient" and value is not None:
            value = [float(f"{cosine:.9f}") for cosine in value]
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OW", stored.tobytes())
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2")
    with atomic(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return path


def _elements(stored: np.ndarray) -> dict[str, Any]:
    bits = stored.dtype.itemsize * 8
    return {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5",
        "Modality": "MR",
        "PatientName": "",
        "PatientID": "",
        "PatientBirthDate": "",
        "PatientSex": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "ImagePositionPatient": [0.0, 0.0, 0.0],
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [1.0, 1.0],
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }


def write_cine_images(
    folder: str | Path,
    stored: np.ndarray,
    positions: np.ndarray,
    trigger_times_ms: np.ndarray | None = None,
    beats_ms: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    uids: Mapping[Frame, str] | None = None,
) -> dict[Frame, Path]:
    """Write a cine as files IM-0001-NNNN.dcm; NNNN, the instance number, counts from 1 through the phases of each slice.

    Args:
        folder: made where it is missing.
        stored: (phases, slices, rows, columns) integers.
        positions: (slices, 3) ImagePositionPatient, rounded to 1 nm.
        trigger_times_ms: (phases, slices), or None for files that do not say.
        beats_ms: length of the heart beat in each slice, likewise.
        names: of the files instead, in the order of their numbers.
        values: of all images, see :func:`write_mr_image`.
        uids: SOPInstanceUID by (phase, slice); random ones without.

    Returns:
        The files by (phase, slice).

    Raises:
        InputError: as :func:`write_mr_image`.
    """
    phases, slices = stored.shape[:2]
    paths: dict[Frame, Path] = {}
    for place in range(slices):
        for phase in range(phases):
            number = place * phases + phase + 1
            own = {
                "InstanceNumber": number,
                "ImagePositionPatient": np.round(positions[place], 6).tolist(),
                "TriggerTime": None if trigger_times_ms is None else round(float(trigger_times_ms[phase, place]), 3),
                "NominalInterval": None if beats_ms is None else round(beats_ms[place]),
                **({"SOPInstanceUID": uids[phase, place]} if uids else {}),
                **(values or {}),
            }
            name = f"IM-0001-{number:04d}.dcm" if names is None else names[number - 1]
            paths[phase, place] = write_mr_image(Path(folder) / name, stored[phase, place], own)
    return paths
