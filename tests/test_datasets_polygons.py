"""Outlines and instance maps: exact in both directions."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import points_in_poly

from common.datasets.imagescope import read_polygons
from common.datasets.labels import compact_ids, read_label_values
from common.datasets.polygons import instances_to_polygons, paint, polygon_pixels, polygons_to_instances


def _without_holes(labels: np.ndarray) -> np.ndarray:
    """The same map with every 4-connected part an object of its own and the holes of each part filled."""
    result = np.zeros(labels.shape, np.int32)
    parts = []
    for value in range(1, labels.max() + 1):
        connected, count = ndimage.label(labels == value)
        parts += [ndimage.binary_fill_holes(connected == part) for part in range(1, count + 1)]
    for part in sorted(parts, key=lambda part: -int(part.sum())):
        result[part] = result.max() + 1
    return compact_ids(result)


@pytest.mark.parametrize("seed", range(60))
def test_polygons_of_random_maps_give_the_maps_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 25, 2))
    # Smaller parts painted over larger ones may cut new holes; the second pass fills or splits those too.
    labels = _without_holes(_without_holes(random.integers(0, 4, shape)))
    rings = [rings for _, rings in instances_to_polygons(labels)]
    assert np.array_equal(polygons_to_instances(rings, shape), labels)


@pytest.mark.parametrize("seed", range(60))
def test_each_part_of_an_object_gives_one_ring_that_fills_its_holes(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (12, 9))
    for value, rings in instances_to_polygons(labels):
        connected, count = ndimage.label(labels == value)
        assert len(rings) == count
        filled = np.any([ndimage.binary_fill_holes(connected == part) for part in range(1, count + 1)], axis=0)
        assert np.array_equal(polygons_to_instances([rings], labels.shape) > 0, filled)


@pytest.mark.parametrize("seed", range(30))
def test_rings_are_simple_with_corners_only_and_positive_area(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (14, 11))
    for _, rings in instances_to_polygons(labels):
        for ring in rings:
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all(), "every edge is horizontal or vertical"
            assert (steps * np.roll(steps, -1, axis=0) == 0).all(), "no vertex lies on a straight line"
            following = np.roll(ring, -1, axis=0)
            assert (ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum() > 0


def test_a_large_rectangle_needs_four_vertices() -> None:
    labels = np.zeros((900, 1200), np.int32)
    labels[3:800, 7:1100] = 1
    [(identity, [ring])] = instances_to_polygons(labels)
    assert identity == 1
    assert ring.tolist() == [[7, 3], [1100, 3], [1100, 800], [7, 800]]


def test_ids_need_not_be_consecutive() -> None:
    labels = np.zeros((4, 9), np.uint16)
    labels[1, 1], labels[2, 6:8] = 7, 300
    assert [identity for identity, _ in instances_to_polygons(labels)] == [7, 300]
    assert instances_to_polygons(np.zeros((3, 3), np.int32)) == []


def test_a_small_object_within_a_large_one_survives_in_either_order() -> None:
    large, small = np.array([[0, 0], [8, 0], [8, 6], [0, 6]]), np.array([[2, 2], [4, 2], [4, 4], [2, 4]])
    first = polygons_to_instances([large, small], (6, 8))
    second = polygons_to_instances([small, large], (6, 8))
    assert (first == 2).sum() == 4
    assert np.array_equal(first == 2, second == 1)
    assert np.array_equal(first == 1, second == 2)


@pytest.mark.parametrize("seed", range(40))
def test_pixels_are_those_whose_centres_lie_inside(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = 13, 19
    # A star around a centre does not cross itself; it reaches outside the frame.
    angle = np.sort(random.uniform(0, 2 * np.pi, 17))
    radius = random.uniform(2, 12, 17)
    ring = np.stack([9 + radius * np.cos(angle), 6 + radius * np.sin(angle)], axis=1)
    grid = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), axis=-1).reshape(-1, 2)
    inside = np.flatnonzero(points_in_poly(grid, ring))
    assert np.array_equal(polygon_pixels(ring, (rows, columns)), inside)
    assert np.array_equal(polygon_pixels(ring[::-1], (rows, columns)), inside)
    assert np.array_equal(polygon_pixels(np.vstack([ring, ring[:1]]), (rows, columns)), inside)


@pytest.mark.parametrize("seed", range(40))
def test_neighbours_share_no_pixel_and_leave_no_gap(seed: int) -> None:
    random = np.random.default_rng(seed)
    # Vertices on the half-pixel grid put edges exactly through pixel centres.
    x = random.integers(4, 28, 9) / 2
    edge = np.stack([x, np.linspace(0, 12, 9)], axis=1)
    left = polygon_pixels(np.vstack([[0, 0], edge, [0, 12]]), (12, 16))
    right = polygon_pixels(np.vstack([[16, 12], edge[::-1], [16, 0]]), (12, 16))
    assert sorted([*left, *right]) == list(range(12 * 16))


def test_a_line_that_crosses_itself_leaves_no_hole() -> None:
    # Twice round the same square.
    square = np.array([[1, 1], [5, 1], [5, 5], [1, 5]])
    assert polygon_pixels(np.vstack([square, square]), (6, 6)).size == 16


@pytest.mark.parametrize(
    "ring", [np.empty((0, 2)), np.array([[1, 1], [4, 4]]), np.array([[20, 20], [30, 20], [30, 30]])]
)
def test_rings_without_pixels_in_the_frame_give_none(ring: np.ndarray) -> None:
    assert polygon_pixels(ring, (10, 10)).size == 0
    assert not polygons_to_instances([ring], (10, 10)).any()


def test_paint_counts_each_shared_pixel_once() -> None:
    painted = paint([np.array([0, 1, 2]), np.array([2, 3]), np.array([2])], (1, 5))
    assert painted.overlap == 1
    assert painted.instances.tolist() == [[1, 1, 3, 2, 0]]
    assert paint([], (2, 3)).instances.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_cost_follows_the_objects_not_their_number_times_the_image() -> None:
    rows, columns = np.mgrid[:2000, :2000]
    tiles = (rows // 32) * 63 + columns // 32 + 1
    labels = np.where((rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2 < 150, tiles, 0).astype(np.int32)
    start = time.thread_time()
    polygons = instances_to_polygons(labels)
    elapsed = time.thread_time() - start
    assert len(polygons) > 3900
    # 0.15 s alone on one core; looking at the whole image once per object takes minutes.
    assert elapsed < 3


@pytest.mark.data
def test_real_outlines_agree_with_their_published_rasters(real_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(real_data / "monuseg" / "annotations.zip") as archive:
        name = archive.namelist()[0]
        archive.extract(name, tmp_path)
    instances = polygons_to_instances(read_polygons(tmp_path / name), (1000, 1000))
    truth = read_label_values(real_data / "monuseg" / "instances" / f"{Path(name).stem}.png") > 0
    mask = instances > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95
    rings = [rings for _, rings in instances_to_polygons(compact_ids(instances))]
    # Holes of the nuclei are filled by the round trip; they are a few pixels at overlaps.
    assert (polygons_to_instances(rings, (1000, 1000)) != compact_ids(instances)).mean() < 1e-4
