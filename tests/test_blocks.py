"""Decoding block by block: equal to decoding the whole, each object once, in bounded memory."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from common.nuclei.blocks import decode_in_blocks
from common.nuclei.instances import DecodeSettings, Instances, decode
from common.nuclei.targets import normalised_distance

SETTINGS = DecodeSettings()


def draw_ellipses(rng: np.random.Generator, shape: tuple[int, int], count: int, largest: int = 11) -> np.ndarray:
    """Instance map of ellipses with half axes up to ``largest``; many touch, later ones cover earlier ones."""
    labels = np.zeros(shape, np.int32)
    for index in range(1, count + 1):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        axes = (int(rng.integers(4, largest + 1)), int(rng.integers(4, largest + 1)))
        cv2.ellipse(labels, centre, axes, float(rng.uniform(0, 180)), 0, 360, index, -1)
    return labels


def draw_maps(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What a good network says of an instance map: foreground and distance with some noise, float32."""
    noise = rng.normal(0, 0.02, (2, *labels.shape)).astype(np.float32)
    sure = rng.uniform(0.7, 1.0, labels.max() + 1).astype(np.float32)
    sure[0] = 0.05
    return np.clip(sure[labels] + noise[0], 0, 1), np.clip(normalised_distance(labels) + noise[1], 0, 1)


