"""Images are read at the scale of the network, in the colours of the file; what cannot be classified is named."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from common.errors import InputError
from common.inferers import PatchInferer
from common.outputs.png import write_png
from common.patches.transforms import GREY_IMAGE, SMALL_IMAGE, PatchVotesd, ReadTissued, at_scale, rgb_bytes
from common.patches.votes import PatchVotes

CLASSES = ("CLL", "FL", "MCL")


def picture(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 200, (rows, columns, 3)).astype(np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_png(tmp_path / "a_001.png", picture(60, 90))
    return tmp_path / "a_001.png"


def read(file: Path, record: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    settings = {"patch_size": 60, "network_scale": 0.6, "image_scale": 0.3, "class_names": CLASSES, **options}
    found: dict[Hashable, Any] = {"image": str(file), **(record or {})}  # type: ignore[dict-item]
    return {str(key): value for key, value in ReadTissued("image", **settings)(found).items()}


def test_an_item_has_what_the_rest_of_the_bundle_expects(file: Path) -> None:
    record = {"name": "one", "label": "FL", "group": "case", "slide": "case-R1", "dataset": "d", "modality": ""}
    item = read(file, record)
    assert (item["name"], item["group"], item["slide"], item["source"]) == ("one", "case", "case-R1", file)
    assert item["label"].dtype == torch.int64
    assert (int(item["label"]), item["label"].shape) == (1, ())
    assert (item["scale"], item["notes"]) == (2.0, ())
    assert (item["image"].shape, item["image"].dtype) == ((3, 120, 180), torch.float32)
    np.testing.assert_array_equal(item["pixels"], picture(60, 90))
    assert item["seconds_read"] > 0


def test_a_record_without_class_or_slide_is_its_own_group(file: Path) -> None:
    item = read(file, {"label": None})
    assert "label" not in item
    assert item["name"] == item["slide"] == item["group"] == "a_001"
    assert read(file, {"group": "case"})["slide"] == "case"
    assert "label" not in read(file, {"label": "FL"}, class_names=())


def test_at_its_own_scale_an_image_is_the_file_divided_by_255(file: Path) -> None:
    item = read(file, network_scale=0.3)
    np.testing.assert_allclose(item["image"].permute(1, 2, 0) * 255, picture(60, 90), atol=1e-4)


def test_the_scale_is_that_of_the_user_then_of_the_file_then_assumed(tmp_path: Path) -> None:
    sized, bare = tmp_path / "sized.tif", tmp_path / "bare.tif"
    tifffile.imwrite(sized, picture(80, 80), resolution=(20_000, 20_000), resolutionunit="CENTIMETER")  # 0.5 um
    tifffile.imwrite(bare, picture(80, 80))
    assert read(sized, image_scale=None)["scale"] == pytest.approx(0.6 / 0.5, rel=1e-4)
    assert read(sized, image_scale="0.3")["scale"] == 2
    assert read(bare, image_scale=None, assumed_scale=0.6)["scale"] == 1
    assumed = [
        read(file, image_scale=given, assumed_scale=0.6)["assumed_scale"]
        for file in (sized, bare)
        for given in (None, 1)
    ]
    assert assumed == [None, None, 0.6, None]
    with pytest.raises(InputError, match="file pixels per original pixel"):
        read(bare, image_scale="half")
    with pytest.raises(InputError, match="image_scale says otherwise"):
        read(bare, image_scale=0.1)


def test_small_images_are_noted_and_those_below_half_a_patch_refused(tmp_path: Path) -> None:
    for rows in (18, 17, 9, 8):
        write_png(tmp_path / f"{rows}.png", picture(rows, 40))
    assert read(tmp_path / "18.png")["notes"] == ()  # 60 original pixels are 18 of the file
    assert read(tmp_path / "17.png")["notes"] == (SMALL_IMAGE,)
    assert read(tmp_path / "9.png")["notes"] == (SMALL_IMAGE,)
    with pytest.raises(InputError, match="8.png: found an image of 40 x 8 pixels; expected at least 9 x 9"):
        read(tmp_path / "8.png")


def test_an_unknown_class_is_named_with_those_that_there_are(file: Path) -> None:
    with pytest.raises(InputError, match="the class 'DLBCL'; expected one of CLL, FL, MCL"):
        read(file, {"label": "DLBCL"})


def test_grey_images_are_read_and_noted(tmp_path: Path) -> None:
    write_png(tmp_path / "grey.png", picture(60, 60)[..., 0])
    item = read(tmp_path / "grey.png")
    assert item["notes"] == (GREY_IMAGE,)
    assert item["pixels"].shape == (60, 60, 3)


def test_bytes_keep_the_contrast_of_any_full_scale() -> None:
    pixels = picture(12, 14)
    pixels[0, 0] = 255
    for scale, kind in ((257, np.uint16), (4095 / 255, np.uint16), (1 / 255, np.float32), (1, np.float32)):
        np.testing.assert_array_equal(rgb_bytes((pixels.astype(np.float64) * scale).round(4).astype(kind)), pixels)
    assert rgb_bytes(pixels[..., :1]).shape == (12, 14, 3)


def test_reducing_averages_and_enlarging_keeps_means() -> None:
    pixels = np.full((40, 60, 3), (10, 100, 200), np.uint8)
    for scale in (0.5, 1.0, 1.7):
        image = at_scale(pixels, scale)
        assert image.shape == (3, round(40 * scale), round(60 * scale))
        np.testing.assert_allclose(image.mean((1, 2)) * 255, (10, 100, 200), rtol=1e-5)


@pytest.mark.parametrize("rule", ["vote", "mean"])
def test_votes_give_the_image_its_class(file: Path, rule: str) -> None:
    item = read(file)

    def network(patches: torch.Tensor) -> torch.Tensor:
        return 20 * patches.mean((-2, -1))

    item["pred"] = PatchInferer(60, 30, 0.6)(item["image"], network)
    found = PatchVotesd("pred", rule)(dict(item))  # type: ignore[arg-type]
    votes = found["pred"]
    assert isinstance(votes, PatchVotes)
    assert votes.size == 36
    np.testing.assert_array_equal(found["image_probabilities"], votes.image_probability(rule))
    assert (found["predicted"], found["margin"]) == (votes.predicted(rule), votes.margin(rule))
    assert found["seconds_decode"] >= 0
    with pytest.raises(InputError, match="vote or mean"):
        PatchVotesd("pred", "most")


@pytest.mark.data
def test_a_real_image_is_read_as_it_is(real_data: Path) -> None:
    file = real_data / "lymphoma" / "CLL" / "sj-03-2810_001.jpg"
    item = read(file, {"label": "CLL"}, network_scale=0.5)
    assert item["pixels"].shape == (312, 417, 3)
    assert item["image"].shape == (3, 520, 695)
    assert 0 <= item["image"].min() < item["image"].max() <= 1
