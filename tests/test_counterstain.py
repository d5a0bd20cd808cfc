"""Immunohistochemistry is told by its brown, shown without it, and looked at twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from skimage import data

from common.images.reading import read_image
from common.inferers import CounterstainInferer
from common.nuclei.transforms import Counterstaind
from common.tissue import counterstain as module
from common.tissue.counterstain import BROWN_SHARE, brown_share, counterstain
from common.tissue.stain import combine_stains, separate_stains

HAEMATOXYLIN, EOSIN, DAB = range(3)


def slide(*amounts: float) -> np.ndarray:
    """(80, 60, 3) uint8: a white slide whose lower half holds these amounts of haematoxylin, eosin and DAB."""
    stains = np.zeros((80, 60, 3), np.float32)
    stains[40:] = amounts
    return np.rint(255 * combine_stains(stains)).astype(np.uint8)


@pytest.mark.parametrize(
    "amounts", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0.5, 0.5, 0), (0.3, 1.5, 0), (2, 2, 0), (0.7, 0.1, 0.2)]
)
def test_h_and_e_is_not_brown(amounts: tuple[float, float, float]) -> None:
    assert brown_share(slide(*amounts)) < 0.01


@pytest.mark.parametrize("amounts", [(0, 0, 0.6), (0, 0, 2), (0.2, 0, 1), (0, 0.1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_half_a_slide_of_dab_is_half_brown(amounts: tuple[float, float, float], dtype: type) -> None:
    picture = slide(*amounts)
    given = {np.uint8: picture, np.uint16: picture.astype(np.uint16) * 257, np.float32: np.float32(picture / 255)}[
        dtype
    ]
    assert brown_share(given) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "colour", [(250, 235, 60), (20, 20, 20), (128, 128, 128), (60, 80, 200), (40, 160, 60), (220, 60, 70)]
)
def test_other_colours_are_not_brown(colour: tuple[int, int, int]) -> None:
    picture = np.full((80, 60, 3), 255, np.uint8)
    picture[40:] = colour
    assert brown_share(picture) < 0.01


def test_the_counterstain_keeps_nuclei_and_drops_brown() -> None:
    stains = np.zeros((80, 60, 3), np.float32)
    stains[..., DAB] = 1.0
    stains[20:40, 20:40] = (0.3, 0.0, 0.0)  # pale nuclei, spared by the brown
    stains[50:60, 10:50] = (0.3, 0.0, 1.0)  # nuclei beneath it
    stains[:5] = 0
    before = np.rint(255 * combine_stains(stains)).astype(np.uint8)
    shown = counterstain(before)
    assert shown.dtype == np.uint8
    assert shown.shape == before.shape
    found = separate_stains(np.float32(shown / 255))
    assert np.abs(found[..., [EOSIN, DAB]]).max() < 0.03
    assert np.median(found[20:40, 20:40, HAEMATOXYLIN]) == pytest.approx(1.0, abs=0.05)
    assert np.median(found[50:60, 10:50, HAEMATOXYLIN]) == pytest.approx(1.0, abs=0.05)
    assert found[65:, :, HAEMATOXYLIN].max() < 0.1
    assert (shown[:4] > 250).all()


def test_parts_of_a_slide_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    stains = rng.uniform(0, 1, (70, 40, 3)).astype(np.float32) * np.float32([0.5, 0.0, 1.0])
    picture = np.rint(255 * combine_stains(stains)).astype(np.uint8)
    whole = counterstain(picture)
    monkeypatch.setattr(module, "_ROWS", 16)
    np.testing.assert_array_equal(counterstain(picture), whole)


@pytest.mark.parametrize("fill", [0, 255])
def test_an_empty_picture_stays_usable(fill: int) -> None:
    picture = np.full((3, 5, 3), fill, np.uint8)
    assert brown_share(picture) == 0
    assert counterstain(picture).shape == picture.shape


def test_real_immunohistochemistry_is_brown() -> None:
    assert brown_share(data.immunohistochemistry()) > 4 * BROWN_SHARE


@pytest.mark.data
@pytest.mark.parametrize("folder", ["tnbc/images", "monuseg/tissue_images"])
def test_real_h_and_e_is_not_brown(real_data: Path, folder: str) -> None:
    shares = [brown_share(read_image(path).pixels) for path in sorted((real_data / folder).iterdir())[::4]]
    assert len(shares) >= 7
    assert max(shares) < BROWN_SHARE


# the second view


def view_of(pixels: np.ndarray, enabled: bool | str = True) -> torch.Tensor:
    return Counterstaind("source", enabled)({"source": np.moveaxis(pixels, -1, 0), "name": "a"})["counterstain"]


def test_brown_slides_alone_have_a_second_view() -> None:
    brown = slide(0.2, 0, 1)
    view = view_of(brown)
    assert view.shape == (3, 80, 60)
    assert view.dtype == torch.float32
    assert view.is_contiguous()
    for other in (slide(1, 1, 0), brown[..., :1], 255 - brown):
        assert view_of(other).numel() == 0
    assert view_of(brown, "false").numel() == 0


class Known(Inferer):
    """Gives the input's first two channels as maps, and the mean as the objects' diameter."""

    network_seconds = 3.0

    def __call__(
        self, inputs: torch.Tensor, network: object, *args: object, scale: float = 1.0, **_: object
    ) -> torch.Tensor:
        maps = MetaTensor(inputs[:, :2] * scale, meta={"object_diameter": inputs.mean()})
        maps.is_batch = True
        return maps


@pytest.mark.parametrize("empty", [None, torch.zeros(1, 0)])
def test_without_a_second_view_nothing_changes(empty: torch.Tensor | None) -> None:
    image = torch.rand(1, 3, 8, 9)
    found = CounterstainInferer(Known())(image, torch.nn.Identity(), counterstain=empty, scale=0.5)
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(Known()(image, None, scale=0.5)))


def test_each_pixel_takes_all_maps_of_the_surer_look() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(1, 3, 8, 9, generator=generator) for _ in range(2))
    found = CounterstainInferer(Known())(first, torch.nn.Identity(), counterstain=second)
    surer = second[0, 0] > first[0, 0]
    assert 0 < surer.sum() < surer.numel()
    for channel in (0, 1):
        torch.testing.assert_close(
            torch.as_tensor(found)[0, channel], torch.where(surer, second[0, channel], first[0, channel])
        )
    assert isinstance(found, MetaTensor)
    assert found.meta["object_diameter"] == second.mean()


def test_seconds_are_those_of_the_inner_inferer() -> None:
    assert CounterstainInferer(Known()).network_seconds == 3.0