def by_first_pixel(found: Instances) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidence renumbered in the order in which objects appear in reading order."""
    ids, first = np.unique(found.labels, return_index=True)
    first, ids = first[ids > 0], ids[ids > 0]
    order = ids[np.argsort(first)]
    table = np.zeros(len(found.confidence) + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return table[found.labels], found.confidence[order - 1]


def assert_same(blockwise: Instances, whole: Instances) -> None:
    assert np.array_equal(
        np.unique(blockwise.labels[blockwise.labels > 0]), np.arange(1, len(blockwise.confidence) + 1)
    )
    for mine, truth in zip(by_first_pixel(blockwise), by_first_pixel(whole), strict=True):
        np.testing.assert_array_equal(mine, truth)


@pytest.mark.parametrize("block", [40, 64, 97, 150])
@pytest.mark.parametrize(("shape", "count"), [((230, 170), 40), ((120, 301), 250), ((199, 199), 500)])
def test_blockwise_equals_whole(block: int, shape: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(block * count)
    maps = draw_maps(draw_ellipses(rng, shape, count), rng)
    whole = decode(*maps, 16.0, SETTINGS)
    assert len(whole.confidence) > 15
    assert_same(decode_in_blocks(*maps, 16.0, SETTINGS, block=block, margin=24), whole)


@pytest.mark.parametrize("offset", range(-3, 4))
def test_an_object_on_the_seam_is_found_once_wherever_it_lies(offset: int) -> None:
    labels = np.zeros((100, 100), np.int32)
    cv2.circle(labels, (50 + offset, 50), 8, 1, -1)
    cv2.circle(labels, (50, 20 + offset), 7, 2, -1)
    maps = draw_maps(labels, np.random.default_rng(0))
    for block in (50, 51, 34):
        assert_same(decode_in_blocks(*maps, 16.0, SETTINGS, block=block, margin=20), decode(*maps, 16.0, SETTINGS))


def test_bytes_give_what_their_float_values_give(rng: np.random.Generator) -> None:
    maps = draw_maps(draw_ellipses(rng, (150, 140), 60), rng)
    coarse = [np.rint(255 * part).astype(np.uint8) for part in maps]
    exact = [part.astype(np.float32) / np.float32(255) for part in coarse]
    for block in (64, 150):
        found, expected = (decode_in_blocks(*pair, 16.0, SETTINGS, block=block, margin=24) for pair in (coarse, exact))
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.confidence, expected.confidence)


@pytest.mark.parametrize("seed", range(6))
def test_equal_values_neither_lose_nor_double_an_object(seed: int) -> None:
    # Without noise, in bytes, whole outlines hold equal values: blocks may differ by pixels there, never by objects.
    rng = np.random.default_rng(seed)
    labels = draw_ellipses(rng, (180, 180), 150)
    foreground = np.where(labels > 0, 230, 10).astype(np.uint8)
    distance = np.rint(255 * normalised_distance(labels)).astype(np.uint8)
    whole = decode_in_blocks(foreground, distance, 16.0, SETTINGS)
    found = decode_in_blocks(foreground, distance, 16.0, SETTINGS, block=45, margin=24)
    assert len(found.confidence) == len(whole.confidence)
    assert np.array_equal(found.labels > 0, whole.labels > 0)
    overlap = np.zeros((len(whole.confidence) + 1, len(found.confidence) + 1))
    np.add.at(overlap, (whole.labels, found.labels), 1)
    area = np.maximum(overlap.sum(0)[None], overlap.sum(1)[:, None])
    assert ((overlap / area)[1:, 1:].max(axis=1) > 0.8).all()


def test_an_object_larger_than_the_margin_is_cut_but_not_lost() -> None:
    labels = np.zeros((60, 300), np.int32)
    labels[20:40, 10:290] = 1
    foreground, distance = draw_maps(labels, np.random.default_rng(1))
    found = decode_in_blocks(foreground, distance, 20.0, SETTINGS, block=60, margin=10)
    assert ((found.labels > 0) & (labels > 0)).sum() > 0.8 * (labels > 0).sum()
    assert np.array_equal(np.unique(found.labels), np.arange(len(found.confidence) + 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 130), (130, 1), (100, 130)])
def test_empty_maps_give_no_object(shape: tuple[int, int]) -> None:
    found = decode_in_blocks(np.zeros(shape, np.float32), np.zeros(shape, np.float32), 16.0, SETTINGS, block=50)
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    assert not found.labels.any()
    assert found.confidence.shape == (0,)
    assert found.confidence.dtype == np.float32


def test_memory_is_that_of_a_block(rng: np.random.Generator) -> None:
    labels = np.tile(draw_ellipses(rng, (150, 150), 60), (6, 6))
    maps = [np.rint(255 * part).astype(np.uint8) for part in draw_maps(labels, rng)]
    peaks = []
    for block in (150, 900):
        tracemalloc.start()
        decode_in_blocks(*maps, 16.0, SETTINGS, block=block, margin=20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    result = labels.size * 4
    assert peaks[0] - result < 0.25 * (peaks[1] - result)


@pytest.mark.parametrize(
    ("foreground", "distance"),
    [
        (np.zeros((4, 5), np.float32), np.zeros((5, 4), np.float32)),
        (np.zeros((2, 4, 5), np.float32), np.zeros((2, 4, 5), np.float32)),
        (np.zeros((4, 5), np.int32), np.zeros((4, 5), np.int32)),
    ],
)
def test_unfit_maps_are_refused(foreground: np.ndarray, distance: np.ndarray) -> None:
    with pytest.raises(ValueError, match="maps must be"):
        decode_in_blocks(foreground, distance, 16.0, SETTINGS)


def test_blocks_that_disagree_by_a_pixel_still_give_every_object_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    centres = [
        (20 * i + int(rng.integers(7, 13)), 20 * j + int(rng.integers(7, 13))) for i in range(12) for j in range(12)
    ]
    foreground = np.zeros((240, 240), np.float32)
    for row, column in centres:
        cv2.circle(foreground, (column, row), 5, 1.0, -1)

    def shifted(seen: np.ndarray, *_: object) -> Instances:
        row, column = rng.integers(0, 3, 2)
        moved = np.pad(seen, 1)[row : row + seen.shape[0], column : column + seen.shape[1]]
        count, labels = cv2.connectedComponents((moved > 0).astype(np.uint8))
        return Instances(labels.astype(np.int32), np.ones(count - 1, np.float32))

    monkeypatch.setattr("common.nuclei.blocks.decode", shifted)
    for block in (40, 55, 70, 90):
        found = decode_in_blocks(foreground, foreground, 10.0, SETTINGS, block=block, margin=14)
        assert len(found.confidence) == len(centres)
        near = [found.labels[row - 3 : row + 4, column - 3 : column + 4].max() for row, column in centres]
        assert sorted(near) == list(range(1, len(centres) + 1))
