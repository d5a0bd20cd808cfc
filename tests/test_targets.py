"""Training targets against brute force, object by object and pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.images.boundaries import boundary_mask
from common.nuclei.targets import normalised_distance, touching_mask, typical_diameter


def random_map(seed: int) -> np.ndarray:
    """A small instance map of discs, rectangles and single pixels; many touch, ids have gaps, some are cut by the frame."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(tuple(rng.integers(8, 32, 2)), np.int32)
    for index in rng.permutation(np.arange(1, 30))[: rng.integers(1, 14)]:
        row, column = (int(rng.integers(n)) for n in labels.shape)
        kind = rng.integers(3)
        if kind == 0:
            cv2.circle(labels, (column, row), int(rng.integers(1, 9)), int(index), -1)
        elif kind == 1:
            labels[row : row + int(rng.integers(1, 12)), column : column + int(rng.integers(1, 12))] = index
        else:
            labels[row, column] = index
    return labels


MAPS = [random_map(seed) for seed in range(12)]


def neighbours(labels: np.ndarray, row: int, column: int) -> list[tuple[int, int]]:
    places = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [(r, c) for r, c in places if 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1]]


@pytest.mark.parametrize("labels", MAPS)
def test_boundary_is_where_one_of_four_neighbours_differs(labels: np.ndarray) -> None:
    expected = np.zeros(labels.shape, bool)
    for row, column in np.argwhere(labels > 0):
        expected[row, column] = any(labels[p] != labels[row, column] for p in neighbours(labels, row, column))
    np.testing.assert_array_equal(boundary_mask(labels), expected)


@pytest.mark.parametrize("labels", MAPS)
def test_touching_is_within_one_pixel_of_where_two_objects_meet(labels: np.ndarray) -> None:
    meet = np.zeros(labels.shape, bool)
    for row, column in np.argwhere(labels > 0):
        meet[row, column] = any(labels[p] not in (0, labels[row, column]) for p in neighbours(labels, row, column))
    expected = np.zeros(labels.shape, bool)
    for row, column in np.argwhere(meet):
        expected[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    np.testing.assert_array_equal(touching_mask(labels), expected)


def test_objects_that_meet_by_a_corner_do_not_touch() -> None:
    labels = np.kron(np.array([[1, 0], [0, 2]], np.int32), np.ones((3, 3), np.int32))
    assert not touching_mask(labels).any()


@pytest.mark.parametrize("labels", MAPS)
def test_distance_is_that_to_the_own_outline_over_its_largest(labels: np.ndarray) -> None:
    outline = boundary_mask(labels)
    expected = np.zeros(labels.shape)
    for index in np.unique(labels[labels > 0]):
        own = np.argwhere(labels == index)
        edge = np.argwhere((labels == index) & outline)
        if len(edge) == 0:
            expected[labels == index] = 1.0
            continue
        distance = np.sqrt(((own[:, None] - edge[None]) ** 2).sum(-1)).min(1) + 0.5
        expected[tuple(own.T)] = distance / distance.max()
    found = normalised_distance(labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("labels", [*MAPS, np.zeros((5, 7), np.int32), np.full((5, 7), 3, np.int32)])
def test_distance_is_nought_outside_and_reaches_one_in_every_object(labels: np.ndarray) -> None:
    distance = normalised_distance(labels)
    assert not distance[labels == 0].any()
    assert (distance[labels > 0] > 0).all()
    assert all(distance[labels == index].max() == 1.0 for index in np.unique(labels[labels > 0]))


def test_distance_does_not_change_with_the_size_of_the_object() -> None:
    small, large = np.zeros((61, 61), np.int32), np.zeros((241, 241), np.int32)
    cv2.circle(small, (30, 30), 24, 1, -1)
    cv2.circle(large, (120, 120), 96, 1, -1)
    shrunk = normalised_distance(large)[::4, ::4]
    assert np.abs(shrunk - normalised_distance(small)).max() < 0.06


@pytest.mark.parametrize("radius", [3, 8, 20])
def test_typical_diameter_of_discs_is_theirs_whatever_the_debris(radius: int) -> None:
    labels = np.zeros((60, 200), np.int32)
    for index, column in enumerate((30, 80, 130), start=2):
        cv2.circle(labels, (column, 30), radius, index, -1)
    expected = 2 * np.sqrt((labels == 2).sum() / np.pi)
    for column in range(160, 190, 2):  # more specks than discs, and gaps between ids
        labels[0, column] = column
    assert expected == pytest.approx(2 * radius, abs=1)
    assert typical_diameter(labels) == pytest.approx(expected)


def test_typical_diameter_without_objects_is_not_a_number() -> None:
    assert np.isnan(typical_diameter(np.zeros((4, 4), np.int32)))
