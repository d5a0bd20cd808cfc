"""Sites by kind, the patches around them, and what is known of partially annotated images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from common.images.reading import read_image, read_stored
from common.nuclei.synthetic import stained_image
from common.tissue.masks import likely_background
from common.tissue.sampling import (
    KINDS,
    SamplingSettings,
    Sites,
    cut_patch,
    edge_owners,
    find_sites,
    hide_annotations,
    known_mask,
)

FEW = SamplingSettings(max_positives=200, background_distance=10)


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray]:
    """Instances and RGB of generated tissue."""
    made = stained_image((300, 400), 45, 26.0, np.random.default_rng(3))
    return made.instances, made.pixels


def at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return values[places[:, 0], places[:, 1]]


def test_each_kind_lies_where_it_should(picture: tuple[np.ndarray, np.ndarray]) -> None:
    instances, rgb = picture
    sites = find_sites(instances, rgb, FEW)
    away = ndimage.distance_transform_edt(instances == 0)
    assert (at(instances, sites.positive) > 0).all()
    assert (at(away, sites.edge) > 0).all()
    assert (at(away, sites.edge) <= FEW.edge_width + 0.1).all()
    assert (at(away, sites.background) > sites.background_distance - 1).all()
    assert at(likely_background(rgb, instances, FEW.background_distance).mask, sites.background).all()
    for kind in KINDS:
        assert sites.of(kind).dtype == np.int32
        assert len(np.unique(sites.of(kind), axis=0)) == len(sites.of(kind)) > 0


def test_numbers_follow_the_ratio_and_the_most_positives(picture: tuple[np.ndarray, np.ndarray]) -> None:
    sites = find_sites(*picture, FEW)
    assert [len(sites.of(kind)) for kind in KINDS] == [200, 200, 60]
    other = find_sites(*picture, SamplingSettings((2.0, 1.0, 0.5), max_positives=100, background_distance=10))
    assert [len(other.of(kind)) for kind in KINDS] == [100, 50, 25]


def test_an_image_with_few_pixels_gives_each_of_them_once(picture: tuple[np.ndarray, np.ndarray]) -> None:
    instances = np.zeros_like(picture[0])
    instances[10:14, 20:25] = 5
    sites = find_sites(instances, picture[1], FEW)
    assert sorted(map(tuple, sites.positive)) == [(row, column) for row in range(10, 14) for column in range(20, 25)]
    assert len(sites.edge) == 20


def test_small_nuclei_are_drawn_as_often_as_large_ones() -> None:
    instances = np.zeros((200, 200), np.int32)
    instances[5:105, 5:105] = 1
    instances[120:130, 120:130] = 2
    instances[150:153, 150:153] = 3  # nine pixels only
    sites = find_sites(instances, np.full((200, 200, 3), 240, np.uint8), SamplingSettings(max_positives=159))
    assert Counter(at(instances, sites.positive).tolist()) == {1: 75, 2: 75, 3: 9}


def test_the_seed_alone_decides(picture: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = find_sites(*picture, FEW), find_sites(*picture, FEW)
    other = find_sites(*picture, SamplingSettings(max_positives=200, background_distance=10, seed=1))
    for kind in KINDS:
        np.testing.assert_array_equal(first.of(kind), second.of(kind))
        assert not np.array_equal(first.of(kind), other.of(kind))


def test_draws_come_in_the_ratio_and_only_from_the_sites(picture: tuple[np.ndarray, np.ndarray]) -> None:
    sites = find_sites(*picture, FEW)
    rng = np.random.RandomState(0)
    drawn = [sites.draw(rng) for _ in range(3000)]
    count = Counter(site.kind for site in drawn)
    for kind, ratio in zip(KINDS, FEW.ratio, strict=True):
        assert abs(count[kind] / 3000 - ratio / 2.3) < 0.03
        places = set(map(tuple, sites.of(kind).tolist()))
        assert all((site.row, site.column) in places for site in drawn if site.kind == kind)


def test_a_kind_without_sites_leaves_its_share_to_the_others(picture: tuple[np.ndarray, np.ndarray]) -> None:
    empty = find_sites(np.zeros_like(picture[0]), picture[1], FEW)
    assert len(empty.positive) == len(empty.edge) == 0
    assert len(empty.background) == 60
    rng = np.random.RandomState(0)
    assert {empty.draw(rng).kind for _ in range(50)} == {"background"}
    nothing = Sites(empty.positive, empty.edge, empty.edge, (1.0, 1.0, 0.3), 50.0)
    with pytest.raises(ValueError, match="no site"):
        nothing.draw(rng)
    unwanted = find_sites(*picture, SamplingSettings((0.0, 1.0, 0.0), max_positives=50))
    assert [len(unwanted.of(kind)) for kind in KINDS] == [0, 50, 0]
    assert {unwanted.draw(rng).kind for _ in range(50)} == {"edge"}


def test_edges_belong_to_the_nearest_object() -> None:
    instances = np.zeros((40, 60), np.int32)
    instances[10:20, 10:20] = 9
    instances[10:20, 24:40] = 4
    owners = edge_owners(instances, 3)
    distance, nearest = ndimage.distance_transform_edt(instances == 0, return_indices=True)
    truth = np.where((distance > 0) & (distance <= 3), instances[tuple(nearest)], 0)
    differ = owners != truth
    # Columns 21 and 22 of the gap of four are nearest to one object each; elsewhere only ties and diagonals may differ.
    assert differ.mean() < 0.01
    assert (owners[12, 20:24] == [9, 9, 4, 4]).all()
    assert not edge_owners(np.zeros((5, 6), np.int32), 3).any()


@pytest.mark.parametrize("size", [1, 5, 8, 31])
@pytest.mark.parametrize("place", [(0, 0), (9, 12), (4, 6), (0, 12)])
def test_a_patch_is_what_padding_by_mirroring_gives(
    place: tuple[int, int], size: int, rng: np.random.Generator
) -> None:
    image = rng.integers(0, 255, (10, 13, 3), dtype=np.uint8)
    padded = np.pad(image, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    row, column = place[0] + 40 - size // 2, place[1] + 40 - size // 2
    patch = cut_patch(image, *place, size)
    np.testing.assert_array_equal(patch, padded[row : row + size, column : column + size])
    assert (patch[size // 2, size // 2] == image[place]).all()


def test_a_patch_is_a_copy_and_one_row_is_enough() -> None:
    image = np.arange(5, dtype=np.int32)[None]
    patch = cut_patch(image, 0, 2, 3)
    assert patch.tolist() == [[1, 2, 3]] * 3
    patch[:] = 0
    assert image.tolist() == [[0, 1, 2, 3, 4]]


def test_hiding_leaves_the_other_objects_untouched(picture: tuple[np.ndarray, np.ndarray]) -> None:
    instances = picture[0]
    count = len(np.unique(instances)) - 1
    partial = hide_annotations(instances, 0.7, np.random.RandomState(0))
    kept = np.unique(partial)[1:]
    assert len(kept) == count - round(0.7 * count)
    np.testing.assert_array_equal(partial, np.where(np.isin(instances, kept), instances, 0))
    np.testing.assert_array_equal(hide_annotations(instances, 0.0, np.random.RandomState(0)), instances)
    assert not hide_annotations(instances, 1.0, np.random.RandomState(0)).any()
    with pytest.raises(ValueError, match="share"):
        hide_annotations(instances, 70, np.random.RandomState(0))


def test_known_are_nuclei_ring_and_background_but_hardly_any_hidden_nucleus(
    picture: tuple[np.ndarray, np.ndarray],
) -> None:
    instances, rgb = picture
    partial = hide_annotations(instances, 0.7, np.random.RandomState(1))
    known = known_mask(partial, rgb)
    assert known.dtype == bool
    assert known[partial > 0].all()
    assert known[edge_owners(partial, 3) > 0].all()
    assert known[likely_background(rgb, partial, 3).mask].all()
    hidden = (instances > 0) & (partial == 0) & (edge_owners(partial, 3) == 0)
    assert hidden.sum() > 1000
    assert known[hidden].mean() < 0.02
    assert known[instances == 0].mean() > 0.3


def test_known_of_an_unmarked_image_is_its_background(picture: tuple[np.ndarray, np.ndarray]) -> None:
    instances, rgb = picture
    nothing = np.zeros_like(instances)
    np.testing.assert_array_equal(known_mask(nothing, rgb), likely_background(rgb, None, 3).mask)


@pytest.mark.parametrize(
    "wrong",
    [{"ratio": (1, 1)}, {"ratio": (0, 0, 0)}, {"ratio": (1, -1, 1)}, {"max_positives": 0}, {"edge_width": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        SamplingSettings(**wrong)


def test_image_and_instances_of_different_size_are_refused(picture: tuple[np.ndarray, np.ndarray]) -> None:
    for function in (find_sites, known_mask):
        with pytest.raises(ValueError, match="annotated"):
            function(picture[0].T, picture[1])


@pytest.mark.data
def test_of_real_hidden_nuclei_little_is_taken_as_background(real_data: Path) -> None:
    mistaken, taken, size, ring_mistaken, ring_taken = 0, 0, 0, 0, 0
    paths = sorted((real_data / "monuseg" / "tissue_images").glob("*.tif"))[::3]
    for path in paths:
        instances = read_stored(real_data / "monuseg" / "instances" / f"{path.stem}.png")[0].astype(np.int32)
        partial = hide_annotations(instances, 0.7, np.random.RandomState(0))
        known = known_mask(partial, read_image(path).pixels)
        ring = edge_owners(partial, 3) > 0
        background = known & (partial == 0) & ~ring
        mistaken, taken = mistaken + int((instances[background] > 0).sum()), taken + int(background.sum())
        ring_mistaken, ring_taken = ring_mistaken + int((instances[ring] > 0).sum()), ring_taken + int(ring.sum())
        size += instances.size
    print(
        f"{len(paths)} images, 70 % hidden: background {taken / size:.3f} of all, {mistaken / taken:.4f} of it nucleus; "
        f"ring {ring_taken / size:.3f}, {ring_mistaken / ring_taken:.4f} of it nucleus"
    )
    assert taken / size > 0.3
    assert mistaken / taken < 0.01
    assert ring_mistaken / ring_taken < 0.1
