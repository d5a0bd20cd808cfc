"""Stacks from files of every kind: each once, under its own name, with its place, its time and what was drawn on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from dicoms import DISTANCE, PATIENT, PHASES, SLICES, SPACING, value, write_cine
from PIL import Image

from common.cine.reading.stacks import file_stem, stack_records, stacks_of
from common.cine.reading.study import read_studies
from common.cine.transforms import ReadStackd
from common.datasets.records import load_datalist
from common.errors import InputError, Problem
from common.names import unique_names
from common.outputs.nifti import write_nifti

SHAPE = (40, 48)


def items_of(path: Path, **settings: Any) -> list[dict]:
    read = ReadStackd("image", **settings)
    return [item for record in stack_records(path) for item in read(record)]


def problems_of(items: list[dict]) -> list[Problem]:
    return [problem for item in items for problem in item["problems"]]


def stems_of(items: list[dict]) -> list[str]:
    return [stem for item in items for row in item["stems"] for stem in row]


# DICOM


def test_a_folder_of_files_is_one_stack_with_everything_known(tmp_path: Path) -> None:
    paths = write_cine(tmp_path / "ward 3")
    [item] = items_of(tmp_path / "ward 3")
    [study] = read_studies(tmp_path / "ward 3")
    assert (item["name"], item["group"], item["kind"]) == ("ward 3", "ward 3", "dicom")
    assert np.array_equal(item["pixels"], study.pixels) and item["pixels"].dtype == np.float32
    assert item["present"].shape == (PHASES, SLICES) and item["present"].all()
    assert item["spacing_mm"] == SPACING and item["spacing_assumed"] is False
    assert item["slice_distance_mm"] == pytest.approx(DISTANCE)
    assert np.array_equal(item["affine"], study.affine)
    assert item["phase_numbers"] == [1, 2, 3, 4, 5] and item["instances"][2, 1] == PHASES + 3
    assert item["trigger_times_ms"].tolist() == [81.5, 244.5, 407.5, 570.5, 733.5]
    assert item["time_step_ms"] == pytest.approx(163)
    assert item["notes"] == () and item["problems"] == [] and "truth" not in item
    for (phase, place), path in paths.items():
        assert (item["paths"][phase][place], item["stems"][phase][place]) == (str(path), path.stem)


def test_who_the_patient_is_does_not_reach_an_item(tmp_path: Path) -> None:
    write_cine(tmp_path / "a")
    [item] = items_of(tmp_path)
    assert PATIENT not in str(item) and "secret" not in str(item)


def test_frames_for_the_network_are_those_that_exist_in_order(tmp_path: Path, rng: np.random.Generator) -> None:
    study = rng.uniform(0, 900, (3, 2, *SHAPE)).astype(np.float32)
    write_nifti(tmp_path / "a.nii.gz", study, np.diag([1.25, 1.25, 8, 1]))
    [item] = items_of(tmp_path, pixel_mm=1.25)
    assert item["image"].shape == (6, 1, *SHAPE) and item["image"].dtype == torch.float32
    for number, (phase, place) in enumerate(np.argwhere(item["present"])):
        again = np.corrcoef(item["image"][number, 0].numpy().ravel(), study[phase, place].ravel())[0, 1]
        assert again > 0.999


def test_every_folder_of_a_study_is_a_record_of_its_own(tmp_path: Path) -> None:
    for folder in ("one", "two/deep", "three"):
        write_cine(tmp_path / folder)
    items = items_of(tmp_path)
    assert sorted(item["name"] for item in items) == ["one", "three", "two_deep"]
    assert len(stack_records(tmp_path)) == 3


def test_two_sources_of_one_name_get_that_of_their_stack(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_cine(tmp_path / folder)
    write_cine(tmp_path / "three", [f"other{number}.dcm" for number in range(PHASES * SLICES)])
    items = items_of(tmp_path)
    stems = stems_of(items)
    assert len(set(stems)) == len(stems) == 3 * PHASES * SLICES
    assert {"one_IM-0001-0001", "two_IM-0001-0001", "other0"} <= set(stems)


def test_files_of_one_name_within_one_stack_stay_apart(tmp_path: Path) -> None:
    names = [f"place{number // PHASES}/{number % PHASES}.dcm" for number in range(PHASES * SLICES)]
    names[0] = "place0/1.ima"  # the same name in the same folder too
    write_cine(tmp_path / "a", [*names])
    (tmp_path / "a" / "first.dcm").write_bytes((tmp_path / "a" / "place0/2.dcm").read_bytes())
    (tmp_path / "a" / "place0/2.dcm").unlink()
    [item] = items_of(tmp_path / "a")
    stems = stems_of([item])
    assert len(set(stems)) == PHASES * SLICES
    assert {"a_1", "a_place1_1", "first"} <= set(stems)


def test_uids_as_file_names_keep_their_last_number(tmp_path: Path) -> None:
    write_cine(tmp_path / "a", [f"1.2.840.{number}" for number in range(PHASES * SLICES)])
    [item] = items_of(tmp_path / "a")
    assert item["stems"][0][0] == "1.2.840.0" == file_stem("x/1.2.840.0")


def test_a_series_per_slice_in_a_folder_of_its_own_is_one_stack(tmp_path: Path) -> None:
    for number in range(SLICES):
        place = {"ImagePositionPatient": [0, 0, -DISTANCE * number], "SeriesInstanceUID": f"1.2.3.{number}"}
        write_cine(tmp_path / "patient" / f"sax_{number}", slices=1, SeriesNumber=number, **place)
    [item] = items_of(tmp_path)
    assert item["name"] == "patient" and item["pixels"].shape[:2] == (PHASES, SLICES)
    # Every series counts from 1: as names of files they would overwrite one another.
    assert sorted(item["instances"].ravel()) == list(range(1, PHASES * SLICES + 1))
    assert len(set(stems_of([item]))) == PHASES * SLICES


@pytest.mark.parametrize("slices", [SLICES, 2])
def test_a_long_axis_beside_a_short_axis_stack_is_left_out_and_named(tmp_path: Path, slices: int) -> None:
    write_cine(tmp_path / "a" / "sax", slices=slices)
    lengthwise = {"SeriesInstanceUID": "1.2.9", "orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}
    write_cine(tmp_path / "a" / "lax", slices=1, **lengthwise)  # type: ignore[arg-type]
    items = items_of(tmp_path)
    assert [item["name"] for item in items] == (["a_sax"] if slices == SLICES else ["a_sax", "a_lax"])
    found = problems_of(items)
    assert [problem.name for problem in found] == (["a_lax"] if slices == SLICES else [])
    assert not found or "one slice beside one of 4" in found[0].reason


def test_a_truncated_file_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    paths = write_cine(tmp_path / "a" / "x")
    write_cine(tmp_path / "b")
    data = paths[2, 1].read_bytes()
    paths[2, 1].write_bytes(data[: len(data) - 200])
    broken, whole = items_of(tmp_path)
    assert whole["present"].size == PHASES * SLICES and whole["problems"] == []
    assert broken["present"].size in ((PHASES - 1) * SLICES, PHASES * (SLICES - 1))
    assert f"a_x/{paths[2, 1].name}" in [problem.name for problem in broken["problems"]]


def test_names_of_stacks_never_meet(tmp_path: Path) -> None:
    write_cine(tmp_path / "a" / "sub", SeriesInstanceUID="1.2.8")
    write_cine(tmp_path / "a" / "other", SeriesInstanceUID="1.2.9", PixelSpacing=[1, 1])
    write_cine(tmp_path / "a_sub", StudyInstanceUID="1.2.7")
    names = sorted(item["name"] for item in items_of(tmp_path))
    assert names == ["a-sub", "a_other", "a_sub"]
    assert unique_names(["a", "A", "b/c", "b:c"]) == ["a", "A_2", "b_c", "b_c_2"]


def test_one_phase_is_noted_and_no_problem(tmp_path: Path) -> None:
    paths = write_cine(tmp_path / "a", phases=1)
    [item] = items_of(tmp_path)
    assert item["present"].shape == (1, SLICES) and "one phase only" in item["notes"][0] and item["problems"] == []
    [item] = items_of(paths[0, 2])
    assert item["name"] == paths[0, 2].stem and (item["pixels"] == value(0, 2)).all()


def test_a_list_may_name_folders_of_dicom(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_cine(tmp_path / folder / "dicom")
    entries = [{"name": name, "image": f"../{name}/dicom", "patient": "p"} for name in ("one", "two")]
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "cases.json").write_text(json.dumps({"test": entries}))
    items = items_of(tmp_path / "list" / "cases.json")
    assert [(item["name"], item["group"], item["kind"]) for item in items] == [
        (n, "p", "dicom") for n in ("one", "two")
    ]
    assert len(set(stems_of(items))) == 2 * PHASES * SLICES


# NIfTI


def test_nifti_and_dicom_of_one_study_are_the_same_stack(tmp_path: Path) -> None:
    write_cine(tmp_path / "source")
    [study] = items_of(tmp_path / "source")
    for name in ("heart.nii.gz", "heart_gt.nii.gz", "sub/heart_label.nii", "sub/still.nii"):
        (tmp_path / "nifti" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = study["pixels"] if name != "sub/still.nii" else study["pixels"][0]
        write_nifti(tmp_path / "nifti" / name, pixels, study["affine"], study["time_step_ms"])
    found, still = items_of(tmp_path / "nifti")
    assert (found["name"], found["kind"], still["name"]) == ("heart", "nifti", "still")
    assert np.array_equal(found["pixels"], study["pixels"]) and np.array_equal(found["image"], study["image"])
    np.testing.assert_allclose(found["affine"], study["affine"], atol=1e-4)
    assert found["spacing_mm"] == pytest.approx(SPACING) and found["slice_distance_mm"] == pytest.approx(DISTANCE)
    assert found["time_step_ms"] == pytest.approx(study["time_step_ms"], rel=1e-5)
    assert found["trigger_times_ms"][1] == pytest.approx(study["time_step_ms"], rel=1e-5)
    assert np.array_equal(found["instances"], study["instances"])
    assert found["stems"] == [[None] * SLICES] * PHASES and Path(found["paths"][4][3]).name == "heart.nii.gz"
    assert still["present"].shape == (1, SLICES) and still["trigger_times_ms"] is None
    [given] = items_of(tmp_path / "nifti" / "sub" / "heart_label.nii")
    assert given["name"] == "heart_label"


def test_a_second_from_phase_to_phase_is_no_heart_beat(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.ones((30, 2, *SHAPE), np.float32), np.diag([1.5, 1.5, 10, 1]), 1000)
    [item] = items_of(tmp_path)
    assert item["trigger_times_ms"] is None and item["time_step_ms"] is None and "1000 ms" in item["notes"][0]


@pytest.mark.parametrize(("pixels", "size"), [(np.nan, 1.5), (1.0, 40.0)])
def test_nifti_that_cannot_be_is_refused(tmp_path: Path, pixels: float, size: float) -> None:
    write_nifti(tmp_path / "a.nii", np.full((2, *SHAPE), pixels, np.float32), np.diag([size, size, 10, 1]))
    with pytest.raises(InputError, match=r"a\.nii: found (NaN|pixels of 40 x 40 mm)"):
        items_of(tmp_path)


# Pictures


def write_pictures(folder: Path, rng: np.random.Generator, names: tuple[str, ...] = ("a", "b")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(rng.integers(0, 255, SHAPE, dtype=np.uint8)).save(folder / f"{name}.png")


def test_pictures_without_pixel_size_are_assumed_and_say_so(tmp_path: Path, rng: np.random.Generator) -> None:
    write_pictures(tmp_path, rng)
    for item in items_of(tmp_path, assumed_mm=1.5):
        assert item["spacing_mm"] == (1.5, 1.5) and item["spacing_assumed"] and "1.5 mm assumed" in item["notes"][0]
        assert item["pixels"].shape == (1, 1, *SHAPE) and item["image"].shape == (1, 1, 48, 58)
        assert item["stems"] == [[item["name"]]] and item["instances"].tolist() == [[1]]
        assert item["affine"] is None and item["slice_distance_mm"] is None and item["trigger_times_ms"] is None
    with pytest.raises(InputError, match=r"a\.png: found no pixel size"):
        items_of(tmp_path, assumed_mm=None)
    assert len(items_of(tmp_path / "b.png")) == 1


def test_the_pixel_size_of_a_picture_is_believed(tmp_path: Path, rng: np.random.Generator) -> None:
    write_pictures(tmp_path, rng, ("a",))
    record = {"name": "a", "image": str(tmp_path / "a.png"), "label": None, "group": "a", "spacing_mm": [1.25, 2.5]}
    [item] = ReadStackd("image", 1.25)(stacks_of([record])[0])
    assert not item["spacing_assumed"] and item["notes"] == () and item["image"].shape[2:] == (40, 96)


def test_colour_is_kept_for_networks_that_take_it(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    [colour], [grey] = items_of(tmp_path, channels=3), items_of(tmp_path, channels=1)
    np.testing.assert_allclose(colour["pixels"][0, 0], pixels.mean(axis=2), atol=1e-3)
    assert colour["image"].shape[1] == 3 and grey["image"].shape[1] == 1
    assert not torch.equal(colour["image"][:, 0], colour["image"][:, 1])


def test_dicom_goes_before_pictures_which_are_counted(tmp_path: Path, rng: np.random.Generator) -> None:
    write_cine(tmp_path / "dicom")
    write_pictures(tmp_path / "pictures", rng)
    [item] = items_of(tmp_path)
    assert item["kind"] == "dicom" and item["notes"] == ("2 pictures passed over, since there are DICOM files",)


@pytest.mark.parametrize("files", [(), ("notes.txt",)])
def test_nothing_to_read_is_refused_with_what_could_be(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="expected DICOM or NIfTI files"):
        stack_records(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        stack_records(tmp_path / "absent")


# Records of slices and phases


@pytest.fixture
def drawn(tmp_path: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Like Sunnybrook's pictures of two patients: phases 9 and 20, slices 3 to 5, no slice 4 in phase 9."""
    made = []
    for patient in ("P-1", "P-2"):
        for phase, part in ((9, 3), (9, 5), (20, 3), (20, 4), (20, 5)):
            number = part * 20 + phase
            name = f"{patient}-{number}"
            masks = np.zeros((2, *SHAPE), np.uint8)
            masks[0, 10:20, 10 : 10 + part] = 255
            masks[1, 8:22, 8 : 12 + part] = 255
            for kind, pixels in zip(("image", "endo", "epi"), (rng.integers(0, 255, SHAPE), *masks), strict=True):
                tifffile.imwrite(tmp_path / f"{name}_{kind}.tif", pixels.astype(np.uint8))
            made.append(
                {
                    "name": name,
                    "image": str(tmp_path / f"{name}_image.tif"),
                    "label": str(tmp_path / f"{name}_endo.tif"),
                    "epicardium": str(tmp_path / f"{name}_epi.tif") if phase == 20 else None,
                    "group": patient,
                    "instance": number,
                    "phase": phase,
                    "slice": part,
                    "moment": "ed" if phase == 20 else "es",
                    "spacing_mm": [1.4, 1.3],
                    "slice_distance_mm": 8.0,
                }
            )
    return made


