"""One DICOM file: values, header fields, refusals; places in the patient."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import AXIAL, COLUMNS, ROWS, SPACING, oblique, write_mr
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGLosslessSV1, MRImageStorage, RLELossless

from common.cine.reading.dicom import is_dicom, read_frame
from common.cine.reading.geometry import (
    base_to_apex,
    slice_distances,
    slice_normal,
    stack_affine,
    to_index,
    to_patient,
    uneven_slices,
)
from common.errors import InputError
from common.outputs.nifti import lps_to_ras


@pytest.fixture
def stored(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 4000, (ROWS, COLUMNS), dtype=np.uint16)


def test_pixels_keep_rows_and_columns(tmp_path: Path, stored: np.ndarray) -> None:
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored))
    assert frame.pixels.dtype == np.float32
    assert np.array_equal(frame.pixels, stored)
    assert frame.spacing_mm == SPACING


def test_header_fields_are_read(tmp_path: Path, stored: np.ndarray) -> None:
    values = {"TriggerTime": 37.5, "NominalInterval": 800, "InstanceNumber": 21, "ImagePositionPatient": [1.5, -2, 3]}
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, orientation=oblique(), **values))
    assert (frame.trigger_time_ms, frame.nominal_interval_ms, frame.instance_number) == (37.5, 800, 21)
    assert frame.position is not None and frame.position.tolist() == [1.5, -2, 3]
    assert frame.orientation is not None and np.allclose(frame.orientation, oblique())
    assert (frame.study_uid, frame.series_uid, frame.sop_class_uid) == ("1.2.3", "1.2.3.4", MRImageStorage)
    assert (frame.series_description, frame.series_number) == ("cine sax", 3)
    assert (frame.slice_thickness_mm, frame.spacing_between_slices_mm) == (8, 10)


def test_absent_times_and_places_are_none(tmp_path: Path, stored: np.ndarray) -> None:
    absent = dict.fromkeys(["InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"])
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, **absent))
    assert (frame.trigger_time_ms, frame.instance_number, frame.position, frame.orientation) == (None,) * 4


def test_trigger_delay_of_newer_scanners_serves_as_trigger_time(tmp_path: Path, stored: np.ndarray) -> None:
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, NominalCardiacTriggerDelayTime=292.25))
    assert frame.trigger_time_ms == 292.25


def test_no_field_tells_who_the_patient_is(tmp_path: Path, stored: np.ndarray) -> None:
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored))
    text = " ".join(str(getattr(frame, field.name)) for field in fields(frame) if field.name != "path")
    assert "cine sax" in text
    assert not any(secret in text for secret in ("Doe", "Jane", "secret-7", "19700101"))


def test_signed_16_bit_keeps_its_sign(tmp_path: Path) -> None:
    stored = np.array([[-32768, -1, 0], [1, 950, 32767]], dtype=np.int16)
    assert np.array_equal(read_frame(write_mr(tmp_path / "a.dcm", stored)).pixels, stored)


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_do_not_count(tmp_path: Path, signed: bool) -> None:
    values = np.array([[0, 5, 2047], [1, 1000, 3]]) - (1024 if signed else 0)
    written = ((values & 0x0FFF) | 0x3000).astype(np.uint16)  # as by an overlay; of a negative number the sign is lost
    options = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    assert np.array_equal(read_frame(write_mr(tmp_path / "a.dcm", written, **options)).pixels, values)


def test_slope_and_intercept_are_applied(tmp_path: Path, stored: np.ndarray) -> None:
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, RescaleSlope=0.5, RescaleIntercept=-100))
    assert np.allclose(frame.pixels, stored * 0.5 - 100)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_monochrome1_mirrors_the_range_of_the_bits(tmp_path: Path, rng: np.random.Generator, kind: Any) -> None:
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    stored = rng.integers(low, high, (ROWS, COLUMNS), dtype=kind, endpoint=True)
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(frame.pixels, low + high - stored.astype(np.int64))


def test_lossless_compression_changes_nothing(tmp_path: Path, stored: np.ndarray) -> None:
    path = write_mr(tmp_path / "a.dcm", stored)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    assert np.array_equal(read_frame(path).pixels, stored)


def test_missing_decoder_names_the_package(tmp_path: Path, stored: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mr(tmp_path / "a.dcm", stored)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(path)
    decoder = get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    with pytest.raises(InputError, match="JPEG Lossless.*pylibjpeg"):
        read_frame(path)


def test_imager_spacing_serves_where_pixel_spacing_is_missing(tmp_path: Path, stored: np.ndarray) -> None:
    frame = read_frame(write_mr(tmp_path / "a.dcm", stored, PixelSpacing=None, ImagerPixelSpacing=[0.5, 0.7]))
    assert frame.spacing_mm == (0.5, 0.7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelSpacing": None}, "neither PixelSpacing nor ImagerPixelSpacing"),
        ({"PixelSpacing": [0, 0]}, "neither PixelSpacing nor ImagerPixelSpacing"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"Rows": ROWS + 1}, "pixels that cannot be read"),
        ({"SOPInstanceUID": None}, "without pixel data"),
    ],
)
def test_unusable_headers_are_refused_by_name(
    tmp_path: Path, stored: np.ndarray, values: dict[str, Any], message: str
) -> None:
    path = write_mr(tmp_path / "odd.dcm", stored, **values)
    with pytest.raises(InputError, match=f"odd.dcm.*{message}"):
        read_frame(path)


def test_truncation_anywhere_is_refused_by_name(tmp_path: Path, stored: np.ndarray) -> None:
    data = write_mr(tmp_path / "whole.dcm", stored).read_bytes()
    path = tmp_path / "cut.dcm"
    for length in [*range(0, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="cut.dcm"):
            read_frame(path)


@pytest.mark.parametrize("content", [b"", b"x y\n1.5 2.5\n" * 50, b"\0" * 128 + b"DICM" + b"\xff" * 300])
def test_what_is_no_dicom_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "contour.dcm").write_bytes(content)
    with pytest.raises(InputError, match="contour.dcm"):
        read_frame(tmp_path / "contour.dcm")


def test_absent_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_frame(tmp_path / "none.dcm")
    with pytest.raises(InputError, match="a folder"):
        read_frame(tmp_path)


def test_image_without_pixel_data_is_refused(tmp_path: Path, stored: np.ndarray) -> None:
    path = write_mr(tmp_path / "a.dcm", stored)
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(InputError, match="without pixel data"):
        read_frame(path)


def test_dicom_is_told_by_content_or_ending(tmp_path: Path, stored: np.ndarray) -> None:
    without = write_mr(tmp_path / "a.dcm", stored).rename(tmp_path / "IM_0001")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    assert is_dicom(without)
    assert is_dicom(tmp_path / "any.DCM")
    assert not is_dicom(tmp_path / "notes.txt")


# places in the patient


def _positions(count: int, step: np.ndarray) -> np.ndarray:
    return np.array([3.0, -7.0, 11.0]) + np.arange(count)[:, None] * step


@pytest.mark.parametrize("orientation", [AXIAL, oblique(), oblique(-1.1, 2.0)])
def test_affine_takes_first_pixels_to_the_slices_positions(orientation: tuple[float, ...]) -> None:
    positions = _positions(5, 9.0 * slice_normal(np.array(orientation)))
    affine = stack_affine(positions, np.array(orientation), SPACING)
    index = np.stack([np.zeros(5), np.zeros(5), np.arange(5)], axis=1)
    assert np.allclose(to_patient(affine, index), positions)
    assert uneven_slices(positions, np.array(orientation), affine) is None


def test_column_runs_along_the_first_three_cosines_with_the_second_spacing() -> None:
    orientation = np.array(oblique())
    affine = stack_affine(_positions(2, slice_normal(orientation)), orientation, SPACING)
    moved = to_patient(affine, np.array([[4, 0, 0], [0, 6, 0]])) - affine[:3, 3]
    assert np.allclose(moved, [orientation[:3] * 4 * SPACING[1], orientation[3:] * 6 * SPACING[0]])


def test_index_and_patient_coordinates_are_inverse(rng: np.random.Generator) -> None:
    orientation = np.array(oblique())
    affine = stack_affine(_positions(4, 8 * base_to_apex(orientation)), orientation, SPACING)
    index = rng.uniform(-5, 300, (20, 3))
    assert np.allclose(to_index(affine, to_patient(affine, index)), index)


def test_lps_to_ras_is_its_own_inverse_and_turns_x_and_y() -> None:
    affine = stack_affine(_positions(3, np.array([0, 0, 5.0])), np.array(AXIAL), SPACING)
    assert np.allclose(lps_to_ras(lps_to_ras(affine)), affine)
    point = np.array([[2.0, 3.0, 1.0]])
    assert np.allclose(to_patient(lps_to_ras(affine), point), to_patient(affine, point) * [-1, -1, 1])


def test_tilted_stack_has_an_affine_of_its_own() -> None:
    positions = _positions(4, np.array([1.0, 0.5, 8.0]))
    affine = stack_affine(positions, np.array(AXIAL), SPACING)
    assert np.allclose(affine[:3, 2], [1.0, 0.5, 8.0])
    assert uneven_slices(positions, np.array(AXIAL), affine) is None
    assert np.allclose(slice_distances(positions, np.array(AXIAL)), -8)


def test_missing_slice_is_called_uneven_with_its_distances() -> None:
    positions = _positions(6, np.array([0, 0, 8.0]))[[0, 1, 2, 4, 5]]
    affine = stack_affine(positions, np.array(AXIAL), SPACING)
    note = uneven_slices(positions, np.array(AXIAL), affine)
    assert note is not None and "8.00 to 16.00 mm" in note


def test_single_slice_takes_the_given_distance() -> None:
    affine = stack_affine(_positions(1, np.zeros(3)), np.array(oblique()), SPACING, 7.5)
    assert np.allclose(affine[:3, 2], 7.5 * base_to_apex(np.array(oblique())))


def test_apex_lies_left_front_and_down_whichever_way_the_slice_is_turned() -> None:
    orientation = np.array([0.77038, 0.618446, 0.155046, -0.15161, 0.41389, -0.897613])  # a short axis in a patient
    turned = np.concatenate([orientation[3:], orientation[:3]])
    assert np.allclose(base_to_apex(orientation), base_to_apex(turned))
    assert (base_to_apex(orientation) * [1, -1, -1] > 0).all()


def test_skewed_orientation_is_refused() -> None:
    with pytest.raises(ValueError, match="right angle"):
        slice_normal(np.array([1, 0, 0, 0.5, 1, 0]))
