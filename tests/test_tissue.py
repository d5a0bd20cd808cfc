"""Haematoxylin and what follows from it: where nuclei can be, where there are likely none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.images.reading import read_image, read_stored
from common.tissue.masks import MARGIN, haematoxylin, likely_background, possible_nuclei, slide_light
from common.tissue.stain import combine_stains


def tissue(shape: tuple[int, int], nuclei: list[tuple[int, int, int]], light: float = 240.0) -> np.ndarray:
    """Evenly pink tissue with round nuclei (row, column, radius), glass in the last quarter of the columns; uint8."""
    stains = np.zeros((*shape, 3), np.float32)
    stains[:, : shape[1] * 3 // 4, 1] = 0.4
    for row, column, radius in nuclei:
        disc = np.zeros(shape, np.uint8)
        cv2.circle(disc, (column, row), radius, 1, -1)
        stains[disc > 0, 0] = 0.8
    return np.rint(combine_stains(stains) * light).astype(np.uint8)


def noisy(value: float, shape: tuple[int, int], rng: np.random.Generator, spread: float = 4.0) -> np.ndarray:
    return np.clip(rng.normal(value, spread, (*shape, 3)), 0, 255).astype(np.uint8)


def real_images(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, pixels and instances of all MoNuSeg and TNBC images."""
    for path in sorted((data / "monuseg" / "tissue_images").glob("*.tif")):
        yield path.stem, read_image(path).pixels, read_stored(data / "monuseg" / "instances" / f"{path.stem}.png")[0]
    for path in sorted((data / "tnbc" / "images").glob("*.png")):
        yield path.stem, read_image(path).pixels, read_stored(data / "tnbc" / "masks" / path.name)[0]


def test_haematoxylin_is_the_amount_that_was_put_in() -> None:
    found = haematoxylin(tissue((120, 160), [(60, 50, 20)]))
    assert found.dtype == np.float32
    assert found.shape == (120, 160)
    assert abs(np.median(found[55:65, 45:55]) - 0.8) < 0.03
    assert abs(np.median(found[:30, :100])) < 0.03  # eosin alone
    assert abs(np.median(found[:, 130:])) < 0.03  # glass


@pytest.mark.parametrize(
    ("dtype", "factor"), [(np.uint16, 257), (np.uint16, 16), (np.float32, 1 / 255), (np.float64, 1)]
)
def test_the_range_of_the_grey_values_does_not_matter(dtype: type, factor: float) -> None:
    image = tissue((100, 160), [(50, 50, 20)])
    other = (image.astype(np.float64) * factor).astype(dtype)
    np.testing.assert_allclose(haematoxylin(other), haematoxylin(image), atol=0.01)
    np.testing.assert_array_equal(possible_nuclei(other), possible_nuclei(image))


def test_light_is_that_of_the_glass_despite_noise_and_a_few_brighter_pixels(rng: np.random.Generator) -> None:
    image = noisy(230, (200, 300), rng)
    image[:, :150] = tissue((200, 150), [(100, 50, 30)])[:, :100].repeat(2, axis=1)[:, :150] // 2
    image[::40, ::50] = 255
    np.testing.assert_allclose(slide_light(image), 230, atol=3)


def test_a_part_with_nuclei_alone_is_all_possible() -> None:
    everywhere_blue = np.rint(combine_stains(np.full((64, 64, 3), (0.8, 0.2, 0.0), np.float32)) * 240).astype(np.uint8)
    assert possible_nuclei(everywhere_blue).all()
    assert not likely_background(everywhere_blue).mask.any()


@pytest.mark.parametrize("value", [255, 235, 200])
def test_empty_glass_holds_no_nucleus_and_is_all_background(value: int, rng: np.random.Generator) -> None:
    for image in (np.full((101, 64, 3), value, np.uint8), noisy(value, (101, 64), rng)):
        assert not possible_nuclei(image).any()
        assert likely_background(image).mask.all()