def read(records: list[dict[str, Any]]) -> list[dict]:
    return [item for record in stacks_of(records) for item in ReadStackd("image")(record)]


def test_slices_and_phases_of_a_patient_are_one_stack(drawn: list[dict[str, Any]], rng: np.random.Generator) -> None:
    order = rng.permutation(len(drawn))
    items = {item["name"]: item for item in read([drawn[number] for number in order])}
    assert sorted(items) == ["P-1", "P-2"]
    item = items["P-2"]
    assert item["group"] == "P-2" and item["kind"] == "pictures" and item["phase_numbers"] == [9, 20]
    assert item["present"].tolist() == [[True, False, True], [True, True, True]]
    assert item["instances"].tolist() == [[69, 0, 109], [80, 100, 120]]
    assert item["stems"] == [["P-2-69", None, "P-2-109"], ["P-2-80", "P-2-100", "P-2-120"]]
    assert item["paths"][0][1] is None and item["paths"][1][0].endswith("P-2-80_image.tif")
    assert item["spacing_mm"] == (1.4, 1.3) and item["slice_distance_mm"] == 8.0
    assert not item["pixels"][0, 1].any() and len(item["image"]) == 5
    for phase, place in np.argwhere(item["present"]):
        assert np.array_equal(item["pixels"][phase, place], tifffile.imread(item["paths"][phase][place]))


