"""Random crops: image, labels and distances stay aligned; size, border and mosaics keep their word."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from common.nuclei.targets import normalised_distance, typical_diameter
from common.nuclei.warp import Crop, Source, WarpSettings, draw_crop, paste_mosaic

# No rotation but quarter turns and flips, the scale of the source.
STILL = WarpSettings(size=64, diameter=20.0, spread=0.0, free_probability=0.0, rotation=0.0, on_object_probability=0.0)


def make_source(shape: tuple[int, int] = (180, 260), radius: int = 10, channels: int = 1, step: int = 30) -> Source:
    """Discs on a grid, 0.25 background and 0.75 in objects, so that image and labels tell the same."""
    instances = np.zeros(shape, np.int32)
    for index, (row, column) in enumerate(np.ndindex(shape[0] // step, shape[1] // step), start=1):
        cv2.circle(instances, (column * step + step // 2, row * step + step // 2), radius, index, -1)
    pixels = np.where(instances > 0, 0.75, 0.25).astype(np.float16)[..., None].repeat(channels, 2)
    distance = np.rint(255 * normalised_distance(instances)).astype(np.uint8)
    return Source(pixels, instances, distance, typical_diameter(instances), "fluorescence")


def grid_symmetries(picture: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(view, turns) for view in (picture, picture[:, ::-1]) for turns in range(4)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("channels", [1, 3])
def test_without_scaling_and_rotation_the_source_is_reproduced(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    # A field as large as the crop leaves one place only.
    instances = rng.integers(0, 5, (64, 64)).astype(np.int32)
    pixels = rng.random((64, 64, channels)).astype(np.float16)
    distance = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    crop = draw_crop(Source(pixels, instances, distance, 20.0, "any"), STILL, np.random.RandomState(seed))
    rows, columns = np.nonzero(crop.inside)
    assert len(rows) == 64 * 64
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    matching = [k for k, view in enumerate(grid_symmetries(instances)) if np.array_equal(view, crop.instances[box])]
    assert len(matching) == 1
    expected = np.broadcast_to(pixels.astype(np.float32), (64, 64, 3))
    np.testing.assert_allclose(crop.pixels[box], grid_symmetries(expected)[matching[0]], atol=1e-6)
    np.testing.assert_array_equal(crop.distance[box], grid_symmetries(distance.astype(np.float32) / 255)[matching[0]])


def test_all_eight_symmetries_are_drawn() -> None:
    instances = np.arange(1, 64 * 64 + 1, dtype=np.int32).reshape(64, 64)
    source = Source(np.zeros((64, 64, 1), np.float16), instances, np.zeros((64, 64), np.uint8), 20.0, "any")
    crops = [draw_crop(source, STILL, np.random.RandomState(seed)) for seed in range(60)]
    corners = {tuple(crop.instances[1:-1, 1:-1][[0, 0, -1], [0, -1, 0]]) for crop in crops}
    assert len(corners) == 8


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("channels", [1, 3])
def test_image_distance_and_labels_stay_aligned(seed: int, channels: int) -> None:
    settings = WarpSettings(size=96, diameter=26.0, spread=0.2, free_probability=0.2, rotation=45.0)
    crop = draw_crop(make_source(channels=channels), settings, np.random.RandomState(seed))
    assert crop.pixels.shape == (96, 96, 3)
    assert [crop.pixels.dtype, crop.instances.dtype, crop.distance.dtype, crop.inside.dtype] == [
        *(np.float32, np.int32, np.float32, bool)
    ]
    core = cv2.erode(crop.inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    seen = crop.pixels[..., 1] > 0.5
    truth = crop.instances > 0
    # They may differ where the outline is smaller than a pixel, not by a whole one.
    near = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    deep = cv2.erode(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert truth[core].sum() > 50
    assert not (seen & ~near & core).any()
    assert not (~seen & deep & core).any()
    assert (seen != truth)[core].mean() < 0.03
    assert crop.distance[deep & core].min() > 0
    # Interpolated between pixels of the source, which are up to three of the crop. Objects may begin behind its rim.
    around = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert not crop.distance[3:-3, 3:-3][(~around & core)[3:-3, 3:-3]].any()


@pytest.mark.parametrize("shape", [(20, 25), (40, 200), (200, 40), (1, 1), (3, 300)])
def test_beyond_the_border_nothing_is_inside_and_labels_are_nought(shape: tuple[int, int]) -> None:
    pixels, distance = np.full((*shape, 1), 0.5, np.float16), np.full(shape, 255, np.uint8)
    source = Source(pixels, np.ones(shape, np.int32), distance, 20.0, "any")
    for seed in range(4):
        crop = draw_crop(source, STILL, np.random.RandomState(seed))
        np.testing.assert_array_equal(crop.instances > 0, crop.inside)
        rows, columns = crop.inside.any(1).sum(), crop.inside.any(0).sum()  # a quarter turn swaps them
        assert abs(min(rows, columns) - min(*shape, 64)) <= 1
        assert abs(max(rows, columns) - min(max(shape), 64)) <= 1
        assert crop.inside.any()
        np.testing.assert_array_equal(crop.pixels, 0.5)  # mirrored, not black


def test_a_crop_of_a_large_field_lies_inside() -> None:
    settings = WarpSettings(size=64, diameter=20.0, spread=0.1, free_probability=0.0, rotation=0.0)
    for seed in range(10):
        crop = draw_crop(make_source(), settings, np.random.RandomState(seed))
        assert crop.inside.mean() > 0.98


@pytest.mark.parametrize("radius", [5, 10, 25])
@pytest.mark.parametrize("wanted", [12.0, 24.0])
def test_objects_come_out_at_the_diameter_wanted(radius: int, wanted: float) -> None:
    source = make_source((400, 400), radius, step=3 * radius)
    settings = WarpSettings(size=128, diameter=wanted, spread=0.2, free_probability=0.0)
    found = []
    for seed in range(25):
        crop = draw_crop(source, settings, np.random.RandomState(seed))
        rim = np.concatenate([crop.instances[[0, -1]].ravel(), crop.instances[:, [0, -1]].ravel()])
        found.append(typical_diameter(np.where(np.isin(crop.instances, rim), 0, crop.instances)))
    assert np.exp(np.nanmean(np.log(found))) == pytest.approx(wanted, rel=0.12)
    assert np.nanstd(np.log(found)) == pytest.approx(0.2, abs=0.09)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 24.0), (1.8, 18.0), (3.0, 30.0), (float("nan"), 24.0)])
def test_a_field_of_known_scale_keeps_it_unless_its_objects_are_too_small(scale: float, expected: float) -> None:
    source = replace(make_source((400, 400), 5, step=15), scale=scale)
    assert source.diameter == pytest.approx(10, abs=0.7)
    settings = WarpSettings(size=128, diameter=24.0, smallest_diameter=16.0, spread=0.0, free_probability=0.0)
    found = typical_diameter(draw_crop(source, settings, np.random.RandomState(0)).instances)
    assert found == pytest.approx(expected, rel=0.1)


def test_free_crops_keep_the_scale_in_its_range() -> None:
    settings = WarpSettings(size=160, diameter=1.0, free_probability=1.0, free_range=(0.8, 1.25), rotation=0.0)
    source = make_source()
    for seed in range(10):
        crop = draw_crop(source, settings, np.random.RandomState(seed))
        rim = np.concatenate([crop.instances[[0, -1]].ravel(), crop.instances[:, [0, -1]].ravel()])
        whole = np.where(np.isin(crop.instances, rim) | ~crop.inside, 0, crop.instances)
        assert 0.75 < typical_diameter(whole) / source.diameter < 1.3


def test_crops_are_centred_near_objects_as_often_as_asked() -> None:
    source = make_source((600, 600), step=600)  # one object of 21 pixels in 360,000

    def hits(probability: float) -> int:
        settings = WarpSettings(size=64, on_object_probability=probability)
        return sum(draw_crop(source, settings, np.random.RandomState(s)).instances.any() for s in range(40))

    assert hits(1.0) > hits(0.0) + 5


def test_a_field_without_objects_can_be_drawn_from() -> None:
    source = make_source(step=1000)
    assert np.isnan(source.diameter)
    crop = draw_crop(source, WarpSettings(size=64), np.random.RandomState(0))
    assert not crop.instances.any()
    assert crop.inside.any()


def test_the_same_random_state_draws_the_same_crop() -> None:
    one, two, other = (draw_crop(make_source(), WarpSettings(size=64), np.random.RandomState(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.instances, two.instances)
    assert not np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("seed", range(8))
def test_a_mosaic_has_unique_ids_and_every_pixel_from_its_crop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crops = [
        Crop(
            pixels=np.full((32, 32, 3), k, np.float32),
            instances=rng.integers(0, 6, (32, 32)).astype(np.int32),
            distance=rng.random((32, 32)).astype(np.float32),
            inside=np.full((32, 32), k % 2 == 0),
        )
        for k in range(4)
    ]
    kept = [crop.instances.copy() for crop in crops]
    mosaic = paste_mosaic(crops, np.random.RandomState(seed))
    origin = mosaic.pixels[..., 0].astype(int)
    assert set(np.unique(origin)) == {0, 1, 2, 3}
    owners: dict[int, tuple[int, int]] = {}
    for row, column in np.ndindex(32, 32):
        crop = origin[row, column]
        old, new = kept[crop][row, column], int(mosaic.instances[row, column])
        assert (old > 0) == (new > 0)
        if new:
            assert owners.setdefault(new, (crop, old)) == (crop, old)
        assert mosaic.distance[row, column] == crops[crop].distance[row, column]
        assert mosaic.inside[row, column] == crops[crop].inside[row, column]
    assert len(set(owners.values())) == len(owners)
    for crop, before in zip(crops, kept, strict=True):  # the crops themselves are left as they were
        np.testing.assert_array_equal(crop.instances, before)
    assert all((crop.pixels == k).all() for k, crop in enumerate(crops))
