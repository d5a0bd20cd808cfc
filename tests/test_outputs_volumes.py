"""NIfTI and DICOM-SEG: the same values at the same place in the patient as the images they belong to."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicoms import AXIAL, COLUMNS, PHASES, ROWS, SLICES, SPACING, oblique, write_cine

from common.cine.output.dicom_seg import SegmentationSeries, write_dicom_seg, write_dicom_segs
from common.cine.reading.geometry import stack_affine
from common.cine.reading.study import CineStudy, read_studies
from common.errors import InputError
from common.outputs.nifti import read_nifti, write_nifti

MARKED = (3, 2, 7, 11)  # phase, slice, row, column


@pytest.fixture(params=[AXIAL, oblique(), oblique(2.5, -0.4)], ids=["axial", "oblique", "turned"])
def study(tmp_path: Path, request: pytest.FixtureRequest) -> CineStudy:
    write_cine(tmp_path / "source", orientation=request.param)
    return read_studies(tmp_path / "source")[0]


def marked_labels(study: CineStudy) -> np.ndarray:
    labels = np.zeros(study.pixels.shape, np.uint8)
    labels[MARKED] = 1
    return labels


def in_patient(study: CineStudy) -> np.ndarray:
    """Patient coordinates of the marked pixel by the header of its source file alone (PS3.3 C.7.6.2.1.1)."""
    phase, place, row, column = MARKED
    header = pydicom.dcmread(study.sources[phase][place].path)
    return _by_header(header.ImagePositionPatient, header.ImageOrientationPatient, header.PixelSpacing, row, column)


def _by_header(position: list, orientation: list, spacing: list, row: int, column: int) -> np.ndarray:
    along_row, along_column = np.array(orientation, float).reshape(2, 3)
    return np.array(position, float) + along_row * float(spacing[1]) * column + along_column * float(spacing[0]) * row


# NIfTI


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_has_the_marked_voxel_at_the_place_of_the_source(tmp_path: Path, study: CineStudy, ending: str) -> None:
    write_nifti(tmp_path / f"a{ending}", marked_labels(study), study.affine, study.time_step_ms)
    image = nib.load(tmp_path / f"a{ending}")
    [[x, y, z, t]] = np.argwhere(np.asanyarray(image.dataobj))
    assert t == MARKED[0]
    for affine in (image.get_sform(), image.get_qform()):
        right, front, up, _ = affine @ [x, y, z, 1]
        assert np.allclose([-right, -front, up], in_patient(study), atol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, bool, np.int64])
@pytest.mark.parametrize("axes", [3, 4])
def test_nifti_reads_back_equal(tmp_path: Path, rng: np.random.Generator, kind: type, axes: int) -> None:
    pixels = rng.integers(0, 3, (PHASES, SLICES, ROWS, COLUMNS)[-axes:]).astype(kind)
    affine = stack_affine(np.array([[0, 1, 2], [3, 1, 9.5]]), np.array(oblique()), SPACING)
    write_nifti(tmp_path / "a.nii.gz", pixels, affine, 37.5)
    found = read_nifti(tmp_path / "a.nii.gz")
    assert np.array_equal(found.pixels, pixels.reshape(-1, *pixels.shape[-3:]))
    assert found.pixels.dtype.kind == np.dtype(kind).kind or kind is bool
    assert np.allclose(found.affine, affine, atol=1e-4)
    assert found.spacing_mm == pytest.approx(SPACING)
    assert found.slice_distance_mm == pytest.approx(np.hypot(3, 7.5))
    assert found.time_step_ms == (pytest.approx(37.5) if axes == 4 else None)


def test_nifti_header_says_units_spacing_and_scanner_coordinates(tmp_path: Path, study: CineStudy) -> None:
    write_nifti(tmp_path / "a.nii.gz", study.pixels, study.affine, study.time_step_ms)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert np.allclose(header.get_zooms(), [SPACING[1], SPACING[0], 10, 0.163], atol=1e-5)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_tilted_stack_keeps_its_affine_and_claims_no_qform(tmp_path: Path) -> None:
    affine = stack_affine(np.array([[0, 0, 0], [3, 0, 8.0]]), np.array(AXIAL), SPACING)
    write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8), affine)
    assert np.allclose(read_nifti(tmp_path / "a.nii").affine, affine)
    assert int(nib.load(tmp_path / "a.nii").header["qform_code"]) == 0


def test_nifti_of_other_units_comes_in_mm_and_ms(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 3, 2, 5), np.uint8), np.diag([0.001, 0.002, 0.01, 1]))
    image.header.set_xyzt_units("meter", "msec")
    image.header.set_zooms((0.001, 0.002, 0.01, 40))
    nib.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii")
    assert found.pixels.shape == (5, 2, 3, 4)
    assert found.spacing_mm == pytest.approx((2, 1))
    assert (found.slice_distance_mm, found.time_step_ms) == (pytest.approx(10), pytest.approx(40))


def test_same_stack_gives_same_bytes_and_nothing_else_in_the_folder(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, pixels, np.eye(4))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_unfit_stacks_are_no_nifti(tmp_path: Path) -> None:
    for pixels, name in [
        (np.zeros((3, 4), np.uint8), "a.nii"),
        (np.zeros((2, 3, 4), complex), "a.nii"),
        (np.zeros((2, 3, 4), np.uint8), "a.dcm"),
        (np.full((2, 3, 4), 2**40), "a.nii"),
    ]:
        with pytest.raises(ValueError):
            write_nifti(tmp_path / name, pixels, np.eye(4))
    assert not list(tmp_path.iterdir())


def test_damaged_and_absent_nifti_are_refused_by_name(tmp_path: Path, rng: np.random.Generator) -> None:
    write_nifti(tmp_path / "whole.nii.gz", rng.integers(0, 9, (4, 20, 20), dtype=np.int16), np.eye(4))
    data = (tmp_path / "whole.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.nii").write_text("no image", encoding="utf-8")
    for name in ("cut.nii.gz", "text.nii", "none.nii"):
        with pytest.raises(InputError, match=name):
            read_nifti(tmp_path / name)


# DICOM-SEG


@pytest.fixture
def highdicom() -> object:
    return pytest.importorskip("highdicom", reason="highdicom is an optional extra")


def files(study: CineStudy) -> list[list[Path]]:
    return [[source.path for source in row] for row in study.sources]


def test_segmentation_has_the_marked_pixel_at_the_place_of_the_source(
    tmp_path: Path, study: CineStudy, highdicom: object
) -> None:
    [path] = write_dicom_segs(tmp_path / "out", "case", files(study), marked_labels(study), "cardiac", "0.1")
    segmentation = pydicom.dcmread(path)
    assert path.name == "case_seg_phase04.dcm"
    assert segmentation.NumberOfFrames == 1
    [shared], [frame] = segmentation.SharedFunctionalGroupsSequence, segmentation.PerFrameFunctionalGroupsSequence
    [[row, column]] = np.argwhere(segmentation.pixel_array.reshape(ROWS, COLUMNS))
    place = _by_header(
        frame.PlanePositionSequence[0].ImagePositionPatient,
        shared.PlaneOrientationSequence[0].ImageOrientationPatient,
        shared.PixelMeasuresSequence[0].PixelSpacing,
        row,
        column,
    )
    assert np.allclose(place, in_patient(study), atol=1e-4)
    reference = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert reference == study.sources[MARKED[0]][MARKED[1]].sop_instance_uid


def test_segmentation_read_by_highdicom_is_what_was_drawn(
    tmp_path: Path, study: CineStudy, highdicom: object, rng: np.random.Generator
) -> None:
    import highdicom as hd

    labels = rng.integers(0, 3, study.pixels.shape, dtype=np.uint8)
    labels[:, 1] = 0  # a slice without a segment
    labels[1, 3][labels[1, 3] == 2] = 0  # a slice without myocardium
    paths = write_dicom_segs(tmp_path, "case", files(study), labels, "cardiac", "0.1")
    assert len(paths) == PHASES
    segmentations = [hd.seg.segread(path) for path in paths]
    for phase, segmentation in enumerate(segmentations):
        uids = [source.sop_instance_uid for source in study.sources[phase]]
        found = segmentation.get_pixels_by_source_instance(
            uids, combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(found, labels[phase])
        assert segmentation.NumberOfFrames == sum((labels[phase] == c).any((1, 2)).sum() for c in (1, 2))
        assert {uid for _, _, uid in segmentation.get_source_image_uids()} == set(uids)
        assert segmentation.InstanceNumber == phase + 1
    assert len({segmentation.SeriesInstanceUID for segmentation in segmentations}) == 1
    assert len({segmentation.SOPInstanceUID for segmentation in segmentations}) == PHASES


def test_segments_are_coded_and_automatic(tmp_path: Path, study: CineStudy, highdicom: object) -> None:
    import highdicom as hd

    [path] = write_dicom_segs(tmp_path, "case", files(study), marked_labels(study), "cardiac", "0.1")
    segmentation = hd.seg.segread(path)
    cavity, myocardium = (segmentation.get_segment_description(number) for number in (1, 2))
    assert segmentation.number_of_segments == 2
    assert (cavity.segment_label, myocardium.segment_label) == (
        "Left ventricular cavity",
        "Left ventricular myocardium",
    )
    assert (cavity.segmented_property_type.value, myocardium.segmented_property_type.value) == ("87878005", "49848007")
    assert cavity.segmented_property_type.scheme_designator == "SCT"
    assert cavity.algorithm_type == myocardium.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    assert segmentation.Modality == "SEG" and segmentation.StudyInstanceUID == study.study_uid


def test_phases_without_a_segment_are_not_written(tmp_path: Path, study: CineStudy, highdicom: object) -> None:
    labels = marked_labels(study)
    assert len(write_dicom_segs(tmp_path / "out", "case", files(study), labels, "cardiac", "0.1")) == 1
    assert write_dicom_segs(tmp_path / "none", "case", files(study), labels * 0, "cardiac", "0.1") == []
    assert not (tmp_path / "none").exists()


def test_anonymised_series_of_one_slice_each_are_referred_to_as_they_are(tmp_path: Path, highdicom: object) -> None:
    paths = write_cine(tmp_path / "source", orientation=oblique())
    for number, ((_, place), path) in enumerate(paths.items()):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"1.2.3.{50 + place}"
        dataset.FrameOfReferenceUID = f"1.2.3.4.{number}"
        dataset.StudyDate, dataset.PatientBirthDate, dataset.PatientSex = "20120000", "00000000", "?"
        dataset.PatientName = "SCD0000101"
        dataset.save_as(path)
    [study] = read_studies(tmp_path / "source")
    labels = np.ones(study.pixels.shape, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # highdicom's warning about a name would print it
        written = write_dicom_segs(tmp_path, "a", files(study), labels, "cardiac", "0.1")
    segmentation = pydicom.dcmread(written[0])
    referred = {
        item.SeriesInstanceUID: [image.ReferencedSOPInstanceUID for image in item.ReferencedInstanceSequence]
        for item in segmentation.ReferencedSeriesSequence
    }
    assert referred == {source.series_uid: [source.sop_instance_uid] for source in study.sources[0]}
    assert not segmentation.StudyDate and not segmentation.PatientBirthDate and not segmentation.PatientSex


SERIES = SegmentationSeries("1.2.9", 9, "cardiac", "0.1")


def test_labels_that_do_not_fit_are_refused(tmp_path: Path, study: CineStudy, highdicom: object) -> None:
    sources = files(study)[0]
    for labels in (np.ones((SLICES, ROWS), np.uint8), np.ones((1, ROWS, COLUMNS), np.uint8), np.full((4, 9, 9), 3)):
        with pytest.raises(ValueError):
            write_dicom_seg(tmp_path / "a.dcm", sources, labels, SERIES)
    with pytest.raises(InputError, match="as large as the labels"):
        write_dicom_seg(tmp_path / "a.dcm", sources, np.ones((SLICES, ROWS, COLUMNS + 1), np.uint8), SERIES)
    with pytest.raises(InputError, match="different places"):
        write_dicom_seg(tmp_path / "a.dcm", sources[:1] * 2, np.ones((2, ROWS, COLUMNS), np.uint8), SERIES)
    (tmp_path / "text.dcm").write_text("no DICOM", encoding="utf-8")
    with pytest.raises(InputError, match="text.dcm"):
        write_dicom_seg(tmp_path / "a.dcm", [tmp_path / "text.dcm"], np.ones((1, ROWS, COLUMNS), np.uint8), SERIES)
    assert not (tmp_path / "a.dcm").exists()


def test_missing_highdicom_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match="pip install highdicom"):
        write_dicom_seg(tmp_path / "a.dcm", [tmp_path / "b.dcm"], np.ones((1, 2, 2), np.uint8), SERIES)


@pytest.mark.data
def test_sunnybrook_gets_segmentations_although_its_headers_are_damaged(
    tmp_path: Path, real_data: Path, highdicom: object
) -> None:
    import highdicom as hd

    [study] = read_studies(real_data / "sunnybrook" / "SCD0000301" / "CINESAX_5")
    labels = np.zeros(study.pixels.shape, np.uint8)
    labels[:, 2:8, 100:140, 110:150] = 2
    labels[:, 2:8, 110:130, 120:140] = 1
    paths = write_dicom_segs(tmp_path, "case", files(study), labels, "cardiac", "0.1")
    for path, classes, sources in zip(paths, labels, study.sources, strict=True):
        segmentation = hd.seg.segread(path)
        assert segmentation.NumberOfFrames == 12
        uids = [source.sop_instance_uid for source in sources]
        found = segmentation.get_pixels_by_source_instance(
            uids, combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(found, classes)