def test_truth_lies_where_it_was_drawn(drawn: list[dict[str, Any]]) -> None:
    drawn[1]["label"] = None  # phase 9, slice 5 of the first patient
    item = read(drawn)[0]
    assert item["drawn"].tolist() == [[True, False, False], [True, True, True]]
    assert item["myocardium_known"].tolist() == [[False] * 3, [True] * 3]
    assert (item["ed_phase"], item["es_phase"]) == (1, 0)
    assert item["truth"].dtype == np.uint8 and item["truth"].shape == item["pixels"].shape
    assert (item["truth"] == 1).sum(axis=(2, 3)).tolist() == [[30, 0, 0], [30, 40, 50]]
    assert [(item["truth"][phase] == 2).any() for phase in (0, 1)] == [False, True]


def test_without_any_truth_there_are_no_keys_of_it(drawn: list[dict[str, Any]]) -> None:
    for item in read([{**record, "label": None} for record in drawn]):
        assert not {"truth", "drawn", "myocardium_known", "ed_phase", "es_phase"} & set(item)


def test_truth_that_cannot_be_read_is_named_and_not_drawn(drawn: list[dict[str, Any]]) -> None:
    tifffile.imwrite(drawn[0]["label"], np.zeros((5, 5), np.uint8))
    first, second = read(drawn)
    assert not first["drawn"][0, 0] and first["present"][0, 0] and first["drawn"].sum() == 4
    assert [problem.name for problem in problems_of([first, second])] == ["P-1-69 (truth)"]


