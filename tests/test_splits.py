"""The split of a run: what is trained on and what is validated on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imsave

from common.datasets.datalist import write_datalist
from common.datasets.splits import BaseSplit, Split
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


def _names(records: list[dict[str, Any]]) -> list[str]:
    return [record["name"] for record in records]


def test_a_data_set_in_another_folder_is_the_same_split(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "elsewhere" / "copy")
    assert Split(study, 0, 4).fingerprint == Split(tmp_path / "elsewhere" / "copy", 0, 4).fingerprint


def test_other_images_masks_patients_or_folds_are_another_split(study: Path, tmp_path: Path) -> None:
    found = {Split(study, fold, 4).fingerprint for fold in (-1, 0, 1)}
    more = _folder(tmp_path / "more", {"m0": "q0"})
    found.add(Split(study, 0, 4, also_train=more).fingerprint)
    mask = np.zeros((32, 32), np.uint8)
    mask[3:5, 2:30] = 7
    imsave(study / "masks" / "s3.png", mask, check_contrast=False)
    found.add(Split(study, 0, 4).fingerprint)
    table = study / "patients.csv"
    table.write_text(table.read_text().replace("s0.png,p0", "s0.png,new"))
    found.add(Split(study, -1).fingerprint)
    assert len(found) == 6


def test_a_mask_that_was_corrected_and_kept_its_size_is_another_split(study: Path) -> None:
    masks = [np.zeros((32, 32), np.uint8) for _ in range(2)]
    masks[0][3:5, 2:9], masks[1][4:6, 2:9] = 1, 1
    found, sizes = [], []
    file = study / "masks" / "s3.tif"
    (study / "masks" / "s3.png").unlink()
    for mask in (*masks, masks[0]):
        imsave(file, mask, check_contrast=False)
        found.append(Split(study, 0, 4).fingerprint)
        sizes.append(file.stat().st_size)
    assert len(set(sizes)) == 1, "else the test shows nothing"
    assert found[0] == found[2] != found[1]


def test_each_mask_of_a_folder_of_masks_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for kind in ("images", "masks"):
            (tmp_path / "set" / name / kind).mkdir(parents=True)
        picture = rng.integers(0, 255, (16, 16, 3), np.uint8)
        imsave(tmp_path / "set" / name / "images" / f"{name}.png", picture, check_contrast=False)
        for number in range(3):
            mask = np.zeros((16, 16), np.uint8)
            mask[5 * number : 5 * number + 3] = 255
            imsave(tmp_path / "set" / name / "masks" / f"{number}.png", mask, check_contrast=False)
    before = Split(tmp_path / "set", -1).fingerprint
    last = tmp_path / "set" / "b" / "masks" / "2.png"
    content = bytearray(last.read_bytes())
    content[-1] ^= 1  # of the checksum at the end: as many bytes as before
    last.write_bytes(bytes(content))
    after = Split(tmp_path / "set", -1).fingerprint
    last.unlink()
    assert len({before, after, Split(tmp_path / "set", -1).fingerprint}) == 3


def test_an_outer_contour_and_a_label_that_is_a_folder_count_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    for name in ("0.tif", "1.tif", "outer.tif"):
        (folder / name if name != "outer.tif" else tmp_path / name).write_bytes(b"abc")
    split = BaseSplit()
    image = tmp_path / "i.tif"
    image.write_bytes(b"1234")
    outer = tmp_path / "outer.tif"
    split.training = [{"name": "i", "image": str(image), "label": str(folder), "epicardium": str(outer)}]
    split.validation, split.test = [], []
    found = [split.fingerprint]
    for file in (folder / "1.tif", outer):
        file.write_bytes(b"abd")
        found.append(split.fingerprint)
    split.training[0]["modality"] = "brightfield"
    assert len({*found, split.fingerprint}) == 4


def test_a_file_that_holds_the_truth_of_many_images_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, opened, real = tmp_path / "all.json", [], Path.open
    truth.write_text("{}")
    monkeypatch.setattr(Path, "open", lambda path, *more, **named: opened.append(path) or real(path, *more, **named))
    split = BaseSplit()
    split.training = [{"name": f"i{n}", "image": str(truth), "label": str(truth)} for n in range(20)]
    split.validation, split.test = [], []
    assert split.fingerprint
    assert opened == [truth]


def test_the_file_of_the_weights_own_name_comes_before_that_of_the_folder(study: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Split(study, 0, 4).write(run / "split.json")
    Split(study, 1, 4).write_seen(run / "model_fold1_split.json")
    assert Split(study, 0, 4).seen_by(run / "model.pt") == "0 of 2"
    assert Split(study, 1, 4).seen_by(run / "model.pt") == "2 of 2"
    assert Split(study, 0, 4).seen_by(run / "model_fold1.pt") == "2 of 2"
    assert Split(study, 1, 4).seen_by(run / "model_fold1.pt") == "0 of 2"


def test_what_is_written_for_others_has_names_and_groups_alone_and_tells_the_same(study: Path, tmp_path: Path) -> None:
    split = Split(study, 0, 4)
    split.training[0]["group"] = split.training[0]["name"]
    split.write(tmp_path / "long" / "split.json")
    split.write_seen(tmp_path / "slim" / "model_split.json")
    text = (tmp_path / "slim" / "model_split.json").read_text()
    assert str(tmp_path) not in text and "/" not in text and " " not in text
    entries = json.loads(text)["training"]
    assert entries[0] == {"name": split.training[0]["name"]}
    assert entries[1] == {key: split.training[1][key] for key in ("name", "group")}
    for fold in (0, 1, -1):
        long, slim = (Split(study, fold, 4).seen_by(tmp_path / name / "model.pt") for name in ("long", "slim"))
        assert long == slim


def test_an_evaluation_tells_how_many_images_the_weights_have_seen(
    study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "run" / "model.pt"
    trained = Split(study, 0, 4)
    assert trained.seen_by(weights) is None
    trained.write(tmp_path / "run" / "split.json")
    assert trained.seen_by(weights) == "0 of 2" and not caplog.text
    assert Split(study, 1, 4).seen_by(weights) == "2 of 2"
    assert "2 of the 2 images to be scored are in the training part" in caplog.text
    assert Split(study, -1).seen_by(weights) == "6 of 8"


def test_another_image_of_a_patient_that_was_trained_on_counts_as_seen(study: Path, tmp_path: Path) -> None:
    trained = Split(study, 0, 4)
    trained.write(tmp_path / "run" / "split.json")
    patients = (trained.training[0]["group"], trained.validation[0]["group"])
    new = _folder(tmp_path / "new", {"n0": patients[0], "n1": patients[1], "n2": "nobody"})
    assert Split(new, -1).seen_by(tmp_path / "run" / "model.pt") == "1 of 3"


def _sections(path: Path, study: Path, **sections: tuple[int, ...]) -> Path:
    """A data list of the study's images by their numbers."""
    records = Split(study, -1).training
    entries = [{key: record[key] for key in ("image", "label", "group")} for record in records]
    content = {section: [entries[number] for number in numbers] for section, numbers in sections.items()}
    path.write_text(json.dumps(content))
    return path


