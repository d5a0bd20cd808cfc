"""Maps show each place in the colour that its patches voted for; the sheet shows the patches most certain of a class."""

from __future__ import annotations

import numpy as np
import pytest

from common.patches.places import patch_corners
from common.patches.telling import TellingPatches
from common.patches.vote_map import CLASS_COLOURS, class_map, tinted, vote_map
from common.patches.votes import PatchVotes

NAMES = ("CLL", "FL", "MCL")


def made(rows: int, columns: int, size: int, stride: int, seed: int = 0, share: float = 0.8) -> PatchVotes:
    rng = np.random.default_rng(seed)
    corners = patch_corners(rows, columns, size, stride)
    probabilities = rng.dirichlet(np.ones(3), len(corners)).astype(np.float32)
    return PatchVotes(corners, size, probabilities, rng.random(len(corners)) < share)


def halves() -> PatchVotes:
    """Left the first class, in the middle nothing, right the second, on 20 x 60 pixels."""
    corners = np.array([[0, 0], [0, 20], [0, 40]])
    return PatchVotes(
        corners, 20, np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0]], np.float32), np.array([True, False, True])
    )


@pytest.mark.parametrize(("size", "stride"), [(8, 8), (8, 3), (5, 7)])
def test_the_map_is_the_mean_of_the_patches_at_each_place(size: int, stride: int) -> None:
    votes = made(24, 33, size, stride)
    found, seen = class_map(votes, (24, 33), 1.0)
    total, number = np.zeros((24, 33, 3)), np.zeros((24, 33))
    for (row, column), probabilities, tissue in zip(votes.corners, votes.probabilities, votes.tissue, strict=True):
        part = slice(row, row + size), slice(column, column + size)
        total[part] += probabilities * tissue
        number[part] += tissue
    np.testing.assert_array_equal(seen, number > 0)
    np.testing.assert_allclose(found, total / np.maximum(number, 1)[..., None], atol=1e-6)


def test_a_map_at_another_scale_shows_the_same_places() -> None:
    found, seen = class_map(halves(), (10, 30), 0.5)
    assert found[5, 5].tolist() == [1, 0, 0]
    assert found[5, 25].tolist() == [0, 1, 0]
    assert not seen[:, 10:20].any()


def test_places_take_the_colour_of_their_class_and_white_ones_stay_grey() -> None:
    pixels = np.full((20, 60, 3), 128, np.uint8)
    picture = tinted(pixels, halves(), 1.0)
    assert picture.shape == (20, 60, 3)
    for column, colour in ((5, CLASS_COLOURS[0]), (55, CLASS_COLOURS[1])):
        np.testing.assert_allclose(picture[10, column], (np.array(colour) + 128) / 2, atol=1)
    assert picture[10, 30].tolist() == [128, 128, 128]


def test_the_scale_of_the_network_does_not_move_the_map() -> None:
    pixels = np.full((20, 60, 3), 128, np.uint8)
    votes = halves()
    double = PatchVotes(votes.corners * 2, 40, votes.probabilities, votes.tissue)
    np.testing.assert_array_equal(tinted(pixels, votes, 1.0), tinted(pixels, double, 2.0))


@pytest.mark.parametrize("shape", [(40, 60), (9, 9), (20, 900), (700, 300)])
def test_pictures_hold_image_map_and_legend_for_any_shape(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    votes = made(*shape, 12, 9)
    coloured = tinted(pixels, votes, 1.0)
    picture = vote_map(pixels, coloured, NAMES, (0.2, 0.5, 0.3), votes.votes.tolist(), "name: FL")
    assert coloured.shape == pixels.shape
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[26 : 26 + shape[0], : shape[1]], pixels)
    legend = picture[-26:]
    assert all((legend == np.array(colour)).all(axis=2).any() for colour in CLASS_COLOURS[:3])
    assert (picture[:26] == 0).any()  # the title


def test_huge_images_are_reduced() -> None:
    votes = made(40, 6000, 40, 40)
    assert tinted(np.zeros((40, 6000, 3), np.uint8), votes, 1.0).shape == (27, 4096, 3)


def test_an_image_without_tissue_is_shown_as_it_is_in_grey() -> None:
    votes = PatchVotes(np.array([[0, 0]]), 20, np.zeros((1, 3), np.float32), np.array([False]))
    pixels = np.full((600, 20, 3), 240, np.uint8)
    np.testing.assert_array_equal(tinted(pixels, votes, 1.0), pixels)


# telling patches


def test_the_sheet_keeps_the_best_of_all_images_and_few_of_each() -> None:
    telling = TellingPatches(NAMES, per_class=3, per_image=2, side=32)
    pixels = np.zeros((40, 40, 3), np.uint8)
    images = {f"image{seed}": made(40, 40, 10, 5, seed) for seed in range(4)}
    for name, votes in images.items():
        telling.add(name, pixels, votes, 1.0)
    for index, kept in enumerate(telling.patches):
        found = [patch.probability for patch in kept]
        assert found == sorted(found, reverse=True)
        assert len(found) == 3
        best = []
        for votes in images.values():
            mine = votes.tissue & (votes.probabilities.argmax(axis=1) == index)
            best.append(votes.probabilities[mine, index].max())
        assert found[0] == pytest.approx(max(best))
        assert max([patch.name for patch in kept].count(name) for name in images) <= 2


def test_patches_of_one_image_do_not_overlap_and_white_ones_do_not_count() -> None:
    corners = np.array([[0, 0], [0, 4], [0, 10], [10, 10]])
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [1, 0, 0]], np.float32)
    votes = PatchVotes(corners, 10, probabilities, np.array([True, True, True, False]))
    telling = TellingPatches(NAMES, per_image=4)
    telling.add("a", np.zeros((20, 20, 3), np.uint8), votes, 1.0)
    assert [patch.probability for patch in telling.patches[0]] == pytest.approx([0.9, 0.7])
    assert telling.patches[1:] == [[], []]


def test_a_patch_is_cut_where_it_lies_in_the_image() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[20:30, 40:50] = (200, 10, 90)
    votes = PatchVotes(np.array([[10, 20]]), 5, np.array([[0, 1, 0]], np.float32), np.array([True]))
    telling = TellingPatches(NAMES, side=16)
    telling.add("a", pixels, votes, 0.5)  # half of the image's pixels
    (patch,) = telling.patches[1]
    assert (patch.picture == (200, 10, 90)).all()
    beyond = PatchVotes(np.array([[0, 0]]), 30, np.array([[0, 1, 0]], np.float32), np.array([True]))
    telling.add("b", pixels, beyond, 0.5)
    assert telling.patches[1][1].picture[-1, 0].tolist() == [255, 255, 255]


def test_the_sheet_has_a_strip_for_each_class_with_or_without_patches() -> None:
    telling = TellingPatches(NAMES, per_class=2, side=40)
    telling.add("a" * 80, np.zeros((20, 60, 3), np.uint8), halves(), 1.0, "FL")
    sheet = telling.sheet()
    strip, bare = 5 + 26 + 40 + 2 * 18 + 6, 5 + 26
    assert sheet.shape == (2 * strip + bare, 2 * 46 + 6, 3)
    assert sheet[0, 0].tolist() == list(CLASS_COLOURS[0])