@pytest.mark.parametrize("change", ["size", "spacing", "broken", "twice"])
def test_a_frame_unlike_its_stack_is_named_and_left_out(drawn: list[dict[str, Any]], change: str) -> None:
    odd = dict(drawn[3])  # phase 20, slice 4
    if change == "size":
        tifffile.imwrite(odd["image"], np.zeros((SHAPE[0], SHAPE[1] + 1), np.uint8))
    elif change == "spacing":
        odd["spacing_mm"] = [1.4, 1.2]
    elif change == "broken":
        Path(odd["image"]).write_bytes(Path(odd["image"]).read_bytes()[:60])
    else:
        odd["slice"] = 5
    first, second = read([*drawn[:3], *drawn[4:], odd])
    expected = [[True, False, True], [True, False, True]]
    assert first["present"].tolist() == expected and second["present"].sum() == 5
    assert [problem.name for problem in problems_of([first])] == [odd["name"]]
    assert second["problems"] == []


def test_a_stack_of_which_nothing_can_be_read_is_refused(drawn: list[dict[str, Any]]) -> None:
    for record in drawn[:5]:
        Path(record["image"]).write_bytes(b"II*\0")
    first, second = stacks_of(drawn)
    with pytest.raises(InputError, match="P-1-69_image"):
        ReadStackd("image")(first)
    assert ReadStackd("image")(second)[0]["present"].sum() == 5