def test_the_sections_of_a_data_list_are_its_split(
    study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = _sections(tmp_path / "list.json", study, training=(0, 1, 2, 3), validation=(4, 5), test=(6, 7))
    split = Split(given, 0)
    assert (_names(split.training), _names(split.validation)) == (["s0", "s1", "s2", "s3"], ["s4", "s5"])
    assert _names(split.test) == _names(split.evaluated) == ["s6", "s7"]
    assert "training 4, validation 2, test 2 images" in caplog.text
    split.write(tmp_path / "run" / "split.json")
    assert split.seen_by(tmp_path / "run" / "model.pt") == "0 of 2"
    everything = Split(given, -1)
    assert _names(everything.training) == ["s0", "s1", "s2", "s3", "s4", "s5"]
    assert _names(everything.evaluated) == ["s6", "s7"], "a test section is never trained on"
    with pytest.raises(InputError, match="fold: found 1 of a data list whose sections are its split"):
        Split(given, 1)


def test_without_a_section_validation_the_training_is_divided_into_folds(study: Path, tmp_path: Path) -> None:
    given = _sections(tmp_path / "list.json", study, training=(0, 1, 2, 3, 4, 5), testing=(6, 7))
    validated = []
    for fold in range(3):
        split = Split(given, fold, 3)
        assert _names(split.test) == ["s6", "s7"]
        assert not {*_names(split.training), *_names(split.validation)} & {"s6", "s7"}
        validated += _names(split.validation)
    assert sorted(validated) == ["s0", "s1", "s2", "s3", "s4", "s5"]


def test_a_test_section_is_not_also_trained_on(study: Path, tmp_path: Path) -> None:
    given = _sections(tmp_path / "list.json", study, training=(0, 1), test=(6, 7))
    alone = _folder(tmp_path / "alone", {"m0": "q0", "m1": "q1"})
    assert _names(Split(alone, 0, 2, also_train=given).training)[1:] == ["s0", "s1"]


def test_sections_that_share_a_patient_are_refused(study: Path, tmp_path: Path) -> None:
    for sections in ({"validation": (1, 2, 3)}, {"test": (1,)}):
        given = _sections(tmp_path / "list.json", study, training=(0,), **sections)
        with pytest.raises(InputError, match="p0 in training and validation"):
            Split(given, 0)


def test_folds_of_all_entries_count_before_sections(study: Path, tmp_path: Path) -> None:
    given = _sections(tmp_path / "list.json", study, training=(0, 1, 2, 3), validation=(4, 5, 6, 7))
    content = json.loads(given.read_text())
    for number, entry in enumerate([*content["training"], *content["validation"]]):
        entry["fold"] = number // 2 % 2
    given.write_text(json.dumps(content))
    assert _names(Split(given, 1).validation) == ["s2", "s3", "s6", "s7"]
