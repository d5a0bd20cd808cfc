"""Tiles of a field put together: identity with the field that was cut, objects on seams whole again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.nuclei.fields import field_groups, stitch, stitch_instances

POSITIONS = ["up_left", "up_right", "down_left", "down_right"]


def cut(field: np.ndarray) -> list[np.ndarray]:
    """Four quarters in the order of ``POSITIONS``."""
    return [part for half in np.split(field, 2, axis=0) for part in np.split(half, 2, axis=1)]


def same_partition(found: np.ndarray, truth: np.ndarray) -> bool:
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()], 1), axis=0)
    one_to_one = len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))
    return bool(one_to_one and ((pairs == 0).sum(1) != 1).all())


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_stitching_is_the_inverse_of_cutting(
    order: list[int], channels: tuple[int, ...], rng: np.random.Generator
) -> None:
    field = rng.integers(0, 2**16, (12, 18, *channels), dtype=np.uint16)
    tiles = cut(field)
    found = stitch([tiles[i] for i in order], [POSITIONS[i] for i in order])
    assert found.dtype == field.dtype
    np.testing.assert_array_equal(found, field)


def relabel(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ids of its own, as each tile's annotation has."""
    ids = np.unique(tile[tile > 0])
    table = np.zeros(int(tile.max(initial=0)) + 1, np.int32)
    table[ids] = rng.permutation(len(ids)) + 1
    return table[tile]


@pytest.mark.parametrize("seed", range(8))
def test_objects_cut_by_seams_are_whole_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = np.zeros((80, 120), np.int32)
    centres: list[tuple[int, int]] = [(60, 40), (60, 12), (20, 40)]  # on the crossing, on each seam
    centres += [(int(rng.integers(120)), int(rng.integers(80))) for _ in range(12)]
    placed: list[tuple[int, int]] = []
    for x, y in centres:
        # A cap of one or two rows shows far less at the seam than its disc and would stay an object of its own.
        cap = any(4 < abs(place - seam) < 9 for place, seam in ((x, 60), (y, 40)))
        if not cap and all((x - a) ** 2 + (y - b) ** 2 > 15**2 for a, b in placed):
            placed.append((x, y))
            cv2.circle(field, (x, y), 7, len(placed), -1)
    found = stitch_instances([relabel(tile, rng) for tile in cut(field)], POSITIONS)
    assert found.dtype == np.int32
    assert same_partition(found, field)
    np.testing.assert_array_equal(np.unique(found), np.arange(len(placed) + 1))


def test_objects_that_face_each_other_by_less_than_half_stay_two() -> None:
    field = np.zeros((20, 20), np.int32)
    field[0:6, 5:10] = 1
    field[4:9, 10:15] = 2  # two of six and of five pixels meet at the seam
    found = stitch_instances(cut(field), POSITIONS)
    assert same_partition(found, field)


def test_a_field_without_background_keeps_all_its_objects() -> None:
    field = np.ones((8, 8), np.int32)
    field[:, 4:] = 2
    field[2:4, 2:4], field[5:7, 5:7] = 3, 4
    found = stitch_instances(cut(field), POSITIONS)
    assert found.min() == 1
    np.testing.assert_array_equal(np.unique(found), np.arange(1, found.max() + 1))


def test_tiles_without_objects_give_a_field_without_objects() -> None:
    found = stitch_instances([np.zeros((3, 4), np.int32)] * 4, POSITIONS)
    assert found.shape == (6, 8)
    assert not found.any()


def test_only_whole_fields_are_joined_and_no_record_is_lost() -> None:
    whole = [{"name": f"a{i}", "mosaic": 7, "mosaic_position": p} for i, p in enumerate(POSITIONS)]
    part = [{"name": f"b{i}", "mosaic": "8", "mosaic_position": p} for i, p in enumerate(POSITIONS[:3])]
    twice = [{"name": f"c{i}", "mosaic": "9", "mosaic_position": p} for i, p in enumerate([*POSITIONS[:3], "up_left"])]
    bare = [
        {"name": "d0"},
        {"name": "d1", "mosaic": None},
        {"name": "d2", "mosaic": ""},
        {"name": "d3", "mosaic": 7, "mosaic_position": "left"},
    ]
    records = [whole[2], *part, whole[0], *bare, whole[3], *twice, whole[1]]
    groups = field_groups(records)
    assert sorted(r["name"] for group in groups for r in group) == sorted(r["name"] for r in records)
    assert sorted(len(group) for group in groups) == [1] * 11 + [4]
    joined = max(groups, key=len)
    assert {r["name"] for r in joined} == {"a0", "a1", "a2", "a3"}
