"""Debris goes, holes close, and the object of one frame is the object of the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage

from common.brightfield.objects.consistency import Region, overlap_of, settle
from common.brightfield.objects.main import MainObjectd
from common.brightfield.objects.parts import classes_inside, filled, parts_of
from common.brightfield.objects.tracking import Follower, main_parts
from common.errors import InputError

ROWS, COLUMNS = 90, 110


def disc(row: float, column: float, radius: float) -> np.ndarray:
    """(rows, columns) bool."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    return np.hypot(rows - row, columns - column) <= radius


def clean(maps: np.ndarray, foreground: np.ndarray | None = None, parts: int = 1, **options: Any) -> np.ndarray:
    """Class maps through one transform, in so many parts of one sequence."""
    transform = MainObjectd("pred", **options)
    cuts = np.array_split(np.arange(len(maps)), parts)
    found = []
    for cut in cuts:
        item = {"pred": maps[cut], "name": "movie", "first": int(cut[0])}
        if foreground is not None:
            item["foreground"] = foreground[cut]
        found.append(transform(item)["pred"])
    return np.concatenate(found)


def moving(frames: int = 12) -> np.ndarray:
    """(frames, rows, columns) bool: a disc that drifts and grows."""
    return np.stack([disc(40 + 0.8 * t, 35 + 1.5 * t, 14 + 0.3 * t) for t in range(frames)])


def test_debris_goes_and_holes_close() -> None:
    whole = disc(45, 50, 20)
    mask = whole & ~disc(45, 55, 4)
    for row, column in ((5, 5), (80, 100), (10, 90)):
        mask |= disc(row, column, 3)
    np.testing.assert_array_equal(clean(mask[None].astype(np.uint8))[0], whole)


def test_a_clean_map_stays_as_it_is() -> None:
    maps = moving().astype(np.uint8)
    np.testing.assert_array_equal(clean(maps), maps)
    np.testing.assert_array_equal(clean(clean(maps)), clean(maps))


def test_holes_are_filled_as_scipy_fills_them() -> None:
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 2) > 0.02
    parts = parts_of(noise)
    assert len(parts) > 3
    for part in range(len(parts)):
        crop = parts.crop(part)
        # A hole is closed where its pixels touch the outside at corners only.
        expected = ndimage.binary_fill_holes(crop, structure=ndimage.generate_binary_structure(2, 1))
        np.testing.assert_array_equal(filled(crop), expected)


def test_parts_are_those_of_scipy() -> None:
    rng = np.random.default_rng(4)
    noise = ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 2) > 0.1
    expected, count = ndimage.label(noise)
    areas = np.bincount(expected.ravel())[1:]
    parts = parts_of(noise, min_area=20)
    assert sorted(parts.areas) == sorted(areas[areas >= 20])
    for part in range(len(parts)):
        rows, columns = np.nonzero(parts.labels == part + 1)
        np.testing.assert_allclose(parts.centroids[part], (columns.mean(), rows.mean()))
        np.testing.assert_array_equal(parts.crop(part), (parts.labels == part + 1)[parts.box(part)])


def test_nothing_stays_nothing() -> None:
    empty = np.zeros((3, ROWS, COLUMNS), np.uint8)
    for objects in ("main", "each_class", "all"):
        assert not clean(empty, objects=objects).any()


def test_an_object_cut_by_the_border_gives_way_to_a_whole_one_of_nearly_its_size() -> None:
    maps = np.zeros((1, ROWS, COLUMNS), np.uint8)
    whole, cut = disc(45, 70, 15), disc(45, 2, 20)
    maps[0][whole | cut] = 1
    assert cut.sum() > 0.8 * whole.sum()
    np.testing.assert_array_equal(clean(maps)[0], whole)
    np.testing.assert_array_equal(clean(cut[None].astype(np.uint8))[0], cut)


def test_the_object_is_followed_past_larger_debris() -> None:
    truth = moving()
    maps = truth.astype(np.uint8)
    passing = disc(66, 86, 19)
    maps[5][passing] = 1
    assert passing.sum() > truth[5].sum()
    np.testing.assert_array_equal(clean(maps), truth)
    assert not (clean(maps, consistent=False)[5] == truth[5]).all()


