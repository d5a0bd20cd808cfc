"""Maps to instances: every object once, touching ones apart, clean and with a confidence."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from common.nuclei.instances import DecodeSettings, Instances, decode, fill_holes
from common.nuclei.targets import normalised_distance

SETTINGS = DecodeSettings()
DIAMETER = 20.0


def discs(shape: tuple[int, int], places: list[tuple[int, int, int]]) -> np.ndarray:
    """Instance map of discs (row, column, radius)."""
    labels = np.zeros(shape, np.int32)
    for index, (row, column, radius) in enumerate(places, start=1):
        cv2.circle(labels, (column, row), radius, index, -1)
    return labels


def perfect(labels: np.ndarray, sure: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    return np.where(labels > 0, sure, 0.02).astype(np.float32), normalised_distance(labels)


def overlap_of_each(truth: np.ndarray, found: np.ndarray) -> list[float]:
    """Best intersection over union of each true object."""
    best = []
    for index in range(1, truth.max() + 1):
        mask = truth == index
        ids = np.unique(found[mask])
        best.append(max(((found == i) & mask).sum() / ((found == i) | mask).sum() for i in ids) if ids.any() else 0.0)
    return best


def assert_valid(result: Instances, shape: tuple[int, int]) -> None:
    assert result.labels.shape == shape
    assert result.labels.dtype == np.int32
    assert result.confidence.dtype == np.float32
    assert np.array_equal(np.unique(np.append(result.labels, 0)), np.arange(len(result.confidence) + 1))
    assert ((result.confidence >= 0) & (result.confidence <= 1)).all()


@pytest.mark.parametrize("seed", range(6))
def test_discs_come_back_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = [
        (20 * i + 10 + int(rng.integers(-2, 3)), 20 * j + 10, int(rng.integers(5, 8)))
        for i in range(6)
        for j in range(9)
    ]
    truth = discs((120, 180), places)
    result = decode(*perfect(truth), DIAMETER, SETTINGS)
    assert_valid(result, truth.shape)
    assert len(result.confidence) == len(places)
    assert min(overlap_of_each(truth, result.labels)) > 0.95
    assert result.confidence.min() > 0.7


@pytest.mark.parametrize("gap", [12, 15, 18, 20])
def test_touching_discs_are_parted(gap: int) -> None:
    truth = discs((50, 120), [(25, 25 + k * gap, 10) for k in range(4)])
    result = decode(*perfect(truth), DIAMETER, SETTINGS)
    assert len(result.confidence) == 4
    assert min(overlap_of_each(truth, result.labels)) > 0.85


@pytest.mark.parametrize(
    ("saddle", "peaks", "expected"),
    [
        (0.20, (0.9, 0.9), 2),  # parted already at the level of the cores
        (0.55, (0.9, 0.9), 2),
        (0.55, (0.9, 0.75), 2),
        (0.75, (0.95, 0.95), 2),
        (0.65, (0.75, 0.75), 1),  # two bumps that hardly rise above what joins them
        (0.55, (0.9, 0.62), 1),
        (0.20, (0.35, 0.9), 2),  # low, but a core of its own
    ],
)
def test_a_core_with_two_summits_is_parted_if_both_rise_above_the_saddle(
    saddle: float, peaks: tuple[float, float], expected: int
) -> None:
    profile = np.interp(np.arange(60), [5, 18, 30, 42, 55], [0.0, peaks[0], saddle, peaks[1], 0.0])
    rows = np.interp(np.arange(24), [2, 12, 21], [0.0, 1.0, 0.0])
    distance = (rows[:, None] * profile).astype(np.float32)
    foreground = np.where(distance > 0, 0.95, 0.02).astype(np.float32)
    settings = DecodeSettings(min_confidence=0.0, smoothing=0.0)
    assert len(decode(foreground, distance, DIAMETER, settings).confidence) == expected


def test_a_core_can_part_more_than_once() -> None:
    profile = np.interp(np.arange(90), [2, 15, 28, 41, 54, 67, 80], [0.0, 0.95, 0.4, 0.95, 0.7, 0.95, 0.0])
    rows = np.interp(np.arange(24), [2, 12, 21], [0.0, 1.0, 0.0])
    distance = (rows[:, None] * profile).astype(np.float32)
    result = decode(np.where(distance > 0, 0.95, 0.02).astype(np.float32), distance, DIAMETER, SETTINGS)
    assert len(result.confidence) == 3
    assert [int(result.labels[12, column] > 0) for column in (15, 41, 67)] == [1, 1, 1]
    assert len({int(result.labels[12, column]) for column in (15, 41, 67)}) == 3


@pytest.mark.parametrize("seed", range(4))
def test_any_maps_give_valid_connected_instances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 90, 2))
    noise = [cv2.GaussianBlur(rng.random(shape, dtype=np.float32), (0, 0), 2.0) for _ in range(2)]
    foreground, distance = (np.clip((part - 0.5) * 4 + 0.6, 0, 1) for part in noise)
    result = decode(foreground, distance, 8.0, DecodeSettings(min_confidence=0.0, min_diameter=0.0))
    assert_valid(result, shape)
    for index in range(1, len(result.confidence) + 1):
        assert ndimage.label(result.labels == index)[1] == 1
    # Every pixel of the foreground belongs to an object, and beyond it holes only.
    assert (result.labels[foreground > 0.5] > 0).all()


def test_holes_are_filled_but_not_with_other_objects() -> None:
    truth = discs((60, 60), [(30, 30, 20)])
    foreground, distance = perfect(truth)
    foreground[25:28, 38:41] = 0.1
    result = decode(foreground, distance, 40.0, SETTINGS)
    np.testing.assert_array_equal(result.labels, truth)


def test_filling_leaves_enclosed_objects_and_open_bays() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:12, 2:12] = 1
    labels[4:10, 4:10] = 0
    labels[6:8, 6:8] = 2  # an object inside a ring
    labels[2:12, 16:26] = 3
    labels[4:10, 18:26] = 0  # a bay, open to the right
    expected = labels.copy()
    expected[4:10, 4:10] = 1
    expected[6:8, 6:8] = 2
    np.testing.assert_array_equal(fill_holes(labels.copy()), expected)


@pytest.mark.parametrize("seed", range(3))
def test_filling_equals_filling_each_object_in_the_whole_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (8, 9)), np.ones((4, 4), int)).astype(np.int32)
    labels[rng.random(labels.shape) < 0.1] = 0
    expected = labels.copy()
    for index in range(1, 4):
        holes = ndimage.binary_fill_holes(expected == index) & (expected == 0)
        expected[holes] = index
    np.testing.assert_array_equal(fill_holes(labels.copy()), expected)


@pytest.mark.parametrize(("radius", "kept"), [(1, False), (2, False), (4, True)])
def test_fragments_below_a_share_of_the_diameter_are_dropped(radius: int, kept: bool) -> None:
    truth = discs((40, 80), [(20, 20, 10), (20, 60, radius)])
    result = decode(*perfect(truth), 24.0, SETTINGS)  # a quarter of 24 pixels: discs of 6 pixels and more
    assert len(result.confidence) == 1 + kept
    assert bool(result.labels[20, 60]) == kept


def test_doubtful_objects_are_dropped_and_the_others_are_more_confident_when_clearer() -> None:
    truth = discs((40, 150), [(20, 20, 10), (20, 60, 10), (20, 100, 10)])
    foreground, distance = perfect(truth)
    foreground[truth == 2] = 0.7
    distance[truth == 3] *= 0.3  # without a core
    result = decode(foreground, distance, DIAMETER, DecodeSettings(min_confidence=0.6))
    first, second, third = (int(result.labels[20, column]) for column in (20, 60, 100))
    assert third == 0
    assert result.confidence[first - 1] > result.confidence[second - 1] > 0.6
    everything = decode(foreground, distance, DIAMETER, DecodeSettings(min_confidence=0.0))
    assert len(everything.confidence) == 3


def test_foreground_without_a_core_is_an_object_of_its_own() -> None:
    truth = discs((40, 100), [(20, 20, 10), (20, 70, 10)])
    foreground, distance = perfect(truth)
    distance[truth == 2] *= 0.5 * SETTINGS.seed
    result = decode(foreground, distance, DIAMETER, DecodeSettings(min_confidence=0.0))
    assert len(result.confidence) == 2
    assert min(overlap_of_each(truth, result.labels)) == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 17)])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_empty_maps_give_no_objects(shape: tuple[int, int], value: float) -> None:
    result = decode(np.full(shape, value, np.float32), np.ones(shape, np.float32), DIAMETER, SETTINGS)
    assert_valid(result, shape)
    assert len(result.confidence) == 0


def test_a_frame_full_of_one_object_is_one_object() -> None:
    result = decode(np.ones((30, 40), np.float32), np.ones((30, 40), np.float32), DIAMETER, SETTINGS)
    assert (result.labels == 1).all()
    np.testing.assert_allclose(result.confidence, [1.0])


def test_the_maps_are_left_as_they_were() -> None:
    maps = perfect(discs((40, 40), [(20, 20, 8)]))
    before = [part.copy() for part in maps]
    decode(*maps, DIAMETER, SETTINGS)
    for part, copy in zip(maps, before, strict=True):
        np.testing.assert_array_equal(part, copy)
