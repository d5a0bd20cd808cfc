"""Each layout of the Sunnybrook data is found, contours find their image, and what is left alone is named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.datasets import sunnybrook
from common.datasets.contours import contour_to_mask, write_contour
from common.datasets.lv_labels import read_lv_label
from common.datasets.records import load_datalist
from common.datasets.sunnybrook import challenge_group, patient_name, records
from common.errors import InputError, Problem

SHAPE = (40, 48)
PART3 = "Sunnybrook Cardiac MR Database ContoursPart3/TrainingDataContours"


def _circle(radius: float, centre: tuple[float, float] = (24.0, 19.0)) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1)


def _contour(base: Path, patient: str, number: int, kind: str = "i", points: np.ndarray | None = None) -> Path:
    path = base / patient / "contours-manual" / "IRCCI-expert" / f"IM-0001-{number:04d}-{kind}contour-manual.txt"
    write_contour(path, _circle({"i": 8, "o": 12}.get(kind, 2)) if points is None else points)
    return path


def _dicom(folder: Path, numbers: list[int], series: int = 4, **tags: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{series}.{number}"
        data.PatientName, data.InstanceNumber, data.PixelSpacing = "DOE^JANE", number, [1.5, 1.25]
        for name, value in tags.items():
            setattr(data, name, value)
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.save_as(folder / f"IM-{series:04d}-{number:04d}.dcm", enforce_file_format=True)


def _png(path: Path, mask: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros(SHAPE, np.uint8) if mask is None else mask.astype(np.uint8) * 255)


def _reasons(problems: list[Problem]) -> str:
    return "\n".join(f"{problem.name}: {problem.reason}" for problem in problems)


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """One patient: instances 7, 20, 27, 40, of which 20 and 40 (phase 20) have both lines and 7 the inner one."""
    root = tmp_path / "data"
    _dicom(root / "challenge_training" / "SC-HF-I-1", [7, 20, 27, 40])
    for number in (7, 20, 40):
        _contour(root / PART3, "SC-HF-I-01", number)
    for number in (20, 40):
        _contour(root / PART3, "SC-HF-I-01", number, "o")
    _contour(root / PART3, "SC-HF-I-01", 40, "p1")
    return root


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    _dicom(root / "SCD0000301" / "CINESAX_5", [7, 20], series=5)
    _dicom(root / "SCD0000301" / "CINELAX_6", [7, 20], series=6)
    _contour(root / "SCD_ManualContours", "SC-HF-I-04", 20)
    (root / "scd_patientdata.csv").write_text("PatientID,OriginalID,Gender\nSCD0000301,SC-HF-I-4,Male\n")
    return root


@pytest.fixture
def png(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for number, moment in ((20, "ed"), (27, "es")):
        name = f"SC-N-05-IM-0001-{number:04d}.png"
        _png(root / "png" / "images" / name)
        _png(root / "png" / "endocardium" / name, contour_to_mask(_circle(8), SHAPE, True))
        if moment == "ed":
            _png(root / "png" / "epicardium" / name, contour_to_mask(_circle(12), SHAPE, True))
    (root / "patients.csv").write_text(
        "patient,challenge_group,dx_mm,dy_mm,dz_mm,ed_phase,es_phase\nSC-N-5,validation,1.25,1.5,8.0,20,7\n"
    )
    return root


def test_contours_find_the_images_of_the_challenge_by_instance_number(challenge: Path) -> None:
    problems: list[Problem] = []
    first, second, third = records(challenge, problems=problems)
    assert first == {
        "name": "SC-HF-I-01-IM-0001-0007",
        "image": str(challenge / "challenge_training" / "SC-HF-I-1" / "IM-0004-0007.dcm"),
        "label": str(
            challenge / PART3 / "SC-HF-I-01" / "contours-manual" / "IRCCI-expert" / "IM-0001-0007-icontour-manual.txt"
        ),
        "epicardium": None,
        "group": "SC-HF-I-01",
        "instance": 7,
        "phase": 7,
        "slice": 0,
        "moment": "es",
        "spacing_mm": [1.5, 1.25],
        "slice_distance_mm": None,
        "challenge_group": "training",
        "modality": "cine_mr",
    }
    assert (second["phase"], second["slice"], third["phase"], third["slice"]) == (20, 0, 20, 1)
    assert second["moment"] == third["moment"] == "ed"
    assert third["epicardium"].endswith("IM-0001-0040-ocontour-manual.txt")
    assert _reasons(problems).startswith("SC-HF-I-01: 1 of 4 images without contour")
    assert len(problems) == 1


@pytest.mark.parametrize("inner", ["challenge_training", "challenge_training/SC-HF-I-1"])
def test_contours_beside_the_folder_are_found(challenge: Path, inner: str) -> None:
    _contour(challenge / PART3, "SC-N-02", 3)
    problems: list[Problem] = []
    found = records(challenge / inner, problems=problems)
    assert found == records(challenge)
    assert "SC-N-02" not in _reasons(problems), "other patients' contours beside the folder are none of its business"


def test_without_labels_every_image_is_listed(challenge: Path) -> None:
    found = records(challenge, need_labels=False)
    assert [record["instance"] for record in found] == [7, 20, 27, 40]
    assert found[2]["label"] is None


def test_atlas_patients_get_their_code_from_the_table(atlas: Path) -> None:
    (record,) = records(atlas)
    assert record["group"] == "SC-HF-I-04"
    assert record["image"].endswith("SCD0000301/CINESAX_5/IM-0005-0020.dcm"), "the long axis is another series"
    assert records(atlas / "SCD0000301") == [record], "table and contours lie above"
    assert "Male" not in json.dumps(record)


def test_atlas_series_without_table_is_named(atlas: Path) -> None:
    (atlas / "scd_patientdata.csv").unlink()
    with pytest.raises(InputError, match=r"scd_patientdata\.csv"):
        records(atlas)
    problems: list[Problem] = []
    assert records(atlas, problems=problems) == []
    assert "SCD0000301" in problems[0].name


@pytest.mark.parametrize("inner", ["", "png"])
def test_png_records_have_the_table_of_patients(png: Path, inner: str) -> None:
    first, second = records(png / inner)
    assert (first["spacing_mm"], first["slice_distance_mm"]) == ([1.5, 1.25], 8.0)
    assert [first["moment"], second["moment"]] == ["ed", "es"]
    assert first["epicardium"] is not None
    assert second["epicardium"] is None
    assert first["challenge_group"] == "validation"


def test_a_slice_in_two_layouts_is_taken_once_with_the_finer_truth(png: Path) -> None:
    _dicom(png / "challenge_validation" / "SC-N-5", [20, 27])
    text = _contour(png / "SCD_ManualContours", "SC-N-05", 20)
    first, second = records(png)
    assert first["image"].endswith(".png")
    assert first["label"] == str(text)
    assert second["label"].endswith(".png")


def test_records_go_into_json_and_their_names_are_unique(challenge: Path, atlas: Path, png: Path) -> None:
    assert challenge == atlas == png, "three layouts in one folder"
    found = records(png)
    assert json.loads(json.dumps(found)) == found
    assert len({record["name"] for record in found}) == len(found) == 6
    assert found == sorted(found, key=lambda record: record["name"])
    assert "DOE" not in json.dumps(found)


def test_layouts_are_recognised_and_others_are_not(challenge: Path, tmp_path: Path) -> None:
    assert sunnybrook.matches(challenge)
    assert sunnybrook.matches(challenge / "challenge_training" / "SC-HF-I-1")
    assert not sunnybrook.matches(challenge / PART3), "contours alone"
    other = tmp_path / "other"
    for part in ("images", "masks", "endocardium"):
        _png(other / part / "a.png")
    assert not sunnybrook.matches(other)
    assert not sunnybrook.matches(other / "images" / "a.png")


def test_contour_without_image_is_named(challenge: Path) -> None:
    _contour(challenge / PART3, "SC-HF-I-01", 60)
    with pytest.raises(InputError, match="instance number 60"):
        records(challenge)
    problems: list[Problem] = []
    assert len(records(challenge, problems=problems)) == 3
    assert "SC-HF-I-01-IM-0001-0060" in [problem.name for problem in problems]


def test_contours_of_an_absent_patient_are_counted_and_stop_nothing(challenge: Path) -> None:
    for number in (7, 20):
        _contour(challenge / PART3, "SC-N-02", number)
    assert len(records(challenge)) == 3
    problems: list[Problem] = []
    records(challenge, problems=problems)
    assert "SC-N-02: 2 contours of a patient without any image" in _reasons(problems)


def test_unusable_contour_leaves_out_its_slice_and_unusable_epicardium_only_itself(challenge: Path) -> None:
    folder = challenge / PART3 / "SC-HF-I-01" / "contours-manual" / "IRCCI-expert"
    (folder / "IM-0001-0007-icontour-manual.txt").write_text("1 2\nx y\n")
    (folder / "IM-0001-0020-ocontour-manual.txt").write_text("1 2\n3 4\n")
    with pytest.raises(InputError, match="line 2"):
        records(challenge)
    problems: list[Problem] = []
    first, second = records(challenge, problems=problems)
    assert (first["instance"], first["epicardium"], second["instance"]) == (20, None, 40)
    assert second["epicardium"] is not None
    assert {"SC-HF-I-01-IM-0001-0007", "SC-HF-I-01-IM-0001-0020 (epicardium)"} <= {p.name for p in problems}


def test_contour_that_crosses_itself_is_named_and_kept(challenge: Path) -> None:
    _contour(challenge / PART3, "SC-HF-I-01", 7, points=np.array([[5.0, 5], [15, 15], [15, 5], [5, 15]]))
    problems: list[Problem] = []
    assert len(records(challenge, problems=problems)) == 3
    assert "SC-HF-I-01-IM-0001-0007 (IM-0001-0007-icontour-manual.txt): the contour crosses itself" in _reasons(
        problems
    )


def test_of_mixed_series_the_one_that_fits_the_contours_is_taken(challenge: Path) -> None:
    _dicom(challenge / "challenge_training" / "SC-HF-I-1", [1, 2, 7], series=9)
    assert {Path(record["image"]).name[:7] for record in records(challenge)} == {"IM-0004"}


def test_series_that_fit_alike_are_refused(challenge: Path) -> None:
    _dicom(challenge / "challenge_training" / "SC-HF-I-1", [7, 20, 40], series=9)
    with pytest.raises(InputError, match="several series"):
        records(challenge)
    problems: list[Problem] = []
    assert records(challenge, problems=problems) == []
    assert "SC-HF-I-1/IM-0004, SC-HF-I-1/IM-0009" in _reasons(problems)


def test_header_that_contradicts_the_file_name_is_named(challenge: Path) -> None:
    _dicom(challenge / "challenge_training" / "SC-HF-I-1", [20], InstanceNumber=21)
    problems: list[Problem] = []
    assert [record["instance"] for record in records(challenge, problems=problems)] == [7, 40]
    assert "instance number 21 in the header" in _reasons(problems)


def test_damaged_dicom_and_unknown_names_are_named(challenge: Path) -> None:
    folder = challenge / "challenge_training" / "SC-HF-I-1"
    (folder / "IM-0004-0020.dcm").write_bytes(b"nothing of the kind")
    (folder / "scout.dcm").write_bytes(b"")
    problems: list[Problem] = []
    assert [record["instance"] for record in records(challenge, problems=problems)] == [7, 40]
    assert {"SC-HF-I-01-IM-0001-0020", "scout.dcm"} <= {problem.name for problem in problems}


def test_missing_spacing_is_none(challenge: Path) -> None:
    _dicom(challenge / "challenge_training" / "SC-HF-I-1", [20], PixelSpacing=None)
    assert [record["spacing_mm"] is None for record in records(challenge)] == [False, True, False]


def test_png_names_that_tell_nothing_or_the_same_are_named(png: Path) -> None:
    _png(png / "png" / "images" / "heart.png")
    _png(png / "png" / "images" / "SC-N-5-IM-0001-0020.png")
    problems: list[Problem] = []
    assert len(records(png, problems=problems)) == 2
    assert {problem.name for problem in problems} == {"heart.png", "SC-N-5-IM-0001-0020.png"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SC-HF-I-1", "SC-HF-I-01"),
        ("SC-HF-NI-03", "SC-HF-NI-03"),
        ("sc-hyp-40", "SC-HYP-40"),
        (" SC-N-2 ", "SC-N-02"),
        ("SC-X-2", None),
        ("SC-N-2-old", None),
    ],
)
def test_patients_are_written_one_way(text: str, name: str | None) -> None:
    assert patient_name(text) == name
    assert name is None or patient_name(name) == name


def test_the_three_groups_of_the_challenge_have_15_patients_each() -> None:
    names = [f"SC-{kind}-{number:02d}" for kind in ("HF-I", "HF-NI", "HYP", "N") for number in range(100)]
    counts = Counter(challenge_group(name) for name in names)
    assert (counts["training"], counts["validation"], counts["online"]) == (15, 15, 15)


def test_text_and_masks_give_the_same_classes(challenge: Path, png: Path) -> None:
    by_number = {record["instance"]: record for record in records(challenge) if record["group"] == "SC-HF-I-01"}
    text, mask = by_number[20], records(png)[-2]
    assert mask["label"].endswith(".png")
    from_text, from_mask = read_lv_label(text, SHAPE), read_lv_label(mask, SHAPE)
    np.testing.assert_array_equal(from_text.classes, from_mask.classes)
    assert from_text.classes.dtype == np.uint8
    assert set(np.unique(from_text.classes)) == {0, 1, 2}
    assert from_text.myocardium_known
    assert from_mask.myocardium_known
    unknown = read_lv_label(by_number[7], SHAPE)
    assert not unknown.myocardium_known
    np.testing.assert_array_equal(unknown.classes == 1, from_text.classes == 1)
    assert unknown.classes.max() == 1


def test_an_image_of_both_classes_is_taken_as_it_is_and_a_mask_of_one_as_the_cavity(tmp_path: Path) -> None:
    classes = np.zeros((12, 10), np.uint8)
    classes[2:9, 2:9] = 2
    classes[4:7, 4:7] = 1
    cv2.imwrite(str(tmp_path / "both.png"), classes)
    cv2.imwrite(str(tmp_path / "cavity.png"), (classes == 1).astype(np.uint8))
    both = read_lv_label({"label": tmp_path / "both.png"}, (12, 10))
    np.testing.assert_array_equal(both.classes, classes)
    assert both.myocardium_known
    cavity = read_lv_label({"label": tmp_path / "cavity.png"}, (12, 10))
    np.testing.assert_array_equal(cavity.classes, classes == 1)
    assert not cavity.myocardium_known


def test_without_outline_masks_come_close_to_the_drawn_line(challenge: Path, png: Path) -> None:
    text = next(record for record in records(challenge) if record["instance"] == 40)
    mask = records(png)[-2]
    drawn = read_lv_label(text, SHAPE, outline_included=False).classes
    np.testing.assert_array_equal(drawn == 1, contour_to_mask(_circle(8), SHAPE))
    for value in (1, 2):
        given, reduced = (read_lv_label(mask, SHAPE, outline_included=kept).classes == value for kept in (True, False))
        area = np.count_nonzero(drawn == value)
        assert abs(reduced.sum() - area) < abs(given.sum() - area)


def test_cavity_outside_the_epicardium_is_counted_and_stays_cavity(challenge: Path) -> None:
    _contour(challenge / PART3, "SC-HF-I-01", 20, "i", _circle(8, (32, 19)))
    record = next(record for record in records(challenge) if record["instance"] == 20)
    problems: list[Problem] = []
    label = read_lv_label(record, SHAPE, problems=problems)
    cavity = contour_to_mask(_circle(8, (32, 19)), SHAPE, True)
    outside = np.count_nonzero(cavity & ~contour_to_mask(_circle(12), SHAPE, True))
    assert label.cavity_outside == outside > 0
    np.testing.assert_array_equal(label.classes == 1, cavity)
    assert _reasons(problems).startswith(f"SC-HF-I-01-IM-0001-0020: {outside} of {cavity.sum()} pixels")


def test_contours_that_leave_the_image_are_named_or_refused(challenge: Path) -> None:
    record = records(challenge)[0]
    problems: list[Problem] = []
    label = read_lv_label(record, (40, 28), problems=problems)
    assert label.classes.shape == (40, 28)
    assert "lie outside the image of 40 rows x 28 columns" in _reasons(problems)
    with pytest.raises(InputError, match="outside its image"):
        read_lv_label(record, (40, 10))


def test_no_label_and_masks_of_another_size_are_refused(png: Path) -> None:
    record = records(png)[0]
    with pytest.raises(InputError, match="no contour of the endocardium"):
        read_lv_label({**record, "label": None}, SHAPE)
    with pytest.raises(InputError, match="40 rows x 48 columns"):
        read_lv_label(record, (40, 40))


@pytest.mark.data
@pytest.mark.parametrize("inner", ["", "png"])
def test_all_published_slices_are_found(real_data: Path, inner: str) -> None:
    problems: list[Problem] = []
    found = records(real_data / "sunnybrook" / inner, problems=problems)
    assert (len(found), len({record["group"] for record in found})) == (513, 29)
    assert Counter(record["moment"] for record in found) == {"ed": 266, "es": 247}
    assert all((record["epicardium"] is not None) == (record["moment"] == "ed") for record in found)
    assert Counter(record["challenge_group"] for record in found) == {"training": 260, "validation": 253}
    assert all(record["challenge_group"] == challenge_group(record["group"]) for record in found)
    assert len(problems) == (0 if inner else 2), _reasons(problems)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.data
@pytest.mark.parametrize(
    ("inner", "patients", "labelled", "images"), [("challenge_training", 2, 36, 266), ("SCD0000301", 1, 20, 20)]
)
def test_published_dicom_series_have_their_contours(
    real_data: Path, inner: str, patients: int, labelled: int, images: int
) -> None:
    pytest.importorskip("pydicom")
    folder = real_data / "sunnybrook" / inner
    found = records(folder)
    assert (len(found), len({record["group"] for record in found})) == (labelled, patients)
    assert len(records(folder, need_labels=False)) == images
    by_name = {record["name"]: record for record in records(real_data / "sunnybrook" / "png")}
    for record in found:
        same = by_name[record["name"]]
        keys = ("group", "instance", "phase", "slice", "moment", "challenge_group")
        assert {key: record[key] for key in keys} == {key: same[key] for key in keys}
        assert record["spacing_mm"] == pytest.approx(same["spacing_mm"], abs=1e-3)
    for record in found[::6]:
        shape = (256, 256)
        classes = read_lv_label(record, shape).classes
        np.testing.assert_array_equal(classes, read_lv_label(by_name[record["name"]], shape).classes)


@pytest.mark.data
def test_cavities_that_leave_the_published_epicardium_are_few(real_data: Path) -> None:
    problems: list[Problem] = []
    for record in records(real_data / "sunnybrook" / "png"):
        if record["epicardium"] is not None:
            read_lv_label(record, (256, 256), problems=problems)
    assert len(problems) == 6
    assert all("outside the epicardium" in problem.reason for problem in problems)


def test_the_data_list_knows_the_layout(png: Path) -> None:
    found = load_datalist(png)
    assert [record["name"] for record in found] == [record["name"] for record in records(png)]
    assert {record["modality"] for record in found} == {"cine_mr"}
    assert {record["dataset"] for record in found} == {png.name}