def test_in_parts_as_in_one() -> None:
    truth = moving()
    maps = truth.astype(np.uint8)
    maps[:, 80:88, 95:108] = 1
    maps[6:9][:, disc(75, 95, 24) & ~truth.any(axis=0)] = 1
    np.testing.assert_array_equal(clean(maps, parts=4), clean(maps))
    np.testing.assert_array_equal(clean(maps), truth)


def test_another_sequence_begins_anew() -> None:
    transform = MainObjectd("pred")
    left, right = disc(45, 25, 12), disc(45, 85, 14)
    transform({"pred": left[None].astype(np.uint8), "name": "a", "first": 0})
    both = (left | right)[None].astype(np.uint8)
    went_on = transform({"pred": both, "name": "a", "first": 1})["pred"][0]
    anew = transform({"pred": both, "name": "b", "first": 0})["pred"][0]
    np.testing.assert_array_equal(went_on, left)
    np.testing.assert_array_equal(anew, right)


def test_a_stage_that_jumps_does_not_lose_the_object_and_a_speck_does_not_become_it() -> None:
    maps = np.zeros((8, ROWS, COLUMNS), np.uint8)
    for frame in range(8):
        maps[frame][disc(30, 25, 15) if frame < 5 else disc(60, 85, 15)] = 1
    maps[3] = disc(80, 100, 4)  # the object is missing, a speck is not
    found = clean(maps)
    assert not found[3].any()
    np.testing.assert_array_equal(np.delete(found, 3, axis=0), np.delete(maps, 3, axis=0))


def test_a_frame_that_leaks_or_fades_is_outlined_to_fit_the_frames_beside_it() -> None:
    truth = moving(9)
    foreground = np.where(truth, 230, 10).astype(np.uint8)
    leak = ndimage.binary_dilation(truth[2], iterations=12) & ~truth[2]
    foreground[2][leak] = 140
    foreground[6] = np.where(truth[6], 90, 10)
    maps = (foreground > 127).astype(np.uint8)
    assert maps[2].sum() > 1.5 * truth[2].sum()
    assert not maps[6].any()
    transform = MainObjectd("pred")
    found = transform({"pred": maps, "foreground": foreground, "name": "a"})
    np.testing.assert_array_equal(found["pred"], truth)
    assert [index for index, note in enumerate(found["object_notes"]) if note] == [2, 6]
    assert clean(maps, foreground, consistent=False)[2].sum() == maps[2].sum()


def test_what_fits_at_no_probability_is_kept_and_noted() -> None:
    truth = moving(5)
    maps = truth.astype(np.uint8)
    maps[2] = ndimage.binary_dilation(truth[2], iterations=8)
    found = MainObjectd("pred")({"pred": maps, "foreground": maps * 255, "name": "a"})
    np.testing.assert_array_equal(found["pred"], maps)
    assert "%" in found["object_notes"][2]
    assert not any(note for index, note in enumerate(found["object_notes"]) if index != 2)


def test_steady_growth_is_no_reason_for_doubt() -> None:
    maps = np.stack([disc(45, 55, 8 * 1.2**t) for t in range(9)]).astype(np.uint8)
    found = MainObjectd("pred")({"pred": maps, "foreground": maps * 255, "name": "a"})
    np.testing.assert_array_equal(found["pred"], maps)
    assert not any(found["object_notes"])


def test_objects_keep_their_numbers_along_time() -> None:
    first, second = moving(), np.stack([disc(70 - t, 95 - t, 8) for t in range(12)])
    second &= ~ndimage.binary_dilation(first, iterations=2)
    maps = (first | second).astype(np.uint8)
    maps[4] = first[4]  # the second is missing in one frame
    found = MainObjectd("pred", objects="all")({"pred": maps, "name": "a"})
    ids = found["ids"]
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids > 0, maps > 0)
    numbers = [set(np.unique(ids[t][mask[t] & (maps[t] > 0)])) for mask in (first, second) for t in range(12) if t != 4]
    assert set.union(*numbers[:11]) != set.union(*numbers[11:])
    assert len(set.union(*numbers[:11])) == len(set.union(*numbers[11:])) == 1


def test_all_classes_inside_the_main_object_stay() -> None:
    maps = np.zeros((1, ROWS, COLUMNS), np.uint8)
    maps[0][disc(45, 50, 20)] = 1
    maps[0][disc(45, 50, 9)] = 2
    maps[0][disc(45, 50, 3)] = 0
    maps[0][disc(10, 100, 6)] = 2
    expected = np.where(disc(45, 50, 9), 2, disc(45, 50, 20)).astype(np.uint8)
    np.testing.assert_array_equal(clean(maps)[0], expected)


