"""The patient of an image comes from a table, from its barcode, or from nobody, and is never guessed wrongly."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from common.datasets.patients import barcode_patient, patient_groups, read_patients
from common.errors import InputError, Problem


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592"),
        ("TCGA-18-5592", "TCGA-18-5592"),
        ("TCGA-18-5592.svs", "TCGA-18-5592"),
        ("breast_TCGA-AR-A1AS-01Z_crop3", "TCGA-AR-A1AS"),
        ("tcga-ar-a1as-01z", "TCGA-AR-A1AS"),
        ("TCGA-18-55921-01Z", None),
        ("TCGA-18", None),
        ("XTCGA-18-5592-01Z", None),
        ("TNBC_01_1", None),
    ],
)
def test_a_barcode_s_first_three_fields_are_the_patient(name: str, patient: str | None) -> None:
    assert barcode_patient(name) == patient


def test_without_table_each_image_is_its_own_unless_a_barcode_tells(tmp_path: Path) -> None:
    assert patient_groups(tmp_path, ["a", "TCGA-18-5592-DX1"]) == {"a": "a", "TCGA-18-5592-DX1": "TCGA-18-5592"}
    assert patient_groups(tmp_path, ["b_1"], otherwise=lambda name: name[0]) == {"b_1": "b"}


def test_unknown_patients_are_counted_in_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        patient_groups(tmp_path, ["a", "b", "c", "TCGA-18-5592-DX1"])
    assert caplog.messages == [
        "no patient is known for 3 of 4 images (a, b, c): each is taken for one of its own; patients.csv (image, patient) "
        "can tell"
    ]


def test_nothing_is_said_where_patients_are_known_or_do_not_matter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        patient_groups(tmp_path, ["a"])
        patient_groups(tmp_path, ["a", "b"], required=False)
        patient_groups(tmp_path, ["a_1", "b_1"], otherwise=lambda name: name[0])
        (tmp_path / "patients.csv").write_text("image,patient\na,a\nb,b\n")
        patient_groups(tmp_path, ["a", "b"])
    assert not caplog.records


@pytest.mark.parametrize("place", ["within", "beside"])
def test_the_table_counts_before_the_barcode(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    table = (folder if place == "within" else tmp_path) / "patients.csv"
    table.write_text("image,patient\nTCGA-18-5592-DX1.tif,P7\n")
    assert patient_groups(folder, ["TCGA-18-5592-DX1"]) == {"TCGA-18-5592-DX1": "P7"}


def test_a_neighbour_s_table_is_passed_over_but_one_s_own_must_be_complete(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    text = "image,patient\nother.png,P1\n"
    (tmp_path / "patients.csv").write_text(text)
    assert patient_groups(folder, ["a"]) == {"a": "a"}
    (folder / "patients.csv").write_text(text)
    with pytest.raises(InputError, match=r"set/patients\.csv: found no patient for a"):
        patient_groups(folder, ["a"])


def test_images_that_the_table_lacks_are_noted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("image,patient\na.png,P1\nb.png,\n")
    problems: list[Problem] = []
    assert patient_groups(tmp_path, ["a", "b", "c"], problems) == {"a": "P1"}
    assert [problem.name for problem in problems] == ["b", "c"]
    with pytest.raises(InputError, match="no patient for b, c"):
        patient_groups(tmp_path, ["a", "b", "c"])
    assert patient_groups(tmp_path, ["a", "b"], required=False) == {"a": "P1", "b": "b"}


@pytest.mark.parametrize("cell", ["a.v2.tif", "a.v2", "images/a.v2.png", "C:\\data\\a.v2.tif", "a.v2.nii.gz"])
def test_names_come_with_or_without_folder_and_ending(tmp_path: Path, cell: str) -> None:
    (tmp_path / "patients.csv").write_text(f"image,patient\n{cell},P1\na,P2\n")
    assert read_patients(tmp_path / "patients.csv", ["a.v2", "a"]) == {"a.v2": "P1", "a": "P2"}


def test_two_patients_for_one_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("image,patient\na.png,P1\na.png,P1\nb,P3\na,P2\n")
    with pytest.raises(InputError, match="two patients, P1 and P2, for a"):
        patient_groups(tmp_path, ["a", "b"])


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("file,subject\na.png,P1\n")
    with pytest.raises(InputError, match="found the columns file, subject; expected the columns image, patient"):
        patient_groups(tmp_path, ["a"])


def test_a_table_of_images_tells_groups_where_there_is_no_table_of_patients(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("image,group,drawn_by\na.png,movie1,me\nb.png,movie2,me\n")
    assert patient_groups(tmp_path, ["a", "b"]) == {"a": "movie1", "b": "movie2"}
    with pytest.raises(InputError, match=r"images\.csv: found no group for c"):
        patient_groups(tmp_path, ["a", "b", "c"])
    (tmp_path / "patients.csv").write_text("image,patient\na,P1\nb,P1\n")
    assert set(patient_groups(tmp_path, ["a", "b"]).values()) == {"P1"}


def test_a_table_of_images_without_groups_is_none(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path,class,slide\na.png,CLL,s1\n")
    assert patient_groups(tmp_path, ["a"]) == {"a": "a"}