def test_possible_is_the_nucleus_and_its_margin_and_nothing_else() -> None:
    image = tissue((201, 321), [(100, 100, 12)])
    rows, columns = np.indices(image.shape[:2])
    away = np.hypot(rows - 100, columns - 100) - 12
    found = possible_nuclei(image)
    assert found.shape == away.shape
    assert found[away < MARGIN - 2].all()
    assert not found[away > MARGIN + 8].any()
    wider = possible_nuclei(image, margin=40)
    assert wider[away < 38].all()
    assert (wider | ~found).all()


def test_with_the_slides_light_a_part_gives_what_the_whole_gives() -> None:
    image = tissue((200, 320), [(40, 60, 14), (150, 170, 10), (100, 110, 12)])
    light = slide_light(image)
    whole = possible_nuclei(image, light)
    part = possible_nuclei(image[:, :240], light)
    np.testing.assert_array_equal(part[:, : 240 - 2 * MARGIN], whole[:, : 240 - 2 * MARGIN])


@pytest.mark.parametrize("distance", [20, 50])
def test_background_keeps_its_distance_to_dark_and_to_annotated_nuclei(distance: float) -> None:
    image = tissue((300, 400), [(100, 100, 15)])
    annotated = np.zeros((300, 400), np.int32)
    annotated[200:210, 300:310] = 7  # so pale that it does not show
    found = likely_background(image, annotated, distance)
    rows, columns = np.indices(annotated.shape)
    dark = np.hypot(rows - 100, columns - 100) - 15
    pale = cv2.distanceTransform((annotated == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert found.distance == distance
    assert not found.mask[(dark < distance - 1) | (pale < distance - 2)].any()
    assert found.mask[(dark > distance + 4) & (pale > distance + 2)].all()
    assert likely_background(image, None, distance).mask[205, 305]


def test_specks_are_no_nuclei_and_holes_are_no_background() -> None:
    image = tissue((300, 400), [(100, 100, 20), (200, 250, 2)])
    image[97:104, 97:104] = image[0, 0]  # a pale place inside the nucleus
    found = likely_background(image, distance=4).mask
    assert found[200, 250]
    assert not found[80:120, 90:110].any()


def test_in_crowded_tissue_the_distance_is_halved_until_something_remains() -> None:
    nuclei = [(row, column, 8) for row in range(20, 300, 40) for column in range(20, 300, 40)]
    found = likely_background(tissue((280, 400), nuclei)[:, :280], distance=50)
    assert found.distance == 12.5
    assert 0.01 < found.mask.mean() < 0.5


def test_annotations_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="annotated"):
        likely_background(np.full((10, 12, 3), 200, np.uint8), np.zeros((12, 10), bool))
    with pytest.raises(ValueError, match="expected"):
        haematoxylin(np.zeros((10, 12), np.uint8))
    with pytest.raises(ValueError, match="expected"):
        possible_nuclei(np.zeros((0, 12, 3), np.uint8))


@pytest.mark.data
def test_real_nuclei_are_possible_and_hardly_ever_background(real_data: Path) -> None:
    images, nuclei, mistaken, background = 0, 0, 0, 0
    for name, rgb, instances in real_images(real_data):
        inside = instances > 0
        possible = possible_nuclei(rgb)
        found = likely_background(rgb).mask
        assert possible[inside].mean() >= 0.999, name
        assert not (possible.sum() == 0 and inside.any()), name
        assert np.setdiff1d(instances[inside], instances[possible]).size == 0, f"{name}: a nucleus is skipped whole"
        assert found.any(), name
        assert inside[found].mean() < 0.01, name
        images, nuclei = images + 1, nuclei + len(np.unique(instances[inside]))
        mistaken, background = mistaken + int(inside[found].sum()), background + int(found.sum())
    assert images == 69
    print(
        f"{images} images, {nuclei} nuclei; background that is nucleus: {mistaken / background:.5f} of {background} pixels"
    )
    assert mistaken / background < 0.002
