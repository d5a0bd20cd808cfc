"""The split of a run: what is trained on and what is validated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from common.datasets.datalist import write_datalist
from common.datasets.splits import Split
from common.errors import InputError


def _folder(root: Path, patients: dict[str, str]) -> Path:
    """A data set of ``images/`` + ``masks/`` + ``patients.csv`` with one nucleus in each image."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for name in patients:
        truth = np.zeros((32, 32), np.uint8)
        truth[8:16, 8:16] = 1
        imsave(root / "images" / f"{name}.png", rng.integers(0, 255, (32, 32, 3), np.uint8), check_contrast=False)
        imsave(root / "masks" / f"{name}.png", truth, check_contrast=False)
    rows = [f"{name}.png,{patient}" for name, patient in patients.items()]
    (root / "patients.csv").write_text("\n".join(["image,patient", *rows]) + "\n")
    return root


@pytest.fixture(name="study")
def _study(tmp_path: Path) -> Path:
    return _folder(tmp_path / "study", {f"s{number}": f"p{number // 2}" for number in range(8)})


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
def test_what_is_also_trained_on_is_in_every_training_and_in_no_validation(
    study: Path, tmp_path: Path, fold: int
) -> None:
    more = _folder(tmp_path / "more", {"m0": "q0", "m1": "q1"})
    alone = Split(study, fold, num_folds=4)
    both = Split(study, fold, num_folds=4, also_train=more)
    assert [record["name"] for record in both.validation] == [record["name"] for record in alone.validation]
    names = [record["name"] for record in both.training]
    assert names == [record["name"] for record in alone.training] + ["m0", "m1"]


def test_a_patient_that_is_validated_on_cannot_be_also_trained_on(study: Path, tmp_path: Path) -> None:
    patient = Split(study, 0, num_folds=4).validation[0]["group"]
    more = _folder(tmp_path / "more", {"m0": patient})
    with pytest.raises(InputError, match=f"also_train: found {patient} in training and validation"):
        Split(study, 0, num_folds=4, also_train=more)
    assert len(Split(study, -1, num_folds=4, also_train=more).training) == 9


def test_images_of_one_name_are_told_apart(study: Path, tmp_path: Path) -> None:
    more = _folder(tmp_path / "more", {"s0": "q0"})
    names = [record["name"] for record in Split(study, -1, also_train=more).training]
    assert {"dataset_dir_s0", "also_train_s0"} <= set(names) and len(set(names)) == 9


def test_a_split_that_the_data_set_brings_is_taken_as_it_is(study: Path, tmp_path: Path) -> None:
    entries = [
        {**record, "side": "test" if record["group"] in ("p1", "p3") else "train"}
        for record in Split(study, -1).training
    ]
    write_datalist(tmp_path / "list.json", entries)
    taken = Split(tmp_path / "list.json", hold_out="side=test")
    assert {record["group"] for record in taken.validation} == {"p1", "p3"}
    assert {record["group"] for record in taken.training} == {"p0", "p2"}
    with pytest.raises(InputError, match=r"leaves no image for validation; expected side with one of test, train"):
        Split(tmp_path / "list.json", hold_out="side=tset")
    with pytest.raises(InputError, match="hold_out: found 'test'; expected key=value"):
        Split(tmp_path / "list.json", hold_out="test")
    with pytest.raises(InputError, match="p0 in training and validation"):
        Split(tmp_path / "list.json", hold_out="name=s0")