def test_records_without_a_place_are_stacks_of_their_own(drawn: list[dict[str, Any]]) -> None:
    bare = [{key: record[key] for key in ("name", "image", "label", "group")} for record in drawn]
    items = read(bare)
    assert [item["name"] for item in items] == [record["name"] for record in drawn]
    assert all(item["present"].shape == (1, 1) and item["drawn"].all() for item in items)
    assert [item["group"] for item in items] == [record["group"] for record in drawn]


def test_patients_of_one_name_in_two_data_sets_are_two_stacks(drawn: list[dict[str, Any]]) -> None:
    twice = [{**r, "dataset": name, "name": f"{name}_{r['name']}"} for name in ("x", "y") for r in drawn[:5]]
    assert [record["name"] for record in stacks_of(twice)] == ["P-1", "P-1_2"]


# Real images


@pytest.mark.data
def test_a_real_study_is_one_stack_and_its_pictures_lie_in_it(real_data: Path) -> None:
    [item] = items_of(real_data / "sunnybrook" / "challenge_training" / "SC-HF-I-1")
    assert item["pixels"].shape == (20, 12, 256, 256) and len(item["image"]) == 240 and item["problems"] == []
    assert item["stems"][0][0].startswith("IM-0004-") and len(set(stems_of([item]))) == 240
    assert (np.diff(item["trigger_times_ms"]) > 0).all()
    records = load_datalist(real_data / "sunnybrook" / "png")
    [pictures] = read([record for record in records if record["group"] == "SC-HF-I-01"])
    for phase, place in np.argwhere(pictures["present"]):
        [there] = np.argwhere(item["instances"] == pictures["instances"][phase, place])
        same = np.corrcoef(item["pixels"][tuple(there)].ravel(), pictures["pixels"][phase, place].ravel())[0, 1]
        assert same > 0.999


@pytest.mark.data
def test_real_pictures_are_a_stack_per_patient_with_all_that_was_drawn(real_data: Path) -> None:
    records = load_datalist(real_data / "sunnybrook" / "png")
    made = stacks_of(records)
    assert len(made) == 29 and len({record["name"] for record in made}) == 29
    items = read(records[:100])
    assert sum(item["drawn"].sum() for item in items) == 100
    for item in items:
        assert len(item["phase_numbers"]) == 2 and {item["ed_phase"], item["es_phase"]} == {0, 1}
        assert item["slice_distance_mm"] and not item["spacing_assumed"]
        assert np.array_equal(item["present"], item["drawn"]) and item["problems"] == []


@pytest.mark.data
def test_a_real_folder_of_all_kinds_gives_its_studies(real_data: Path) -> None:
    names = [record["name"] for record in stack_records(real_data / "sunnybrook")]
    assert names == ["SCD0000301_CINESAX_5", "challenge_training_SC-HF-I-1", "challenge_training_SC-HF-I-2"]
