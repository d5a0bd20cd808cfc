"""A slice and its label reach the network together, at its pixel size, whatever file they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage.draw import disk

from common.cine.transforms import ReadSliced
from common.datasets.sunnybrook import records
from common.errors import InputError

SHAPE = (96, 120)


@pytest.fixture
def record(tmp_path: Path, rng: np.random.Generator) -> dict[str, Any]:
    """A bright cavity in a grey wall, drawn as masks."""
    epicardium, endocardium = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    epicardium[disk((50, 70), 24)] = 255
    endocardium[disk((50, 70), 14)] = 255
    image = (200 + 3 * (epicardium > 0) * 20 + 4 * endocardium + rng.normal(0, 5, SHAPE)).astype(np.uint16)
    for name, pixels in (("image", image), ("endo", endocardium), ("epi", epicardium)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    paths = {"image": "image", "label": "endo", "epicardium": "epi"}
    return {
        "name": "a",
        **{key: str(tmp_path / f"{name}.tif") for key, name in paths.items()},
        "spacing_mm": [1.5, 1.25],
    }


@pytest.mark.parametrize("pixel_mm", [1.0, 1.25, 2.0])
def test_image_and_label_have_the_pixel_size_of_the_network(record: dict[str, Any], pixel_mm: float) -> None:
    item = ReadSliced("image", pixel_mm)(record)
    wanted = (round(SHAPE[0] * 1.5 / pixel_mm), round(SHAPE[1] * 1.25 / pixel_mm))
    assert item["image"].shape == item["label"].shape == (1, *wanted)
    label = item["label"][0].numpy()
    area = (label == 1).sum() * pixel_mm**2
    assert area == pytest.approx((item["truth"] == 1).sum() * 1.5 * 1.25, rel=0.06)
    # The cavity is brightest, the wall between it and the background.
    grey = item["image"][0].numpy()
    means = [grey[label == value].mean() for value in (0, 2, 1)]
    assert means == sorted(means)


def test_without_epicardium_the_label_is_in_doubt(record: dict[str, Any]) -> None:
    item = ReadSliced("image")({**record, "epicardium": None})
    assert set(item["label"].unique().tolist()) == {1, 3}
    assert set(np.unique(item["truth"])) == {0, 1} and item["myocardium_known"] is False
    assert set(ReadSliced("image")(record)["label"].unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_pictures_become_what_the_network_takes(record: dict[str, Any], channels: int) -> None:
    grey = ReadSliced("image", channels=channels)(record)
    pixels = tifffile.imread(record["image"])
    path = Path(record["image"]).with_name("colour.tif")
    tifffile.imwrite(path, np.repeat((pixels / 5).astype(np.uint8)[..., None], 3, 2), photometric="rgb")
    colour = ReadSliced("image", channels=channels)({**record, "image": str(path)})
    assert grey["image"].shape == colour["image"].shape == (channels, *grey["image"].shape[1:])
    np.testing.assert_allclose(grey["image"], colour["image"], atol=0.03)


def test_a_picture_without_pixel_size_is_refused_or_assumed(record: dict[str, Any]) -> None:
    bare = {key: value for key, value in record.items() if key != "spacing_mm"}
    with pytest.raises(InputError, match=r"image\.tif: found no pixel size"):
        ReadSliced("image")(bare)
    assert ReadSliced("image", 1.25, assumed_mm=1.25)(bare)["image"].shape == (1, *SHAPE)


def test_an_image_without_truth_has_no_label(record: dict[str, Any]) -> None:
    item = ReadSliced("image")({**record, "label": None})
    assert "label" not in item and "truth" not in item


@pytest.mark.data
def test_a_real_slice_keeps_its_heart(real_data: Path) -> None:
    found = [r for r in records(real_data / "sunnybrook" / "png") if r["epicardium"]][::40]
    for record in found:
        item = ReadSliced("image", 1.25)(record)
        share = item["spacing_mm"][0] * item["spacing_mm"][1] / 1.25**2
        for value in (1, 2):
            there = int((item["label"] == value).sum())
            assert there == pytest.approx((item["truth"] == value).sum() * share, rel=0.05, abs=8)
        assert 0 <= np.median(item["image"]) < 1
