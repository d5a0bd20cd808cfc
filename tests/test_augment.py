"""Random appearance: always a usable image of the same shape, decided by the random state alone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from common.images.noise import smooth_field
from common.nuclei import augment as looks
from common.nuclei.augment import augment

MODALITIES = ["fluorescence", "brightfield", "purple_white"]


def make_crop(kind: str, shape: tuple[int, int] = (48, 56)) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns, 3) float32 picture and its instance map."""
    instances = np.zeros(shape, np.int32)
    for index, centre in enumerate([(12, 12), (36, 14), (20, 34), (44, 40)], start=1):
        cv2.circle(instances, centre, 7, index, -1)
    grey = np.where(instances > 0, 0.9, 0.1).astype(np.float32)
    colour = grey[..., None] * np.array([0.6, 0.3, 0.7], np.float32)
    pictures = {
        "objects": np.repeat(grey[..., None], 3, 2),
        "colour": 1 - colour,
        "black": np.zeros((*shape, 3), np.float32),
        "white": np.full((*shape, 3), 2.0, np.float32),
        "grey": np.full((*shape, 3), 0.4, np.float32),
        "below": np.full((*shape, 3), -0.5, np.float32),
        "noise": np.random.default_rng(0).uniform(-0.5, 2.0, (*shape, 3)).astype(np.float32),
    }
    return pictures[kind], instances


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("kind", ["objects", "colour", "black", "white", "grey", "below", "noise"])
def test_any_crop_gives_a_finite_picture_in_range(modality: str, kind: str) -> None:
    image, instances = make_crop(kind)
    before = image.copy(), instances.copy()
    for seed in range(25):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            found = augment(image, instances, modality, np.random.RandomState(seed))
        assert found.shape == image.shape
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert found.min() >= -0.75
        assert found.max() <= 2.0
    np.testing.assert_array_equal(image, before[0])  # the crop itself is left as it was
    np.testing.assert_array_equal(instances, before[1])


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 90)])
@pytest.mark.parametrize("modality", MODALITIES)
def test_small_and_slender_crops_work(shape: tuple[int, int], modality: str) -> None:
    image = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    for seed in range(15):
        found = augment(image, np.ones(shape, np.int32), modality, np.random.RandomState(seed))
        assert found.shape == image.shape
        assert np.isfinite(found).all()


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_random_state_decides_everything(modality: str) -> None:
    image, instances = make_crop("colour")
    first = [augment(image, instances, modality, np.random.RandomState(seed)) for seed in range(8)]
    second = [augment(image, instances, modality, np.random.RandomState(seed)) for seed in range(8)]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len({picture.tobytes() for picture in first}) == 8


@pytest.mark.parametrize("modality", ["fluorescence", "brightfield"])
def test_grey_modalities_are_sometimes_coloured_but_mostly_grey(modality: str) -> None:
    image, instances = make_crop("objects")
    coloured = 0
    for seed in range(100):
        found = augment(image, instances, modality, np.random.RandomState(seed))
        coloured += np.abs(found - found.mean(axis=2, keepdims=True)).max() > 0.15
    assert 3 <= coloured <= 50


@pytest.mark.parametrize("modality", MODALITIES)
def test_most_pictures_still_show_the_objects(modality: str) -> None:
    image, instances = make_crop("objects" if modality == "fluorescence" else "colour")
    contrasts = []
    for seed in range(40):
        grey = augment(image, instances, modality, np.random.RandomState(seed)).mean(axis=2)
        spread = grey.std() + 1e-6
        contrasts.append(abs(grey[instances > 0].mean() - grey[instances == 0].mean()) / spread)
    assert np.median(contrasts) > 1.0


@pytest.mark.parametrize("cells", [2, 5, 40])
def test_a_smooth_field_spans_nought_to_one(cells: int) -> None:
    field = smooth_field((30, 21), cells, np.random.RandomState(0))
    assert field.shape == (30, 21)
    assert field.dtype == np.float32
    assert field.min() == 0
    assert field.max() == pytest.approx(1)


def test_gamma_keeps_sign_and_order(rng: np.random.Generator) -> None:
    values = np.sort(rng.uniform(-0.5, 2, 300)).astype(np.float32).reshape(10, 10, 3)
    found = looks.gamma(values, np.random.RandomState(0))
    np.testing.assert_array_equal(np.sign(found), np.sign(values))
    assert (np.diff(found.ravel()) >= 0).all()


def test_renormalising_puts_the_percentiles_at_nought_and_one(rng: np.random.Generator) -> None:
    image = rng.normal(5, 3, (64, 64, 3)).astype(np.float32)
    found = looks.renormalise(image, 1.0, 99.0)
    np.testing.assert_allclose(np.percentile(found[::2, ::2], [1, 99]), [0, 1], atol=1e-5)


def test_inverting_turns_bright_objects_dark() -> None:
    image, instances = make_crop("objects")
    found = looks.invert(image, np.random.RandomState(0))
    assert found[instances > 0].max() < found[instances == 0].min()


@pytest.mark.parametrize("function", [looks._add_bright_debris, looks._change_nuclei])
def test_changes_of_objects_and_of_background_keep_to_their_place(
    function: Callable[[np.ndarray, np.ndarray, np.random.RandomState], np.ndarray],
) -> None:
    image, instances = make_crop("objects")
    found = np.mean([np.abs(function(image, instances, np.random.RandomState(s)) - image) for s in range(10)], axis=0)
    near = cv2.dilate((instances > 0).astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    still, changed = (instances > 0, ~near) if function is looks._add_bright_debris else (~near, instances > 0)
    assert not found[still].any()
    assert found[changed].max() > 0.05
