"""Class maps as DICOM Segmentation objects that refer to the images they were drawn on (DICOM PS3.3 A.51).

One object holds one phase: a frame of a segmentation is told from the others by its segment and its place, and highdicom
refuses two at one place. The phases of a study share one series and are numbered by their instance number.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from ... import __version__
from ...errors import InputError
from ...outputs.files import atomic

_NAME = "medbundles"
_SEGMENTS = (
    # Label, property type and colour of class 1, 2, ... The dictionary of codes has no cavity of a ventricle; the left
    # ventricle inside its wall is what the standard's type "Left ventricle" stands for beside the myocardium's own.
    ("Left ventricular cavity", codes.SCT.LeftVentricle),
    ("Left ventricular myocardium", codes.SCT.LeftVentricleMyocardium),
)
# Attributes of type 2 (PS3.3 C.7: present, may be empty) that highdicom takes from the source, and which values it takes.
_MAY_BE_EMPTY: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("PatientID", "PatientName", "AccessionNumber", "StudyID"), lambda value: True),
    **dict.fromkeys(("PatientBirthDate", "StudyDate"), lambda value: _is(DA, value)),
    "StudyTime": lambda value: _is(TM, value),
    "PatientSex": lambda value: value in ("", "M", "F", "O"),
}


@dataclass(frozen=True)
class SegmentationSeries:
    """What the segmentations of one study have in common.

    Attributes:
        series_uid: of the new series.
        series_number: of the new series; viewers sort by it.
        algorithm: name of what drew the segments, such as that of the bundle.
        version: its version.
    """

    series_uid: str
    series_number: int
    algorithm: str
    version: str


def write_dicom_segs(
    folder: str | Path,
    stem: str,
    sources: Sequence[Sequence[str | Path]],
    labels: np.ndarray,
    algorithm: str,
    version: str,
    series_number: int = 9001,
) -> list[Path]:
    """Writes ``<stem>_seg_phase01.dcm`` and so on for every phase that has a segment, each whole or not at all.

    Args:
        folder: made where it is missing.
        stem: start of the file names.
        sources: DICOM file of each frame, [phase][slice].
        labels: (phases, slices, rows, columns) classes, 0 background, 1 cavity, 2 myocardium.
        algorithm, version: what drew them.
        series_number: of the new series.

    Returns:
        The files that were written.

    Raises:
        as :func:`write_dicom_seg`.
    """
    series = SegmentationSeries(generate_uid(prefix=None), series_number, algorithm, version)
    digits = max(2, len(str(len(labels))))
    written: list[Path] = []
    for number, (files, classes) in enumerate(zip(sources, labels, strict=True), start=1):
        path = Path(folder) / f"{stem}_seg_phase{number:0{digits}d}.dcm"
        if write_dicom_seg(path, files, classes, series, number, f"phase {number} of {len(labels)}"):
            written.append(path)
    return written


def write_dicom_seg(
    path: str | Path,
    sources: Sequence[str | Path],
    labels: np.ndarray,
    series: SegmentationSeries,
    instance_number: int = 1,
    description: str = "",
) -> bool:
    """Writes the class maps of one phase as a binary DICOM segmentation by highdicom, whole or not at all.

    Every frame refers to the source instance that it lies on, with that instance's position; frames without a segment are
    left out. The segments are coded in SNOMED CT (left ventricle 87878005, left ventricle myocardium 49848007) and were
    drawn automatically.

    Identifying tags: as the standard demands of a derived object, highdicom copies the patient and study modules (name,
    identifier, birth date, accession number, ...) from the first source image; nothing is taken away. What breaks the
    standard there, such as the dates that anonymisers leave (00000000), becomes empty.

    One segmentation has one series of source images, one frame of reference and one orientation. Where the sources differ
    in them (a series per slice, an anonymiser that gave every file its own frame of reference, rounding), those of the
    first are used; the references to the source series stay true.

    Args:
        path: ends in .dcm.
        sources: DICOM file of each slice; all of one study, at different places.
        labels: (slices, rows, columns) classes, 0 background, 1 cavity, 2 myocardium.
        series: what all segmentations of the study share.
        instance_number: number within the series, from 1.
        description: content description, at most 64 characters.

    Returns:
        Whether there was a segment; without one nothing is written.

    Raises:
        ValueError: labels of another shape, or other classes.
        InputError: highdicom is not installed, a source cannot be read, the sources do not fit together or the labels, or
            the folder cannot be written.
    """
    highdicom = _highdicom()
    labels = np.asarray(labels)
    if labels.ndim != 3 or len(labels) != len(sources) or labels.dtype.kind not in "iu" or not sources:
        raise ValueError(
            f"labels are (slices, rows, columns) integers, found {labels.shape} of {labels.dtype} for {len(sources)} sources"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() <= len(_SEGMENTS):
        raise ValueError(f"classes are 0 to {len(_SEGMENTS)}, found {labels.min()} to {labels.max()}")
    if not labels.any():
        return False
    # The values of anonymised files often break the rules (UIDs, dates), which need not be said once per file.
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom would print an unusual name of the patient
        datasets = [_header(Path(source)) for source in sources]
        true_series = [str(dataset.SeriesInstanceUID) for dataset in datasets]
        _made_alike(datasets)
        try:
            segmentation = _segmentation(highdicom, datasets, labels, series, instance_number, description)
        except (ValueError, TypeError, AttributeError) as error:
            expected = "slices of one study at different places, as large as the labels"
            raise InputError(sources[0], f"images that cannot be referred to ({error})", expected) from error
        _refer_to_series(segmentation, datasets, true_series)
        with atomic(path) as temporary:
            segmentation.save_as(temporary)
    return True


def _is(kind: Callable[[str], object], value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


def _highdicom() -> ModuleType:
    try:
        import highdicom
    except ImportError as error:
        found = "the package highdicom is not installed"
        raise InputError("DICOM-SEG", found, "it for this output: pip install highdicom") from error
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it tells of every attribute that it copies
    return highdicom


def _header(path: Path) -> Dataset:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient"):
            if keyword not in dataset:
                raise ValueError(f"no {keyword}")
    except Exception as error:  # pydicom raises exceptions of many kinds on damaged files
        raise InputError(path, f"no source image ({error})", "a DICOM image with a place in the patient") from error
    for keyword, allowed in _MAY_BE_EMPTY.items():
        if keyword not in dataset or not allowed(str(dataset[keyword].value or "")):
            setattr(dataset, keyword, "")
    return dataset


def _made_alike(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    if "FrameOfReferenceUID" not in first:
        first.FrameOfReferenceUID = generate_uid(prefix=None)
    for dataset in datasets[1:]:
        for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "ImageOrientationPatient"):
            setattr(dataset, keyword, first[keyword].value)


def _segmentation(
    highdicom: ModuleType,
    datasets: Sequence[Dataset],
    labels: np.ndarray,
    series: SegmentationSeries,
    instance_number: int,
    description: str,
) -> Any:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=series.algorithm, version=series.version, family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=kind,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, (label, kind) in enumerate(_SEGMENTS, start=1)
    ]
    return highdicom.seg.Segmentation(
        source_images=datasets,
        pixel_array=np.ascontiguousarray(labels, dtype=np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=series.series_uid,
        series_number=series.series_number,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=instance_number,
        manufacturer=_NAME,
        manufacturer_model_name=series.algorithm,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LEFT_VENTRICLE",
        content_description=description or None,
        series_description="Left ventricle",
    )


def _refer_to_series(segmentation: Dataset, datasets: Sequence[Dataset], true_series: Sequence[str]) -> None:
    """The references by series as they are in the files (highdicom saw one series)."""
    items: list[Dataset] = []
    for uid in dict.fromkeys(true_series):
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = [
            _reference(dataset) for dataset, series in zip(datasets, true_series, strict=True) if series == uid
        ]
        items.append(item)
    segmentation.ReferencedSeriesSequence = items


def _reference(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return item
