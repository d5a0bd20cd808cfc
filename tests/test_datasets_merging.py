"""Several data sets become one list: names stay unique, patients stay together, modalities can be chosen."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from common.datasets.merging import dataset_names, dataset_paths, merge
from common.datasets.records import keep_modalities, load_datalist
from common.datasets.tables import read_table
from common.errors import InputError, Problem

TABLES = (("modality", "classes.csv"), ("mosaic", "mosaics.csv"))


def _pair(folder: Path, name: str, grey: int = 0) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(np.full((6, 10), grey, np.uint8)).save(folder / "images" / f"{name}.png")
    PilImage.fromarray(np.eye(6, 10, dtype=np.uint8)).save(folder / "masks" / f"{name}.png")


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        _pair(tmp_path / "north", name)
    for name in ("b", "c"):
        _pair(tmp_path / "south, old", name, 240)
    return tmp_path / "north", tmp_path / "south, old"


def _record(name: str, group: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"/{name}.png", "label": None, "group": group or name, **more}


def test_sets_follow_one_another_and_each_record_tells_its_own(sets: tuple[Path, Path]) -> None:
    records = load_datalist(list(sets))
    assert [record["dataset"] for record in records] == ["north", "north", "south, old", "south, old"]
    assert [record["name"] for record in records] == ["a", "north_b", "south, old_b", "c"]
    assert records[1]["image"] != records[2]["image"]


def test_one_set_is_as_it_is_alone(sets: tuple[Path, Path]) -> None:
    for given in (sets[1], str(sets[1]), [sets[1]], [str(sets[1])]):
        assert [(record["name"], record["dataset"]) for record in load_datalist(given)] == [
            ("b", "south, old"),
            ("c", "south, old"),
        ]


def test_a_comma_separates_unless_the_path_exists(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    _pair(tmp_path / "east", "e")
    assert dataset_paths(f"{sets[0]}, {tmp_path / 'east'}") == [sets[0], tmp_path / "east"]
    assert dataset_paths(str(sets[1])) == [sets[1]]


def test_paths_that_cannot_be_are_refused(sets: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="absent: found no such file or folder"):
        dataset_paths([sets[0], sets[0].with_name("absent")])
    with pytest.raises(InputError, match="north: found this data set twice"):
        dataset_paths([sets[0], f"{sets[0]}/../north"])
    for nothing in ("", [], ","):
        with pytest.raises(InputError, match="no path"):
            dataset_paths(nothing)


def test_sets_of_one_folder_name_are_told_apart_by_the_folder_above() -> None:
    assert dataset_names([Path("/x/data"), Path("/y/data")]) == ["x_data", "y_data"]
    assert dataset_names([Path("/x/a"), Path("/x/b")]) == ["a", "b"]


def test_lists_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        (tmp_path / name).touch()
    assert dataset_names([tmp_path / "one.json"]) == [tmp_path.name]
    assert dataset_names([tmp_path / "one.json", tmp_path / "two.json"]) == ["one", "two"]


def test_the_same_patient_in_two_sets_stays_one_group_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        merged = merge({"x": [_record("a", "P1"), _record("b", "P2")], "y": [_record("c", "P1")]})
    assert [record["group"] for record in merged] == ["P1", "P2", "P1"]
    [message] = caplog.messages
    assert message.startswith("patients or groups named P1 in several data sets")


def test_barcodes_and_sets_without_common_names_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        merge({"x": [_record("a", "TCGA-18-5592")], "y": [_record("b", "TCGA-18-5592"), _record("c")]})
    assert not caplog.messages


def test_images_of_one_name_keep_one_group(caplog: pytest.LogCaptureFixture) -> None:
    merged = merge({"x": [_record("1")], "y": [_record("1"), _record("2")]})
    assert [record["name"] for record in merged] == ["x_1", "y_1", "2"]
    # They may be copies of one another.
    assert merged[0]["group"] == merged[1]["group"]


def test_the_set_that_a_data_list_tells_is_kept() -> None:
    original = _record("a", dataset="tnbc")
    assert merge({"lists": [original, _record("b")]})[0]["dataset"] == "tnbc"
    assert original == _record("a", dataset="tnbc"), "the records given are not changed"


def test_a_broken_image_in_one_set_is_noted(sets: tuple[Path, Path]) -> None:
    file = sets[1] / "images" / "c.png"
    file.write_bytes(file.read_bytes()[:-20])
    problems: list[Problem] = []
    assert len(load_datalist(sets, problems=problems)) == 3
    assert [problem.name for problem in problems] == ["c"]


def test_modalities_can_be_chosen(sets: tuple[Path, Path]) -> None:
    assert [record["name"] for record in load_datalist(sets, modalities=["brightfield"])] == ["south, old_b", "c"]
    assert len(load_datalist(sets, modalities="brightfield, fluorescence")) == 4
    with pytest.raises(
        InputError, match=r"modalities: found 'purple_on_\*', .*expected some of brightfield \(2\), fluorescence \(2\)"
    ):
        load_datalist(sets, modalities=["brightfield", "purple_on_*"])


def test_a_star_stands_for_all_stained_tissue() -> None:
    found = [
        _record(str(n), modality=kind) for n, kind in enumerate(["purple_on_white", "brightfield", "purple_on_purple"])
    ]
    assert [record["name"] for record in keep_modalities(found, "purple_on_*")] == ["0", "2"]
    for everything in (None, [], ""):
        assert keep_modalities(found, everything) == found


@pytest.mark.data
def test_stained_tissue_of_the_data_science_bowl_can_be_chosen(real_data: Path, tmp_path: Path) -> None:
    tables = {f"{kind}_table": real_data / "dsb2018" / name for kind, name in TABLES}
    # The table tells the modality, so that no image is read and empty files will do.
    for row in read_table(tables["modality_table"], ("filename",)):
        image = tmp_path / Path(row["filename"]).stem / "images" / row["filename"]
        image.parent.mkdir(parents=True)
        image.touch()
    assert len(load_datalist(tmp_path, **tables, need_labels=False)) == 664
    assert len(load_datalist(tmp_path, **tables, need_labels=False, modalities="purple_on_*")) == 107
