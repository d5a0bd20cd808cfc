"""Grey values to one range: what must not matter (bit depth, stored colour) does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.images.normalise import compress, intensity_range, is_dark_field, normalise, to_unit_range
from common.nuclei.augment import unchanged


@pytest.fixture
def dark(rng: np.random.Generator) -> np.ndarray:
    """Bright discs on a dark ground, (rows, columns, 1) uint8."""
    image = rng.integers(5, 15, (60, 80), dtype=np.uint8)
    for centre in ((20, 20), (50, 35), (65, 12)):
        cv2.circle(image, centre, 9, int(rng.integers(120, 250)), -1)
    return image[..., None]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_depth_and_offset_do_not_matter(dark: np.ndarray, dtype: type) -> None:
    deep = dark.astype(dtype) * 257 + 31
    np.testing.assert_allclose(normalise(deep), normalise(dark), atol=1e-4)


def test_unit_floats_are_as_bytes(dark: np.ndarray) -> None:
    np.testing.assert_allclose(normalise(dark.astype(np.float32) / 255), normalise(dark), atol=1e-4)


@pytest.mark.parametrize("channels", [[0], [1], [2], [0, 1, 2], [1, 2]])
def test_coloured_fluorescence_equals_its_grey_version(dark: np.ndarray, channels: list[int]) -> None:
    coloured = np.zeros((*dark.shape[:2], 3), np.uint8)
    coloured[..., channels] = dark
    np.testing.assert_array_equal(normalise(coloured), normalise(dark))


def test_channels_of_a_stained_picture_keep_their_ratio(dark: np.ndarray) -> None:
    light = 255 - np.concatenate([dark // 3, dark // 2, dark // 5], axis=2)
    found = normalise(light)
    low, high = intensity_range(light)
    np.testing.assert_allclose(found, np.clip((light - low) / (high - low), -0.5, 2.0), atol=1e-5)
    assert not np.array_equal(found[..., 0], found[..., 1])


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_constant_image_is_constant_and_finite(value: int, channels: int, dtype: type) -> None:
    found = normalise(np.full((9, 4, channels), value, dtype))
    assert found.shape == (9, 4, 3)
    assert np.isfinite(found).all()
    assert np.ptp(found) == 0


def test_shape_dtype_and_range(dark: np.ndarray) -> None:
    dark[3, 3] = 255
    for channels in (1, 3):
        found = normalise(np.repeat(dark, channels, axis=2).astype(np.uint16) ** 2)
        assert found.shape == (60, 80, 3)
        assert found.dtype == np.float32
        assert found.min() >= -0.5
        assert found.max() <= 2.0
        assert np.percentile(found, 1) == pytest.approx(0, abs=0.05)


def test_a_single_small_object_on_an_empty_ground_keeps_its_texture() -> None:
    image = np.zeros((100, 100, 1), np.uint8)
    image[50:54, 50:54, 0] = np.arange(40, 200, 10).reshape(4, 4)
    found = normalise(image)[50:54, 50:54, 0]
    np.testing.assert_allclose(found, image[50:54, 50:54, 0] / 190.0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e6])
def test_the_unit_of_floats_does_not_matter(dark: np.ndarray, scale: float) -> None:
    np.testing.assert_allclose(normalise(dark * scale), normalise(dark), atol=1e-4)


def test_a_hot_pixel_changes_little(dark: np.ndarray) -> None:
    hot = dark.astype(np.uint16)
    hot[0, 0] = 65535
    np.testing.assert_allclose(normalise(hot)[1:], normalise(dark)[1:], atol=0.02)


def test_the_input_is_left_as_it_was(dark: np.ndarray) -> None:
    image = dark.astype(np.float32)
    before = image.copy()
    normalise(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_dark_field_is_told_from_bright_field(dark: np.ndarray, dtype: type) -> None:
    scale = 1 if dtype is np.uint8 else 200
    image = dark.astype(dtype) * dtype(scale)
    assert is_dark_field(image)
    assert is_dark_field(np.repeat(image, 3, axis=2))
    assert not is_dark_field(dtype(255 * scale) - image)


def test_large_images_are_sampled_and_give_the_same_range(dark: np.ndarray) -> None:
    large = np.tile(dark, (40, 30, 1))  # 5.8 million pixels
    assert intensity_range(large) == pytest.approx(intensity_range(dark), rel=0.05)
    assert is_dark_field(large)


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e6])
def test_the_range_is_never_empty(value: float) -> None:
    low, high = intensity_range(np.full((5, 5, 1), value))
    assert high > low


def test_compression_keeps_nought_and_one_and_the_order_and_makes_ten_two(rng: np.random.Generator) -> None:
    values = np.sort(rng.uniform(-0.5, 10, 500)).astype(np.float32)
    found = compress(values)
    assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(compress(np.array([0.0], np.float32)), 0)
    assert compress(np.array([1.0], np.float32)) == pytest.approx(1)
    assert compress(np.array([10.0], np.float32)) == pytest.approx(2, abs=0.02)


def test_beside_a_dead_cell_the_living_show_and_its_own_texture_is_kept(dark: np.ndarray) -> None:
    image = dark.astype(np.uint16) * 10
    image[35:45, 5:45] = np.arange(20000, 24000, 100, dtype=np.uint16)[
        None, :, None
    ]  # a tenth of the area, ten times brighter
    found, linear = normalise(image)[..., 0], to_unit_range(image)[..., 0]
    assert found[20, 20] - found[2:8, 60:].mean() > 1.8 * (linear[20, 20] - linear[2:8, 60:].mean())
    assert (np.diff(found[40, 5:45]) > 0).all()


def test_a_training_crop_that_is_left_alone_is_what_inference_sees(dark: np.ndarray) -> None:
    light = 255 - np.concatenate([dark // 3, dark // 2, dark // 5], axis=2)
    for image, modality in ((dark, "fluorescence"), (255 - dark, "brightfield"), (light, "stained")):
        linear = to_unit_range(image)
        crop = np.repeat(linear, 3, axis=2) if linear.shape[2] == 1 else linear
        np.testing.assert_array_equal(unchanged(crop, modality), normalise(image))
