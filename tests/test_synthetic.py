"""Generated images: what is called truth is the truth, objects look as asked, and a seed gives one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from common.datasets.labels import read_instances
from common.datasets.records import load_datalist
from common.images.modality import guess_modality
from common.images.reading import read_image
from common.nuclei.synthetic import GeneratedImage, fluorescence_image, nuclei, stained_image, write_bowl_layout
from common.nuclei.targets import touching_mask, typical_diameter

MAKERS = [fluorescence_image, stained_image]


@pytest.mark.parametrize("seed", range(5))
def test_ids_have_no_gap_and_every_object_is_one_piece(seed: int) -> None:
    instances = nuclei((120, 200), 40, 18, np.random.default_rng(seed))
    assert instances.dtype == np.int32
    assert set(np.unique(instances)) == set(range(instances.max() + 1))
    assert instances.max() > 20
    for number, box in enumerate(ndimage.find_objects(instances), 1):
        assert ndimage.label(instances[box] == number)[1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_objects_keep_a_gap_unless_they_are_to_touch(seed: int) -> None:
    apart = nuclei((200, 200), 40, 18, np.random.default_rng(seed), touching=0.0)
    grown = np.stack([cv2.dilate((apart == n).astype(np.uint8), np.ones((3, 3))) for n in range(1, apart.max() + 1)])
    assert apart.max() > 20
    assert grown.sum(axis=0).max() == 1
    together = nuclei((200, 200), 40, 18, np.random.default_rng(seed), touching=0.6)
    assert touching_mask(together).any()


@pytest.mark.parametrize("diameter", [12, 24, 60])
def test_objects_have_the_diameter_asked_for(diameter: int) -> None:
    instances = nuclei((12 * diameter, 12 * diameter), 40, diameter, np.random.default_rng(0))
    assert typical_diameter(instances) == pytest.approx(diameter, rel=0.15)


def test_a_full_image_ends_with_fewer_objects_than_asked() -> None:
    assert 0 < nuclei((40, 40), 1000, 20, np.random.default_rng(0)).max() <= 10


@pytest.mark.parametrize("maker", MAKERS)
def test_a_seed_gives_one_image_and_another_seed_another(maker: Callable[..., GeneratedImage]) -> None:
    first, again, other = (maker((64, 96), 8, 16, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.instances, again.instances)
    assert not np.array_equal(first.instances, other.instances)
    assert first.instances.shape == first.pixels.shape[:2] == (64, 96)


def test_nuclei_shine_in_fluorescence_and_are_dark_in_tissue() -> None:
    for maker, sign in ((fluorescence_image, 1.0), (stained_image, -1.0)):
        image = maker((200, 200), 40, 20, np.random.default_rng(0))
        contrast = sign * image.pixels.mean(axis=2)
        within, outside = contrast[image.instances > 0], contrast[image.instances == 0]
        assert np.median(within) - np.median(outside) > 40
        assert np.percentile(within, 20) > np.percentile(outside, 80)


def test_sixteen_bit_images_use_twelve_of_them() -> None:
    pixels = fluorescence_image((128, 128), 20, 20, np.random.default_rng(0), np.uint16).pixels
    assert pixels.dtype == np.uint16
    assert 1000 < pixels.max() <= 4095


@pytest.mark.parametrize(
    ("maker", "options", "modality"),
    [
        (fluorescence_image, {}, "fluorescence"),
        (stained_image, {"eosin": 0.15}, "purple_on_white"),
        (stained_image, {"eosin": 0.5}, "purple_on_purple"),
    ],
)
def test_the_modality_is_told_by_the_pixels(maker: Callable, options: dict, modality: str) -> None:
    assert guess_modality(maker((256, 256), 40, 22, np.random.default_rng(0), **options).pixels) == modality


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_is_read_back(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    images = {
        "grey": fluorescence_image((60, 90), 8, 14, rng, dtype),
        "colour": stained_image((50, 40), 5, 14, rng),
    }
    for name, image in images.items():
        write_bowl_layout(tmp_path, name, image.pixels, image.instances)
    records = load_datalist(tmp_path)
    assert [record["name"] for record in records] == ["colour", "grey"]
    for record in records:
        image = images[record["name"]]
        assert np.array_equal(read_image(record["image"]).pixels, image.pixels)
        assert np.array_equal(read_instances(record), image.instances)


def test_an_image_is_never_overwritten(tmp_path: Path) -> None:
    image = fluorescence_image((32, 32), 2, 12, np.random.default_rng(0)).pixels
    write_bowl_layout(tmp_path, "one", image)
    with pytest.raises(FileExistsError):
        write_bowl_layout(tmp_path, "one", image)
    assert not (tmp_path / "one" / "masks").exists()
