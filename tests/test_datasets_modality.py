"""The kind of microscopy told from the pixels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.datasets.dsb2018 import records
from common.images.modality import MODALITIES, guess_modality
from common.images.reading import list_images, read_image

WHITE, PURPLE, YELLOW, DARK_PURPLE = (225, 222, 230), (180, 160, 205), (215, 200, 140), (90, 50, 130)


def _scene(background: tuple[int, ...], objects: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    pixels = np.tile(np.array(background, float), (80, 120, 1))
    rows, columns = np.mgrid[:80, :120]
    for row, column in rng.integers((8, 8), (72, 112), (9, 2)):
        pixels[(rows - row) ** 2 + (columns - column) ** 2 < 40] = objects
    return np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("background", "objects", "expected"),
    [
        ((9,), (140,), "fluorescence"),
        ((4, 5, 9), (20, 30, 190), "fluorescence"),
        ((228,), (120,), "brightfield"),
        (WHITE, DARK_PURPLE, "purple_on_white"),
        (PURPLE, DARK_PURPLE, "purple_on_purple"),
        (YELLOW, DARK_PURPLE, "purple_on_yellow"),
    ],
)
def test_each_kind_is_told_by_its_background(
    rng: np.random.Generator, background: tuple[int, ...], objects: tuple[int, ...], expected: str
) -> None:
    pixels = _scene(background, objects, rng)
    assert guess_modality(pixels) == expected
    assert guess_modality(pixels[:40]) == expected
    assert expected in MODALITIES


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize(("background", "objects", "expected"), [(9, 140, "fluorescence"), (228, 120, "brightfield")])
def test_depth_does_not_matter(
    rng: np.random.Generator, dtype: type, background: int, objects: int, expected: str
) -> None:
    # 12 of 16 bits, as cameras give them, with an offset.
    pixels = (_scene((background,), (objects,), rng).astype(dtype) * 12 + 400).astype(dtype)
    assert guess_modality(pixels) == expected
    assert guess_modality(pixels[..., 0]) == expected


def test_flat_images_have_an_answer() -> None:
    assert guess_modality(np.zeros((5, 5, 1), np.uint8)) == "fluorescence"
    assert guess_modality(np.full((5, 5, 3), 240, np.uint8)) == "purple_on_white"
    assert guess_modality(np.zeros((5, 5, 1), np.uint16)) == "fluorescence"


@pytest.mark.data
def test_real_images_agree_with_the_table(real_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(real_data / "dsb2018" / "stage1_train.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if "/images/" in name])
    found = records(tmp_path, modality_table=real_data / "dsb2018" / "classes.csv", need_labels=False)
    agree = [guess_modality(read_image(record["image"]).pixels) == record["modality"] for record in found]
    assert len(agree) == 664
    assert np.mean(agree) >= 0.97


@pytest.mark.data
def test_real_images_of_other_sources(real_data: Path) -> None:
    for folder, kinds in (
        ("bbbc039/images", {"fluorescence"}),
        ("monuseg/tissue_images", {"purple_on_purple", "purple_on_white"}),
        ("tnbc/images", {"purple_on_purple", "purple_on_white"}),
        ("spheroid_unlabelled/cparent", {"brightfield"}),
    ):
        guessed = {guess_modality(read_image(path).pixels) for path in list_images(real_data / folder)}
        assert guessed <= kinds, folder
