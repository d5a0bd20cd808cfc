"""Tables hold what follows from areas and distances, and say why where a number is missing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cine_items import PHASES, ROWS, SLICES, stack_item

from common.cine.areas import frame_areas
from common.cine.output.tables import (
    FRAME_COLUMNS,
    FUNCTION_COLUMNS,
    VOLUME_COLUMNS,
    frame_rows,
    function_row,
    stack_function,
    volume_rows,
)
from common.outputs.tables import write_table


def areas(item: dict[str, Any], value: int) -> np.ndarray:
    return frame_areas(item["pred"], outline_included=True)[value - 1]


def test_volumes_are_areas_times_the_slice_distance() -> None:
    item = stack_item(spacing_mm=(2.0, 1.5), slice_distance_mm=8.0)
    function = stack_function(item)
    expected = areas(item, 1).sum(axis=1) * 2.0 * 1.5 * 8.0 / 1000
    assert function.curve.cavity_ml == pytest.approx(expected)
    assert function.edv_ml == pytest.approx(expected.max())
    assert function.esv_ml == pytest.approx(expected.min())
    assert function.mass_g == pytest.approx(1.05 * areas(item, 2).sum(axis=1)[expected.argmax()] * 3.0 * 8.0 / 1000)
    rows = volume_rows("heart", function, [1, 2, 3, 4])
    assert tuple(rows[0]) == VOLUME_COLUMNS
    assert [row["cavity_ml"] for row in rows] == pytest.approx(expected)
    assert [row["slices"] for row in rows] == [SLICES] * PHASES


def test_without_a_slice_distance_the_ends_are_known_and_no_volume_is() -> None:
    known, unknown = stack_function(stack_item()), stack_function(stack_item(slice_distance_mm=None))
    assert (unknown.ed_phase, unknown.es_phase) == (known.ed_phase, known.es_phase) == (0, 2)
    row = function_row("heart", unknown, [1, 2, 3, 4])
    assert all(row[name] is None for name in FUNCTION_COLUMNS[1:6])
    assert "distance between slices is unknown" in row["notes"]
    assert [row["cavity_ml"] for row in volume_rows("heart", unknown, [1, 2, 3, 4])] == [None] * PHASES


def test_one_phase_has_a_volume_and_no_ejection_fraction() -> None:
    function = stack_function(stack_item(phases=1))
    assert function.edv_ml
    assert function.ejection_fraction_percent is None
    assert any("only one phase" in note for note in function.notes)


def test_one_slice_is_no_heart() -> None:
    assert "one slice only: not the volumes of a heart" in stack_function(stack_item(slices=1)).notes
    present = np.zeros((PHASES, SLICES), bool)
    present[:, 1] = True
    assert "one slice only: not the volumes of a heart" in stack_function(stack_item(present=present)).notes
    assert not any("one slice" in note for note in stack_function(stack_item()).notes)


def test_an_assumed_pixel_size_is_said_once() -> None:
    (note,) = [note for note in stack_function(stack_item(spacing_assumed=True)).notes if "assumed" in note]
    assert "1.5 x 1.5 mm" in note
    told = stack_function(stack_item(spacing_assumed=True, notes=("1.5 mm assumed",))).notes
    assert [note for note in told if "assumed" in note] == ["1.5 mm assumed"]


def test_nothing_found_is_said_and_counts_nothing() -> None:
    for distance in (8.0, None):
        function = stack_function(stack_item(pred=np.zeros_like(stack_item()["pred"]), slice_distance_mm=distance))
        assert "no left ventricle was found" in function.notes
        assert function.edv_ml is None
        assert function.ed_phase is None


def test_notes_of_the_item_come_first() -> None:
    assert stack_function(stack_item(phases=1, notes=("uneven slices",))).notes[0] == "uneven slices"


def test_phases_are_called_as_in_the_item() -> None:
    item = stack_item(phases=2, phase_numbers=[9, 20])
    function = stack_function(item)
    row = function_row("heart", function, item["phase_numbers"])
    assert (row["ed_phase"], row["es_phase"]) == (9, 20)
    assert [row["phase"] for row in volume_rows("heart", function, item["phase_numbers"])] == [9, 20]
    assert {row["phase"] for row in frame_rows(item)} == {9, 20}
    assert not any("phases named here" in note for note in function.notes)


def test_notes_that_count_phases_otherwise_say_so() -> None:
    present = np.ones((2, SLICES), bool)
    present[1, -1] = False  # the last slice of the second phase: its volume is unknown
    item = stack_item(phases=2, phase_numbers=[9, 20], present=present)
    notes = stack_function(item).notes
    assert any("missing in phase 2" in note for note in notes)
    assert "phases named here count from 1, being number 9, 20" in notes


def test_a_row_per_frame_that_exists_with_its_areas_and_centre() -> None:
    present = np.ones((PHASES, SLICES), bool)
    present[1, 2] = False
    item = stack_item(present=present, spacing_mm=(2.0, 1.5), removed_frames=((0, 1),), filled_frames=((3, 0),))
    item["pred"][0, 1] = 0
    rows = frame_rows(item)
    assert len(rows) == present.sum()
    for row, (phase, part) in zip(rows, np.argwhere(present), strict=True):
        assert tuple(row) == FRAME_COLUMNS
        cavity = item["pred"][phase, part] == 1
        assert row["cavity_area_mm2"] == pytest.approx(areas(item, 1)[phase, part] * 3.0)
        assert row["myocardium_area_mm2"] == pytest.approx(areas(item, 2)[phase, part] * 3.0)
        y, x = np.nonzero(cavity)
        centre = (row["centroid_x_px"], row["centroid_y_px"])
        assert centre == (pytest.approx((x.mean(), y.mean())) if x.size else (None, None))
        assert (row["image"], row["phase"], row["slice"]) == (item["stems"][phase][part], phase + 1, part + 1)
        assert row["instance"] == item["instances"][phase, part]
    states = {(row["phase"], row["slice"]): row["clean_up"] for row in rows if row["clean_up"]}
    assert states == {(1, 2): "removed", (4, 1): "filled"}


def test_frames_without_a_file_of_their_own_are_named_by_their_stack() -> None:
    item = stack_item(stems=[[None] * SLICES] * PHASES)
    assert {row["image"] for row in frame_rows(item)} == {"heart"}


def test_a_table_leaves_what_is_unknown_empty(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 0.1 + 0.2}, {"a": None, "b": float("nan")}, {"a": 'say "x, y"', "b": 1e-9}]
    write_table(tmp_path / "t.csv", ["b", "a"], rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["b", "a"], ["0.3", "1"], ["", ""], ["1e-09", 'say "x, y"']]
    with pytest.raises(KeyError):
        write_table(tmp_path / "t.csv", ["c"], rows)
    assert (tmp_path / "t.csv").read_text().startswith("b,a")


def test_areas_do_not_depend_on_the_size_of_the_image() -> None:
    item, wide = stack_item(), stack_item()
    for key in ("pred", "pixels"):
        wide[key] = np.pad(item[key], ((0, 0), (0, 0), (0, ROWS), (0, 7)))
    assert frame_rows(wide) == frame_rows(item)