def test_each_class_has_an_object_of_its_own_and_they_share_no_pixel() -> None:
    maps = np.zeros((1, ROWS, COLUMNS), np.uint8)
    maps[0][disc(45, 40, 20)] = 1
    maps[0][disc(45, 40, 6)] = 2  # in a hole of class 1, but smaller than
    maps[0][disc(45, 95, 11)] = 2  # the object of class 2
    found = clean(maps, objects="each_class")[0]
    np.testing.assert_array_equal(found == 2, disc(45, 95, 11))
    assert (found[disc(45, 40, 20) & ~disc(45, 40, 6)] == 1).all()


@pytest.mark.parametrize("objects", ["main", "each_class", "all"])
def test_a_volume_keeps_its_largest_part_and_loses_its_holes(objects: str) -> None:
    planes, rows, columns = np.mgrid[:20, :40, :44]
    ball = np.sqrt((planes - 10.0) ** 2 + (rows - 18.0) ** 2 + (columns - 20.0) ** 2)
    maps = ((ball <= 9) & (ball > 2)).astype(np.uint8)
    maps[2:4, 35:37, 38:41] = 1
    found = MainObjectd("pred", objects=objects, spatial_dims=3, min_fraction=0.01)({"pred": maps})
    np.testing.assert_array_equal(found["pred"], ball <= 9)
    assert ("ids" in found) == (objects == "all")


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(InputError, match="main or each_class or all"):
        MainObjectd("pred", objects="some")


def test_of_two_halves_one_goes_on_as_the_object() -> None:
    follower = Follower()
    whole = parts_of(disc(45, 50, 20))
    halves = disc(45, 50, 20).copy()
    halves[:, 53:55] = False
    [identity] = follower.follow(whole, 0)
    parts = parts_of(halves)
    numbers = follower.follow(parts, 1)
    assert sorted(numbers) == [identity, identity + 1]
    assert parts.areas[list(numbers).index(identity)] == parts.areas.max()
    assert follower.follow(whole, 2).tolist() == [identity]


def test_the_main_object_weighs_most_over_all_frames() -> None:
    follower = Follower()
    frames = [parts_of(disc(30, 30, 10) | (disc(60, 80, 20) if t == 2 else False)) for t in range(9)]
    identities = [follower.follow(parts, t) for t, parts in enumerate(frames)]
    chosen, main = main_parts(frames, identities)
    assert main == 1
    assert [frames[t].areas[part] for t, part in enumerate(chosen) if part is not None] == [disc(30, 30, 10).sum()] * 9
    assert main_parts([parts_of(np.zeros((4, 4)))], [np.zeros(0, np.int64)]) == ([None], None)


def test_overlap_of_regions_is_that_of_their_masks() -> None:
    masks = [disc(40, 40, 15), disc(45, 50, 12), disc(80, 100, 6)]
    regions = [Region(parts_of(mask).box(0), parts_of(mask).crop(0)) for mask in masks]
    for one, first in zip(regions, masks, strict=True):
        for other, second in zip(regions, masks, strict=True):
            assert overlap_of(one, other) == pytest.approx((first & second).sum() / (first | second).sum())


def test_nothing_is_invented_between_frames_that_disagree() -> None:
    small, large = disc(45, 50, 8), disc(45, 50, 20)
    regions = [Region(parts_of(mask).box(0), parts_of(mask).crop(0)) for mask in (small, large)]
    foreground = np.full((3, ROWS, COLUMNS), 100, np.uint8)
    assert settle([regions[0], None, regions[1]], foreground)[1] is None


def test_classes_spread_into_holes_from_the_nearest_pixel() -> None:
    classes = np.array([[1, 0, 0, 0, 2]], np.uint8)
    found = classes_inside(classes, np.array([[True, True, False, True, True]]))
    np.testing.assert_array_equal(found, [[1, 1, 0, 2, 2]])


@pytest.mark.data
def test_real_masks_lose_nothing_but_what_lies_apart(real_data: Path) -> None:
    for path in sorted((real_data / "gastruloid" / "masks").iterdir())[::9]:
        mask = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        found = clean(mask[None])[0]
        assert (found & mask).sum() / (found | mask).sum() > 0.98
