"""Fold lists of the original layout: written and read they are the same folds, and no leak or gap passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.datasets.folds import with_folds
from common.datasets.list_files import read_fold_lists, write_fold_lists
from common.errors import InputError

PATIENTS = ("8863", "8864", "8865", "8913", "8914", "9022")


def images(patients: tuple[str, ...] = PATIENTS, each: int = 2) -> list[dict[str, Any]]:
    """Records as of the original's files, every image being its own group."""
    names = [f"{patient}_500_f{number:05d}_original" for patient in patients for number in range(each)]
    return [{"name": name, "image": f"/data/{name}.tif", "label": None, "group": name} for name in names]


def write_lists(folder: Path, tests: list[list[str]], trains: bool = True) -> Path:
    """Lists as the original wrote them."""
    every = [name for names in tests for name in names]
    for number, names in enumerate(tests, 1):
        (folder / f"test_w32_parent_{number}.txt").write_text("".join(f"{name}\n" for name in names))
        if trains:
            others = [name for name in every if name not in names]
            (folder / f"train_w32_parent_{number}.txt").write_text("".join(f"{name}\n" for name in others))
    return folder


THREE = [["8863", "9022"], ["8864", "8913"], ["8865", "8914"]]


@pytest.mark.parametrize("seed", range(10))
def test_folds_written_and_read_are_the_same(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    names = [f"p {n}" if n % 3 else f"TCGA-18-{n:04d}.v2" for n in range(25)]
    records = [
        {"name": f"i{n}", "image": f"/i{n}.png", "label": None, "group": names[random.integers(25)]} for n in range(60)
    ]
    planned = with_folds(records, int(random.integers(2, 8)), seed)
    write_fold_lists(tmp_path, planned)
    assert read_fold_lists(tmp_path, records) == planned


def test_lists_read_and_written_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_lists(tmp_path / "a", THREE)
    files = write_fold_lists(tmp_path / "b", read_fold_lists(tmp_path / "a", images()))
    assert [file.name for file in files][:2] == ["train_w32_parent_1.txt", "test_w32_parent_1.txt"]
    assert len(files) == 6
    for file in files:
        assert sorted(file.read_text().split()) == sorted((tmp_path / "a" / file.name).read_text().split())


def test_the_first_list_is_fold_nought_and_a_code_stands_for_all_images_of_its_patient(tmp_path: Path) -> None:
    read = read_fold_lists(write_lists(tmp_path, THREE), images())
    assert {record["group"]: record["fold"] for record in read} == {
        "8863": 0, "9022": 0, "8864": 1, "8913": 1, "8865": 2, "8914": 2
    }  # fmt: skip
    assert len(read) == 12


@pytest.mark.parametrize("ending", ["", ".tif", "_original.tif", "_original", ".png"])
def test_images_are_found_by_base_name_with_and_without_ending(ending: str, tmp_path: Path) -> None:
    tests = [[f"{patient}_500_f{n:05d}{ending}" for patient in names for n in range(2)] for names in THREE]
    read = read_fold_lists(write_lists(tmp_path, tests), images())
    assert [record["fold"] for record in read] == [0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 0, 0]


def test_known_patients_keep_their_names(tmp_path: Path) -> None:
    known = [{**record, "group": f"patient {record['name'][:4]}"} for record in images()]
    read = read_fold_lists(write_lists(tmp_path, THREE), known)
    assert [record["group"] for record in read] == [record["group"] for record in known]


def test_windows_line_ends_blank_lines_and_byte_order_mark_are_no_names(tmp_path: Path) -> None:
    write_lists(tmp_path, THREE)
    (tmp_path / "test_w32_parent_1.txt").write_bytes(b"\xef\xbb\xbf8863\r\n\r\n9022\r\n")
    assert read_fold_lists(tmp_path, images())[0]["fold"] == 0


def test_test_lists_alone_are_enough_and_lists_of_patches_are_not_read(tmp_path: Path) -> None:
    write_lists(tmp_path, THREE, trains=False)
    (tmp_path / "train_w32_1.txt").write_text("8863_1_p_1_0.png\t1\n")
    assert {record["fold"] for record in read_fold_lists(tmp_path, images())} == {0, 1, 2}


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ([["8863"], ["8864", "8913"], ["8865", "8914"]], "9022_500_f00000_original.* in no test list"),
        ([["8863", "9022"], ["8864", "8913", "9022"], ["8865", "8914"]], "9022_500.* in several test lists"),
        ([["8863", "9022", "1"], ["8864", "8913"], ["8865", "8914"]], "test_w32_parent_1.txt: found 1, which no image"),
        ([["8863", "9022"], ["8864", "8913", "8865", "8914"], []], "test_w32_parent_3.txt: found an empty list"),
        ([list(PATIENTS)], "all 12 images in one fold"),
    ],
)
def test_impossible_lists_are_refused_with_names(tests: list[list[str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_fold_lists(write_lists(tmp_path, tests, trains=False), images())


def test_a_patient_in_the_train_and_test_list_of_a_fold_is_refused_by_name(tmp_path: Path) -> None:
    known = [{**record, "group": record["name"][:4]} for record in images()]
    write_lists(tmp_path, THREE)
    with (tmp_path / "train_w32_parent_2.txt").open("a") as file:
        file.write("8913\n")
    with pytest.raises(
        InputError, match="train_w32_parent_2.txt: found 8913 in the train and in the test list of fold 2"
    ):
        read_fold_lists(tmp_path, known)


def test_a_patient_whose_images_are_tested_in_two_folds_is_refused_by_name(tmp_path: Path) -> None:
    known = [{**record, "group": record["name"][:4]} for record in images(("8863", "8864"))]
    tests = [["8863_500_f00000", "8864"], ["8863_500_f00001"]]
    with pytest.raises(InputError, match=r"8863 \(in folds 0 and 1\)"):
        read_fold_lists(write_lists(tmp_path, tests), known)


def test_an_image_that_a_fold_neither_trains_on_nor_tests_is_refused(tmp_path: Path) -> None:
    write_lists(tmp_path, THREE)
    (tmp_path / "train_w32_parent_1.txt").write_text("8864\n8913\n8865\n")
    with pytest.raises(InputError, match="8914_500_f00000_original, .* in neither list of fold 1"):
        read_fold_lists(tmp_path, images())


def test_folders_without_usable_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_fold_lists(tmp_path / "nowhere", images())
    with pytest.raises(InputError, match="no test list"):
        read_fold_lists(tmp_path, images())
    write_lists(tmp_path, THREE)
    (tmp_path / "test_w32_parent_2.txt").unlink()
    with pytest.raises(InputError, match="no test list of fold 2"):
        read_fold_lists(tmp_path, images())
    (tmp_path / "test_w36_parent_1.txt").write_text("8863\n")
    with pytest.raises(InputError, match="test_w32_parent_1.txt and test_w36_parent_1.txt"):
        read_fold_lists(tmp_path, images())


def test_lists_of_other_folds_are_not_written_over(tmp_path: Path) -> None:
    records = [{**record, "group": record["name"][:4]} for record in images()]
    write_fold_lists(tmp_path, with_folds(records, 3))
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    write_fold_lists(tmp_path, with_folds(records, 3))
    with pytest.raises(InputError, match="a list of other folds"):
        write_fold_lists(tmp_path, with_folds(records, 2))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_names_that_no_line_can_hold_are_not_written(tmp_path: Path) -> None:
    records = [{"name": "a", "group": "x\ny", "fold": 0}, {"name": "b", "group": "z", "fold": 1}]
    with pytest.raises(InputError, match="names on one line"):
        write_fold_lists(tmp_path, records)
    assert not list(tmp_path.iterdir())
