"""Dictionary transforms: files to network input, crops to targets, network maps to instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image as PilImage

from common.engine.loading import input_error
from common.errors import InputError
from common.images.normalise import normalise
from common.nuclei.instances import DecodeSettings, decode
from common.nuclei.targets import normalised_distance, touching_mask
from common.nuclei.transforms import (
    Foregroundd,
    InstancesFromMapsd,
    InstanceTargetsd,
    RandAppearanced,
    ReadInstancesd,
    ReadMicroscopyd,
)

ROWS, COLUMNS = 24, 35


@pytest.fixture
def grey() -> np.ndarray:
    """Bright discs on dark ground, not square, (rows, columns) uint8."""
    image = np.full((ROWS, COLUMNS), 12, np.uint8)
    cv2.circle(image, (9, 8), 4, 200, -1)
    cv2.circle(image, (26, 15), 5, 140, -1)
    return image


def save(path: Path, grey: np.ndarray, kind: str) -> Path:
    if kind == "grey":
        PilImage.fromarray(grey).save(path)
    elif kind == "16 bit":
        PilImage.fromarray(grey.astype(np.uint16) * 257).save(path)
    elif kind == "palette":
        picture = PilImage.fromarray(grey).convert("P")
        picture.save(path)
    elif kind == "RGBA":
        PilImage.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(path)
    else:
        PilImage.fromarray(np.dstack([grey * 0, grey * 0, grey])).save(path)
    return path


@pytest.mark.parametrize("kind", ["grey", "16 bit", "palette", "RGBA", "blue"])
def test_one_picture_is_the_same_however_it_is_stored(tmp_path: Path, grey: np.ndarray, kind: str) -> None:
    path = save(tmp_path / "a.png", grey, kind)
    item = ReadMicroscopyd("image")({"image": str(path), "name": "a"})
    assert item["image"].shape == (3, ROWS, COLUMNS)
    assert item["image"].dtype == torch.float32
    expected = np.moveaxis(normalise(grey[..., None]), -1, 0)
    np.testing.assert_allclose(item["image"].numpy(), expected, atol=1e-4)
    assert item["source"].shape[1:] == (ROWS, COLUMNS)
    assert item["source"].dtype == (np.uint16 if kind == "16 bit" else np.uint8)
    assert item["source"].max() == (200 * 257 if kind == "16 bit" else 200)
    assert item["name"] == "a"
    assert item["path"] == str(path)
    assert item["seconds_read"] > 0


def test_pixel_size_is_not_a_number_where_the_file_does_not_tell(tmp_path: Path, grey: np.ndarray) -> None:
    item = ReadMicroscopyd("image")({"image": save(tmp_path / "a.png", grey, "grey")})
    assert np.isnan(item["pixel_size_um"])


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(RuntimeError) as caught:
        Compose([ReadMicroscopyd("image")])({"image": str(tmp_path / "a.png")})
    error = input_error(caught.value)
    assert error is not None
    assert error.path == str(tmp_path / "a.png")


@pytest.mark.parametrize("key", ["label", "truth"])
@pytest.mark.parametrize("after_image", [True, False])
def test_truth_is_read_at_its_key(tmp_path: Path, grey: np.ndarray, key: str, after_image: bool) -> None:
    labels = np.zeros((ROWS, COLUMNS), np.uint16)
    labels[2:5, 3:9], labels[10:20, 20:22] = 7, 300
    PilImage.fromarray(labels).save(tmp_path / "mask.png")
    item: dict[Any, Any] = {"image": str(save(tmp_path / "a.png", grey, "grey")), key: str(tmp_path / "mask.png")}
    if after_image:
        item = ReadMicroscopyd("image")(item)
    found = ReadInstancesd(key)(item)[key]
    assert found.shape == (1, ROWS, COLUMNS)
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found[0].numpy(), np.select([labels == 7, labels == 300], [1, 2]))


def test_overlapping_truth_is_warned_of_by_the_name_of_the_file(tmp_path: Path, grey: np.ndarray) -> None:
    masks = []
    for index in range(2):
        mask = np.zeros((ROWS, COLUMNS), np.uint8)
        mask[5:15, 5 + 4 * index : 20] = 255
        PilImage.fromarray(mask).save(tmp_path / f"m{index}.png")
        masks.append(str(tmp_path / f"m{index}.png"))
    item = ReadMicroscopyd("image")({"image": str(save(tmp_path / "cell.png", grey, "grey")), "label": masks})
    with pytest.warns(UserWarning, match=r"cell\.png: \d+ pixels belong to several objects"):
        ReadInstancesd("label")(item)


@pytest.mark.parametrize("item", [{"image": "a.png"}, {"image": "a.png", "label": None}])
def test_without_truth_the_key_is_gone(item: dict[Any, Any]) -> None:
    assert ReadInstancesd("label")(item) == {"image": "a.png"}


def test_truth_of_another_size_is_refused(tmp_path: Path, grey: np.ndarray) -> None:
    item = ReadMicroscopyd("image")({"image": str(save(tmp_path / "a.png", grey, "grey"))})
    PilImage.fromarray(grey.T.copy()).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png"):
        ReadInstancesd("label")({**item, "label": str(tmp_path / "mask.png")})


def crop_item() -> dict[Any, Any]:
    instances = np.zeros((40, 52), np.int32)
    cv2.circle(instances, (15, 20), 9, 1, -1)
    cv2.circle(instances, (33, 20), 9, 2, -1)
    inside = np.ones((40, 52), bool)
    inside[:, 45:] = False
    image = np.random.default_rng(0).random((40, 52, 3)).astype(np.float32)
    distance = normalised_distance(instances)
    return {"image": image, "instances": instances, "distance": distance, "inside": inside, "modality": "brightfield"}


def test_appearance_depends_on_the_state_and_on_the_probability() -> None:
    before = crop_item()

    def look(seed: int, probability: float = 1.0) -> np.ndarray:
        return RandAppearanced("image", probability=probability).set_random_state(seed)(crop_item())["image"]

    np.testing.assert_array_equal(look(1), look(1))
    assert not np.array_equal(look(1), look(2))
    assert not np.array_equal(look(1), before["image"])
    for seed in range(5):
        np.testing.assert_array_equal(look(seed, 0.0), before["image"])
    changed = sum(not np.array_equal(look(seed, 0.5), before["image"]) for seed in range(60))
    assert 15 < changed < 45


def test_pixels_of_small_objects_weigh_more_by_their_diameter_up_to_a_limit() -> None:
    given = crop_item()
    given["inside"] = np.ones((40, 52), bool)
    cv2.circle(given["instances"], (5, 35), 3, 3, -1)
    given["instances"][0, 51] = 4
    weight = InstanceTargetsd("image", small_weight=4.0)(given)["label"].numpy()[2]
    areas = np.bincount(given["instances"].ravel())
    assert weight[20, 10] == pytest.approx(1)
    assert weight[35, 5] == pytest.approx(np.sqrt(areas[1] / areas[3]), rel=1e-3)
    assert weight[0, 51] == 4
    assert weight[0, 0] == 1


def test_targets_are_foreground_distance_and_weight() -> None:
    given = crop_item()
    item = InstanceTargetsd("image", touching_weight=4.0)(given)
    foreground, distance, weight = item["label"].numpy()
    assert item["label"].dtype == torch.float32
    np.testing.assert_array_equal(foreground, given["instances"] > 0)
    np.testing.assert_array_equal(distance, given["distance"])
    expected = np.where(touching_mask(given["instances"]), 4.0, 1.0)
    expected[:, 45:] = 0
    np.testing.assert_allclose(weight, expected, rtol=0.01)  # one disc has a pixel or two less
    assert (weight == 4).any()
    np.testing.assert_array_equal(item["image"].numpy(), np.moveaxis(given["image"], -1, 0))
    assert item["image"].is_contiguous()
    assert {"instances", "distance", "inside"}.isdisjoint(item)
    assert {"instances", "distance", "inside"} <= set(given)  # the crop itself is left as it was


@pytest.mark.parametrize("known", [True, False])
def test_maps_become_instances_at_the_diameter_known(known: bool) -> None:
    labels = crop_item()["instances"]
    maps = torch.from_numpy(np.stack([(labels > 0).astype(np.float32), normalised_distance(labels)]))
    # At a diameter of 90 pixels these discs are fragments, at 18 they are whole.
    pred = MetaTensor(maps, meta={"object_diameter": torch.tensor([18.0])}) if known else maps
    item = InstancesFromMapsd("pred", DecodeSettings(), diameter=90.0)({"pred": pred, "name": "a"})
    expected = decode(maps[0].numpy(), maps[1].numpy(), 18.0 if known else 90.0, DecodeSettings())
    assert item["pred"].shape == (1, 40, 52)
    assert item["pred"].dtype == torch.int32
    np.testing.assert_array_equal(item["pred"][0].numpy(), expected.labels)
    np.testing.assert_array_equal(item["confidence"], expected.confidence)
    assert len(item["confidence"]) == (2 if known else 0)
    assert item["object_diameter"] == (18.0 if known else 90.0)
    assert item["name"] == "a"


def test_masks_are_what_is_not_background() -> None:
    labels = torch.from_numpy(crop_item()["instances"])[None]
    item = Foregroundd(["pred", "label"])({"pred": labels, "label": labels * 0})
    assert item["pred_mask"].dtype == torch.float32
    assert torch.equal(item["pred_mask"], (labels > 0).float())
    assert not item["label_mask"].any()
    assert torch.equal(item["pred"], labels)
