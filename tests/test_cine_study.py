"""A folder of DICOM files as cine stacks: order by place and time, series told apart, what is left out is named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import AXIAL, COLUMNS, DISTANCE, PATIENT, PHASES, ROWS, SLICES, oblique, value, write_cine, write_mr

from common.cine.reading.geometry import to_patient
from common.cine.reading.study import CineStudy, read_studies
from common.errors import InputError, Problem


def order(study: CineStudy) -> np.ndarray:
    assert (study.pixels == study.pixels[..., :1, :1]).all()
    return study.pixels[..., 0, 0]


def expected(phases: Iterable[int] = range(PHASES), slices: Iterable[int] = range(SLICES)) -> np.ndarray:
    places = list(slices)
    return np.array([[value(phase, place) for place in places] for phase in phases])


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("orientation", [AXIAL, oblique(), oblique(2.5, -0.4)])
def test_order_does_not_depend_on_file_names(
    tmp_path: Path, rng: np.random.Generator, timed: bool, orientation: tuple[float, ...]
) -> None:
    names = [f"{letter}/{number}.dcm" for number, letter in zip(rng.permutation(20), "abcd" * 5, strict=True)]
    write_cine(tmp_path, names, orientation=orientation, timed=timed)
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected())
    assert problems == []


@pytest.mark.parametrize("orientation", [AXIAL, oblique(), oblique(-1.0, 2.2)])
def test_affine_maps_index_to_the_position_of_each_source_file(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    write_cine(tmp_path, orientation=orientation)
    [study] = read_studies(tmp_path)
    for row in study.sources:
        for place, source in enumerate(row):
            written = pydicom.dcmread(source.path).ImagePositionPatient
            assert np.allclose(to_patient(study.affine, np.array([[0, 0, place]]))[0], written, atol=1e-4)
    assert study.slice_distance_mm == pytest.approx(DISTANCE)


def test_every_frame_keeps_its_file(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    [study] = read_studies(tmp_path)
    for (phase, place), path in paths.items():
        source = study.sources[phase][place]
        assert source.path == path
        assert source.sop_instance_uid == pydicom.dcmread(path).SOPInstanceUID


def test_times_are_kept_per_slice(tmp_path: Path) -> None:
    write_cine(tmp_path)
    [study] = read_studies(tmp_path)
    assert study.trigger_times_ms[:, 0].tolist() == [80, 240, 400, 560, 720]
    assert study.trigger_times_ms[0].tolist() == [80, 81, 82, 83]
    assert study.time_step_ms == pytest.approx(163)


def test_equal_trigger_times_are_no_order(tmp_path: Path) -> None:
    write_cine(tmp_path, TriggerTime=0)
    [study] = read_studies(tmp_path, [])
    assert np.array_equal(order(study), expected())


def test_trigger_time_goes_before_instance_number(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    for path in paths.values():
        dataset = pydicom.dcmread(path)
        dataset.InstanceNumber = 1000 - int(dataset.InstanceNumber)
        dataset.save_as(path)
    [study] = read_studies(tmp_path)
    assert np.array_equal(order(study), expected())


def test_copies_of_an_instance_are_kept_once_and_named(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "copy.dcm").write_bytes(paths[2, 1].read_bytes())
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected())
    assert len(problems) == 1 and "1 copies" in problems[0].reason
    assert problems[0].name in ("again/copy.dcm", paths[2, 1].name)


@pytest.mark.parametrize("timed", [True, False])
def test_same_place_and_time_is_kept_once_and_named(tmp_path: Path, timed: bool) -> None:
    paths = write_cine(tmp_path, timed=timed)
    dataset = pydicom.dcmread(paths[2, 1])
    dataset.SOPInstanceUID = "9.9"
    dataset.file_meta.MediaStorageSOPInstanceUID = "9.9"
    dataset.save_as(tmp_path / "other.dcm")
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected())
    assert len(problems) == 1 and "place and time" in problems[0].reason


def test_localiser_among_the_cine_is_left_out_and_named(tmp_path: Path) -> None:
    write_cine(tmp_path)
    stored = np.full((ROWS, COLUMNS), 7, np.int16)
    write_mr(tmp_path / "scout.dcm", stored, orientation=oblique(), InstanceNumber=0, TriggerTime=1)
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected())
    assert [problem.name for problem in problems] == ["scout.dcm"]
    assert "localiser" in problems[0].reason


def test_stray_image_parallel_to_the_cine_is_left_out_and_named(tmp_path: Path) -> None:
    write_cine(tmp_path)
    stored = np.full((ROWS, COLUMNS), 7, np.int16)
    write_mr(tmp_path / "stray.dcm", stored, ImagePositionPatient=[5, -3, 500], TriggerTime=1, NominalInterval=800)
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected())
    assert [problem.name for problem in problems] == ["stray.dcm"]


def test_series_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    write_cine(tmp_path, [f"{number}.dcm" for number in range(0, 40, 2)])
    write_cine(tmp_path, [f"{number}.dcm" for number in range(1, 41, 2)], SeriesInstanceUID="1.2.3.9", SeriesNumber=9)
    long_axis = oblique()
    write_cine(tmp_path, [f"long{number}.dcm" for number in range(5)], slices=1, orientation=long_axis)
    problems: list[Problem] = []
    studies = read_studies(tmp_path, problems)
    assert problems == []
    assert [(study.phases, study.slices) for study in studies] == [(5, 4), (5, 4), (5, 1)]
    assert len({study.name for study in studies}) == 3
    for study in studies:
        assert np.array_equal(order(study), expected(slices=range(study.slices)))
        assert len({source.series_uid for row in study.sources for source in row}) == 1


def test_series_of_one_slice_each_are_one_stack(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    for (_, place), path in paths.items():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.3.{50 - place}", 50 - place
        dataset.save_as(path)
    [study] = read_studies(tmp_path)
    assert np.array_equal(order(study), expected())


def test_one_phase_is_a_study_that_says_so(tmp_path: Path) -> None:
    write_cine(tmp_path, phases=1)
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert (study.phases, study.slices, study.time_step_ms) == (1, SLICES, None)
    assert "one phase" in study.notes[0]
    assert "one phase" in problems[0].reason


def test_single_file_is_a_study_of_one_frame(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    [study] = read_studies(paths[0, 0])
    assert (study.phases, study.slices) == (1, 1)
    assert study.slice_distance_mm == DISTANCE


@pytest.mark.parametrize("timed", [True, False])
def test_lost_frame_costs_its_phase_and_the_others_stay_in_step(tmp_path: Path, timed: bool) -> None:
    write_cine(tmp_path, timed=timed)[1, 2].unlink()
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected([0, 2, 3, 4]))
    assert len(problems) == 1 and "1 phase(s)" in problems[0].reason


def test_slice_with_few_phases_is_left_out_and_named(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    for phase in (0, 1, 2, 4):
        paths[phase, 3].unlink()
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected(slices=range(3)))
    assert [problem.name for problem in problems] == [paths[3, 3].name]
    assert "1 of 5 phases" in problems[0].reason


def test_end_diastole_and_end_systole_alone_are_two_phases(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    for (phase, place), path in paths.items():
        if phase not in (1, 4) and place != 2:
            path.unlink()
    [study] = read_studies(tmp_path, [])
    assert np.array_equal(order(study), expected([1, 4]))


def test_missing_slice_is_named_as_uneven_and_the_rest_goes_on(tmp_path: Path) -> None:
    for (_, place), path in write_cine(tmp_path).items():
        if place == 1:
            path.unlink()
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected(slices=[0, 2, 3]))
    assert "10.00 to 20.00 mm" in problems[0].reason
    assert problems[0].reason in study.notes


def test_damaged_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    paths = write_cine(tmp_path)
    cut = paths[4, 0]
    cut.write_bytes(cut.read_bytes()[:900])
    (tmp_path / "text.dcm").write_text("no DICOM", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no DICOM and not said to be", encoding="utf-8")
    write_mr(tmp_path / "spaceless.dcm", np.zeros((3, 3), np.int16), PixelSpacing=None)
    write_mr(tmp_path / "placeless.dcm", np.zeros((3, 3), np.int16), ImagePositionPatient=None)
    problems: list[Problem] = []
    [study] = read_studies(tmp_path, problems)
    assert np.array_equal(order(study), expected(range(4)))
    names = [problem.name for problem in problems]
    assert {cut.name, "text.dcm", "spaceless.dcm", "placeless.dcm"} < set(names)
    assert "notes.txt" not in names


def test_without_a_list_the_first_problem_is_raised(tmp_path: Path) -> None:
    write_cine(tmp_path)
    (tmp_path / "text.dcm").write_text("no DICOM", encoding="utf-8")
    with pytest.raises(InputError, match="text.dcm"):
        read_studies(tmp_path)


@pytest.mark.parametrize("content", [None, "notes.txt", "broken.dcm"])
def test_folder_without_a_usable_image_is_refused(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).write_text("no DICOM", encoding="utf-8")
    with pytest.raises(InputError, match="DICOM"):
        read_studies(tmp_path, [])
    with pytest.raises(InputError, match="no such file or folder"):
        read_studies(tmp_path / "absent", [])


def test_names_come_from_folders_never_from_tags(tmp_path: Path) -> None:
    write_cine(tmp_path / "p1" / "sax")
    write_cine(tmp_path / "p2", StudyInstanceUID="1.2.4")
    studies = read_studies(tmp_path)
    assert sorted(study.name for study in studies) == ["p1_sax", "p2"]
    assert read_studies(tmp_path / "p2")[0].name == "p2"
    assert PATIENT not in repr(studies)


# real images


@pytest.mark.data
def test_whole_sunnybrook_cine_agrees_with_the_numbers_of_its_files(real_data: Path) -> None:
    problems: list[Problem] = []
    [study] = read_studies(real_data / "sunnybrook" / "challenge_training" / "SC-HF-I-1", problems)
    assert problems == []
    assert study.pixels.shape == (20, 12, 256, 256)
    assert study.slice_distance_mm == pytest.approx(10, abs=0.01)
    for phase, row in enumerate(study.sources):
        for place, source in enumerate(row):
            number = int(source.path.stem[-4:])
            assert (phase, place) == ((number - 1) % 20, (number - 1) // 20)
    assert 30 < (study.time_step_ms or 0) < 45


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "slices", "distance"), [("challenge_training/SC-HF-I-2", 13, 10), ("SCD0000301/CINESAX_5", 10, 8)]
)
def test_sunnybrook_end_diastole_and_end_systole_are_two_phases(
    real_data: Path, folder: str, slices: int, distance: float
) -> None:
    problems: list[Problem] = []
    [study] = read_studies(real_data / "sunnybrook" / folder, problems)
    assert problems == []
    assert study.pixels.shape == (2, slices, 256, 256)
    assert study.slice_distance_mm == pytest.approx(distance, abs=0.01)
    numbers = [[int(source.path.stem[-4:]) - 1 for source in row] for row in study.sources]
    assert [[number // 20 for number in row] for row in numbers] == [list(range(slices))] * 2
    assert [{number % 20 for number in row} for row in numbers] == [{6}, {19}]
