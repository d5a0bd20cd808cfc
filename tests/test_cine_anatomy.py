"""A heart that beats comes back as it was; what is not the heart goes, what is missing inside it returns."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from common.cine.anatomy import clean_stack
from common.cine.function import heart_function, measure_volumes

SPACING = (1.4, 1.4)
PHASES, SLICES, ROWS, COLUMNS = 8, 9, 96, 112
BASE, APEX = 1, 7  # first and last slice of the heart in diastole


def ring(row: float, column: float, inner: float, outer: float) -> np.ndarray:
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    distance = np.hypot(rows - row, columns - column)
    return np.where(distance <= inner, 1, np.where(distance <= outer, 2, 0)).astype(np.uint8)


def beating_heart() -> np.ndarray:
    """Contracts by half, moves, shortens by one slice at both ends in systole; tilted by 2 px per slice."""
    maps = np.zeros((PHASES, SLICES, ROWS, COLUMNS), np.uint8)
    for phase in range(PHASES):
        squeeze = 0.5 - 0.5 * np.cos(2 * np.pi * phase / PHASES)
        for part in range(BASE, APEX + 1):
            if squeeze > 0.7 and part in (BASE, APEX):
                continue
            size = 1 - 0.08 * (part - BASE)
            inner = 16 * size * (1 - 0.5 * squeeze)
            outer = inner + 6 + 3 * squeeze
            maps[phase, part] = ring(45 + 2 * part + 2 * squeeze, 50 + part, inner, outer)
    return maps


@pytest.fixture
def heart() -> np.ndarray:
    return beating_heart()


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * np.sum((one == two) & (one > 0)) / (np.sum(one > 0) + np.sum(two > 0)))


def holds_one_closed_object(image: np.ndarray) -> bool:
    one = ndimage.label(image > 0)[1] == 1 and ndimage.label(image == 1)[1] <= 1
    full = not (ndimage.binary_fill_holes(image > 0) & (image == 0)).any()
    closed = not (ndimage.binary_dilation(image == 1) & (image == 0)).any()
    return bool(one and full and closed)


def test_a_correct_beating_heart_comes_back_unchanged(heart: np.ndarray) -> None:
    cleaned = clean_stack(heart, SPACING)
    assert np.array_equal(cleaned.maps, heart)
    assert cleaned.maps.dtype == np.uint8
    assert not cleaned.changed_px.any()
    assert cleaned.removed_frames == cleaned.filled_frames == ()


def test_cavities_without_myocardium_come_back_unchanged(heart: np.ndarray) -> None:
    cavities = np.where(heart == 1, 1, 0).astype(np.uint8)
    assert np.array_equal(clean_stack(cavities, SPACING).maps, cavities)


def test_a_phase_without_walls_beside_one_with_walls_comes_back_unchanged(heart: np.ndarray) -> None:
    drawn = np.stack([heart[0], np.where(heart[0] == 1, 1, 0)]).astype(np.uint8)  # walls at end-diastole only
    drawn[1, 8, 60:64, 57:61] = 1  # a small apex, in a phase that has no walls anywhere
    assert np.array_equal(clean_stack(drawn, SPACING).maps, drawn)


def test_slices_without_heart_stay_empty(heart: np.ndarray) -> None:
    cleaned = clean_stack(heart, SPACING).maps
    assert np.array_equal(cleaned.any(axis=(2, 3)), heart.any(axis=(2, 3)))
    assert not cleaned[:, 0].any()
    assert not cleaned[4, BASE].any()  # in systole the base has left its slice


def test_islands_are_removed_even_if_larger_than_the_heart(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    spoilt[3, 4, 2:8, 2:8] = 1  # alone in its frame's neighbourhood
    spoilt[:, 6, 80:84, 2:6] = 2  # in every phase
    spoilt[7, 3, 5:90, 85:112] = 1  # larger than the heart
    assert (spoilt[7, 3, :, 85:] > 0).sum() > (heart[7, 3] > 0).sum()
    cleaned = clean_stack(spoilt, SPACING)
    assert np.array_equal(cleaned.maps, heart)
    assert np.array_equal(cleaned.changed_px, (spoilt != heart).sum(axis=(2, 3)))


def test_an_island_outside_the_heart_is_removed_and_the_frame_named(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    spoilt[5, 0] = ring(20, 95, 6, 10)
    spoilt[2, 8, 5:9, 5:9] = 1
    cleaned = clean_stack(spoilt, SPACING)
    assert np.array_equal(cleaned.maps, heart)
    assert cleaned.removed_frames == ((2, 8), (5, 0))


def test_specks_of_cavity_beside_the_heart_s_ends_are_removed_but_an_apex_with_wall_stays(heart: np.ndarray) -> None:
    tip = heart.copy()
    tip[0, 8, 59:66, 55:62] = ring(62, 58, 1.5, 3)[59:66, 55:62]
    assert np.array_equal(clean_stack(tip, SPACING).maps, tip)
    speck = heart.copy()
    speck[0, 8, 60:64, 57:61] = 1
    assert np.array_equal(clean_stack(speck, SPACING).maps, heart)


def test_specks_of_wall_without_cavity_are_removed_at_the_heart_s_ends(heart: np.ndarray) -> None:
    speckled = heart.copy()
    speckled[0, BASE - 1, 44:52, 50:54] = 2  # overlaps the next slice's heart
    cleaned = clean_stack(speckled, SPACING)
    assert np.array_equal(cleaned.maps, heart)
    assert cleaned.removed_frames == ((0, BASE - 1),)


def test_a_second_ventricle_tracked_through_all_frames_is_removed(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    spoilt[:, 2:6, 20:80, 82:110] = 1  # no wall around it, and larger than the true one
    assert np.array_equal(clean_stack(spoilt, SPACING).maps, heart)


def test_holes_are_filled_with_the_class_around_them(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    middle = np.argwhere(heart[0, 3] == 1).mean(axis=0).astype(int)
    spoilt[0, 3, middle[0] - 2 : middle[0] + 3, middle[1] - 2 : middle[1] + 3] = 0
    spoilt[4, 3, middle[0] - 1 : middle[0] + 2, middle[1]] = 2  # papillary muscle inside the cavity
    wall = np.argwhere(ndimage.distance_transform_edt(heart[7, 3] == 2) > 2.9)[0]
    spoilt[7, 3, wall[0], wall[1]] = 0
    spoilt[1, 3, wall[0], wall[1]] = (
        1  # a cavity inside the wall: the heart is the same one phase before and after diastole
    )
    assert (spoilt != heart).sum() > 25
    assert np.array_equal(clean_stack(spoilt, SPACING).maps, heart)


def test_a_cavity_divided_by_a_papillary_muscle_is_joined(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    row, column = np.argwhere(heart[0, 3] == 1).mean(axis=0).astype(int)
    spoilt[0, 3, row - 1 : row + 2][spoilt[0, 3, row - 1 : row + 2] == 1] = 2
    assert ndimage.label(spoilt[0, 3] == 1)[1] == 2
    cleaned = clean_stack(spoilt, SPACING).maps
    assert ndimage.label(cleaned[0, 3] == 1)[1] == 1
    assert dice(cleaned[0, 3], heart[0, 3]) > 0.98


def test_a_gap_in_the_wall_is_closed_and_the_cavity_kept(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    part = spoilt[2, 4]
    part[:, 50:56][(part[:, 50:56] == 2) & (np.arange(ROWS)[:, None] < 50)] = 0
    cleaned = clean_stack(spoilt, SPACING).maps
    assert holds_one_closed_object(cleaned[2, 4])
    assert np.array_equal(cleaned == 1, heart == 1)
    untouched = np.ones((PHASES, SLICES), bool)
    untouched[2, 4] = False
    assert np.array_equal(cleaned[untouched], heart[untouched])


def test_a_false_slice_inside_the_heart_is_replaced_from_the_neighbouring_phases(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    spoilt[2, 4] = ring(15, 95, 8, 14)
    cleaned = clean_stack(spoilt, SPACING)
    assert cleaned.filled_frames == ((2, 4),)
    assert cleaned.removed_frames == ()
    assert dice(cleaned.maps[2, 4], heart[2, 4]) > 0.9
    area, truth = (cleaned.maps[2, 4] == 1).sum(), (heart[2, 4] == 1).sum()
    assert abs(area - truth) < 0.1 * truth


def test_a_slice_missing_in_one_phase_alone_is_replaced_from_the_slices_beside_it(heart: np.ndarray) -> None:
    spoilt = heart[:1].copy()
    spoilt[0, 4] = 0
    cleaned = clean_stack(spoilt, SPACING)
    assert cleaned.filled_frames == ((0, 4),)
    assert dice(cleaned.maps[0, 4], heart[0, 4]) > 0.9


def test_a_false_slice_in_every_phase_does_not_cut_off_the_apex(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    spoilt[:, 4] = ring(12, 98, 5, 9)
    cleaned = clean_stack(spoilt, SPACING).maps
    kept = [part for part in range(SLICES) if part != 4]
    assert np.array_equal(cleaned[:, kept], heart[:, kept])
    assert min(dice(cleaned[phase, 4], heart[phase, 4]) for phase in range(PHASES)) > 0.85


def test_an_object_far_from_the_line_of_centres_goes_though_it_overlaps(heart: np.ndarray) -> None:
    spoilt = heart.copy()
    rows, columns = np.argwhere(heart[0, BASE] > 0).mean(axis=0)
    spoilt[0, 0] = ring(rows, columns + 22, 14, 20)  # 31 mm beside the axis, over two thirds of the heart's next slice
    assert clean_stack(spoilt, SPACING).removed_frames == ((0, 0),)
    assert clean_stack(spoilt, SPACING, shift_mm=60).removed_frames == ()


def test_cleaning_twice_equals_cleaning_once(heart: np.ndarray, rng: np.random.Generator) -> None:
    spoilt = heart.copy()
    blocks = rng.integers(0, 3, (PHASES, SLICES, ROWS // 4, COLUMNS // 4)).repeat(4, axis=2).repeat(4, axis=3)
    chosen = (rng.random((PHASES, SLICES, ROWS // 4, COLUMNS // 4)) < 0.06).repeat(4, axis=2).repeat(4, axis=3)
    spoilt[chosen] = blocks[chosen]
    once = clean_stack(spoilt, SPACING).maps
    assert np.array_equal(clean_stack(once, SPACING).maps, once)
    assert all(holds_one_closed_object(image) for stack in once for image in stack if image.any())
    assert dice(once, heart) > dice(spoilt, heart)


def test_moving_and_mirroring_the_stack_moves_and_mirrors_the_result(
    heart: np.ndarray, rng: np.random.Generator
) -> None:
    spoilt = heart.copy()
    for phase, part, row, column in zip(*(rng.integers(0, size, 60) for size in spoilt.shape), strict=True):
        spoilt[phase, part, row : row + 7, column : column + 5] = rng.integers(0, 3)
    cleaned = clean_stack(spoilt, SPACING).maps
    assert not np.array_equal(cleaned, spoilt)
    assert np.array_equal(clean_stack(spoilt[..., ::-1], SPACING).maps, cleaned[..., ::-1])
    assert np.array_equal(clean_stack(spoilt[:, ::-1], SPACING).maps, cleaned[:, ::-1])
    assert np.array_equal(clean_stack(np.roll(spoilt, 3, axis=0), SPACING).maps, np.roll(cleaned, 3, axis=0))


def test_frames_that_do_not_exist_stay_empty_and_cut_nothing(heart: np.ndarray) -> None:
    present = np.zeros((PHASES, SLICES), bool)
    present[[0, 4]] = True  # end-diastole and end-systole only
    present[4, 4] = False
    given = np.where(present[:, :, None, None], heart, 0)
    cleaned = clean_stack(heart, SPACING, present)
    assert np.array_equal(cleaned.maps, given)
    assert cleaned.filled_frames == ()


def test_a_stack_without_heart_is_no_error() -> None:
    empty = np.zeros((2, 3, 8, 9), np.uint8)
    assert np.array_equal(clean_stack(empty, SPACING).maps, empty)


def test_a_single_slice_keeps_its_object_with_a_wall() -> None:
    single = ring(40, 40, 10, 16)[None, None]
    single[0, 0, 60:90, 70:110] = 1
    assert np.array_equal(clean_stack(single, SPACING).maps[0, 0], ring(40, 40, 10, 16))


@pytest.mark.parametrize("wrong", [np.zeros((3, 8, 9), np.uint8), np.full((1, 1, 4, 4), 3), np.zeros((1, 1, 4, 4))])
def test_other_arrangements_and_classes_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="classes 0 to 2"):
        clean_stack(wrong, SPACING)
    with pytest.raises(ValueError, match="present"):
        clean_stack(np.zeros((2, 2, 4, 4), np.uint8), SPACING, np.ones((1, 2), bool))


def drawn_stack(folder: Path, patient: str) -> tuple[np.ndarray, np.ndarray]:
    """(20 phases, slices, rows, columns) classes of the given masks, and which frames exist."""
    frames = {}
    for path in sorted((folder / "endocardium").rglob(f"{patient}-IM-0001-*.png")):
        cavity = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        outer = cv2.imread(str(next((folder / "epicardium").rglob(path.name), "")), cv2.IMREAD_GRAYSCALE)
        number = int(path.stem[-4:]) - 1
        frames[number % 20, number // 20] = np.where(cavity > 0, 1, 0 if outer is None else np.where(outer > 0, 2, 0))
    maps = np.zeros((20, max(part for _, part in frames) + 1, *cavity.shape), np.uint8)
    present = np.zeros(maps.shape[:2], bool)
    for (phase, part), image in frames.items():
        maps[phase, part] = image
        present[phase] = True
    return maps, present


@pytest.mark.data
@pytest.mark.parametrize("patient", ["SC-HF-I-04", "SC-HF-NI-34", "SC-HYP-37", "SC-HYP-38", "SC-N-03"])
def test_drawn_hearts_come_back_and_their_phases_are_found(real_data: Path, patient: str) -> None:
    folder = real_data / "sunnybrook"
    with (folder / "patients.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["patient"] == patient)
    maps, present = drawn_stack(folder / "png", patient)
    spacing = (float(row["dy_mm"]), float(row["dx_mm"]))
    cleaned = clean_stack(maps, spacing, present)
    assert cleaned.removed_frames == cleaned.filled_frames == ()
    assert cleaned.changed_px.sum() < 0.001 * np.count_nonzero(maps)
    assert np.array_equal(cleaned.maps == 1, maps == 1)
    found = heart_function(measure_volumes(cleaned.maps, spacing, float(row["dz_mm"]), present))
    assert found.ed_phase == int(row["ed_phase"]) - 1
    assert found.es_phase == int(row["es_phase"]) - 1
