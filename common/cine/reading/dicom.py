"""One DICOM file to pixels and the few header fields that place them in space and time; who the patient is is not read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder

from ...errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")

_EXPECTED = "a DICOM image of one frame"
_MARK, _MARK_AT = b"DICM", 128
_DECODERS = "pip install 'pylibjpeg[all]'"
_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"),
    *("InstanceNumber", "TriggerTime", "NominalCardiacTriggerDelayTime", "NominalInterval"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """A DICOM image of one frame; no field tells who the patient is.

    Attributes:
        path: the file.
        pixels: (rows, columns) float32 after the rescale slope and intercept, more being brighter: MONOCHROME1 is
            inverted within the range of its stored bits, so that all frames of a series are inverted alike.
        spacing_mm: between rows, between columns.
        position: (3,) ImagePositionPatient, centre of the first pixel in mm (LPS), None where the file does not say.
        orientation: (6,) ImageOrientationPatient, direction cosines along a row, then along a column, or None.
        trigger_time_ms: time since the R peak, or None.
        nominal_interval_ms: length of a heart beat, or None.
        instance_number: its number within the series, or None.
        sop_instance_uid, sop_class_uid, series_uid, study_uid: the last two are "" where the file does not say.
        series_number: number of the series within the study, or None.
        series_description: as the operator of the scanner wrote it.
        slice_thickness_mm, spacing_between_slices_mm: as the header says, or None.
    """

    path: Path
    pixels: np.ndarray
    spacing_mm: tuple[float, float]
    position: np.ndarray | None
    orientation: np.ndarray | None
    trigger_time_ms: float | None
    nominal_interval_ms: float | None
    instance_number: int | None
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    series_number: int | None
    series_description: str
    slice_thickness_mm: float | None
    spacing_between_slices_mm: float | None


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, by its ending or by the mark after its first 128 bytes."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(_MARK_AT + len(_MARK))[_MARK_AT:] == _MARK


def read_frame(path: str | Path) -> DicomFrame:
    """Read one DICOM image.

    Raises:
        InputError: the file is absent, no DICOM, truncated, without pixel data, of several frames or in colour, without
            PixelSpacing and ImagerPixelSpacing, holds a number that is none, or is compressed in a way for which no
            decoder is installed (the message names the package).
    """
    path = Path(path)
    dataset = _dataset(path)
    _check(dataset, path)
    position, orientation = (
        _vector(dataset, path, keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6))
    )
    trigger = _number(dataset, path, "TriggerTime")
    if trigger is None and "NominalCardiacTriggerDelayTime" in dataset:
        trigger = _finite(dataset["NominalCardiacTriggerDelayTime"].value)
    instance, series_number = (_number(dataset, path, keyword) for keyword in ("InstanceNumber", "SeriesNumber"))
    return DicomFrame(
        path=path,
        pixels=_pixels(dataset, path),
        spacing_mm=_spacing(dataset, path),
        position=position,
        orientation=orientation,
        trigger_time_ms=trigger,
        nominal_interval_ms=_number(dataset, path, "NominalInterval"),
        instance_number=None if instance is None else int(instance),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        sop_class_uid=_text(dataset, "SOPClassUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_number=None if series_number is None else int(series_number),
        series_description=str(dataset.get("SeriesDescription") or "").strip(),
        slice_thickness_mm=_number(dataset, path, "SliceThickness"),
        spacing_between_slices_mm=_number(dataset, path, "SpacingBetweenSlices"),
    )


def _dataset(path: Path) -> Dataset:
    if not path.is_file():
        raise InputError(path, "a folder" if path.is_dir() else "no such file", _EXPECTED)
    try:
        # Read whole, in one go: pydicom takes over a hundred small reads per file.
        return pydicom.dcmread(BytesIO(path.read_bytes()), specific_tags=list(_KEYWORDS))
    except InvalidDicomError as error:
        raise InputError(path, "no DICOM (no DICM mark after the first 128 bytes)", _EXPECTED) from error
    except OSError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror or error})", _EXPECTED) from error
    except Exception as error:  # pydicom raises exceptions of many kinds on damaged files
        raise InputError(path, f"a damaged DICOM file ({error})", _EXPECTED) from error


def _check(dataset: Dataset, path: Path) -> None:
    if not _text(dataset, "SOPInstanceUID") or "PixelData" not in dataset:
        raise InputError(path, "a DICOM file without pixel data, or cut short before it", _EXPECTED)
    frames, samples, bits = (
        int(dataset.get(keyword) or 1) for keyword in ("NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
    )
    if frames != 1:
        raise InputError(path, f"an image of {frames} frames", "one file per frame (classic, not enhanced, DICOM)")
    if samples != 1:
        raise InputError(path, f"a colour image ({samples} samples per pixel)", "a grey image")
    if bits not in (8, 16, 32):
        raise InputError(path, f"pixels of {bits} bits", "8, 16 or 32 bits")


def _pixels(dataset: Dataset, path: Path) -> np.ndarray:
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    compressed = syntax is not None and syntax.is_compressed
    if syntax is not None and compressed and not _can_decode(syntax):
        raise InputError(path, f"pixels compressed as {syntax.name}", f"an installed decoder for them: {_DECODERS}")
    try:
        stored = dataset.pixel_array
        shape = (int(dataset.Rows), int(dataset.Columns))
        bits, allocated = int(dataset.BitsStored), stored.dtype.itemsize * 8
    except Exception as error:  # decoders raise exceptions of many kinds
        hint = f", or another decoder ({_DECODERS})" if compressed else ""
        raise InputError(
            path, f"pixels that cannot be read ({str(error).splitlines()[0]})", f"an intact file{hint}"
        ) from error
    if stored.shape != shape or not stored.size:
        raise InputError(path, f"pixels of shape {stored.shape}", f"{shape[0]} rows x {shape[1]} columns")
    if stored.dtype.kind in "iu" and 0 < bits < allocated:
        # pydicom leaves the unused high bits as they are; in some files overlays lie there, or no copy of the sign.
        stored = (stored << (allocated - bits)) >> (allocated - bits)
    values = stored.astype(np.float32)
    if _text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        # Lowest and highest value that fit: -(2**(bits - 1)) and 2**(bits - 1) - 1 with a sign, 0 and 2**bits - 1 without.
        values = (np.float32(-1) if stored.dtype.kind == "i" else np.float32(2**bits - 1)) - values
    slope, intercept = (_number(dataset, path, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    return values * np.float32(1 if slope is None else slope) + np.float32(intercept or 0)


def _can_decode(syntax: pydicom.uid.UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _spacing(dataset: Dataset, path: Path) -> tuple[float, float]:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = _vector(dataset, path, keyword, 2)
        if values is not None and (values > 0).all():
            return float(values[0]), float(values[1])
    raise InputError(path, "neither PixelSpacing nor ImagerPixelSpacing", "the size of a pixel in mm")


def _text(dataset: Dataset, keyword: str) -> str:
    """An element of ASCII text as it is stored: pydicom's conversion warns about every UID of an anonymised file."""
    if keyword not in dataset:
        return ""
    value = dataset.get_item(keyword).value
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")


def _vector(dataset: Dataset, path: Path, keyword: str, count: int) -> np.ndarray | None:
    text = _text(dataset, keyword)
    if not text:
        return None
    values = [_finite(part) for part in text.split("\\")]
    if len(values) != count or None in values:
        raise InputError(path, f"{keyword} {text!r}", f"{count} number{'s' if count > 1 else ''}")
    return np.array(values, dtype=np.float64)


def _number(dataset: Dataset, path: Path, keyword: str) -> float | None:
    values = _vector(dataset, path, keyword, 1)
    return None if values is None else float(values[0])


def _finite(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
