"""Feeding a training: samples depend on their number alone, modalities are seen as documented, fields are put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image as PilImage

from common.datasets.records import load_datalist
from common.engine.numbered import NumberedSampler
from common.errors import InputError
from common.nuclei.synthetic import stained_image, write_bowl_layout
from common.nuclei.targets import normalised_distance, typical_diameter
from common.nuclei.training import CropDataset, load_fields, modality_weights
from common.nuclei.transforms import InstanceTargetsd, RandAppearanced
from common.nuclei.warp import Source, WarpSettings, draw_crop
from common.tissue.sampling import hide_annotations

SETTINGS = WarpSettings(size=32, diameter=10.0)


def make_field(modality: str, shape: tuple[int, int] = (50, 60), seed: int = 0, tiles: int = 1) -> Source:
    blocks = np.random.default_rng(seed).integers(0, 2, (shape[0] // 10 + 1, shape[1] // 10 + 1))
    ids = np.where(blocks, np.arange(blocks.size).reshape(blocks.shape) + 1, 0)
    instances = np.kron(ids, np.ones((10, 10), int))[: shape[0], : shape[1]].astype(np.int32)
    pixels = np.where(instances > 0, 0.8, 0.1).astype(np.float16)[..., None]
    distance = np.rint(255 * normalised_distance(instances)).astype(np.uint8)
    return Source(pixels, instances, distance, typical_diameter(instances), modality, tiles)


def make_dataset(seed: int = 0, **options: Any) -> CropDataset:
    fields = [make_field("fluorescence", seed=1), make_field("fluorescence", seed=2), make_field("stained", seed=3)]
    transform = Compose([RandAppearanced("image"), InstanceTargetsd("image")])
    return CropDataset(fields, transform, SETTINGS, seed=seed, **options)


def equal(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return torch.equal(one["image"], two["image"]) and torch.equal(one["label"], two["label"])


def test_an_item_depends_on_its_number_alone() -> None:
    forwards, backwards = make_dataset(), make_dataset()
    first = {n: forwards[n] for n in range(8)}
    second = {n: backwards[n] for n in (7, 3, 3, 0, 5)}
    assert all(equal(first[n], second[n]) for n in second)
    assert not any(equal(first[n], first[n + 1]) for n in range(7))
    assert not equal(first[0], make_dataset(seed=1)[0])
    assert first[0]["image"].shape == (3, 32, 32)
    assert first[0]["label"].shape == (3, 32, 32)
    assert first[0]["modality"] in ("fluorescence", "stained")


def test_loader_processes_change_nothing() -> None:
    dataset = make_dataset(samples_per_epoch=6)

    def images(workers: int) -> list[torch.Tensor]:
        sampler = NumberedSampler(dataset)
        sampler.set_epoch(3)
        loader = torch.utils.data.DataLoader(dataset, sampler=sampler, batch_size=2, num_workers=workers)
        return [batch["image"] for batch in loader]

    for one, two in zip(images(0), images(2), strict=True):
        assert torch.equal(one, two)


def test_without_a_transform_the_crop_itself_comes() -> None:
    item = CropDataset([make_field("a")], settings=SETTINGS)[5]
    assert set(item) == {"image", "instances", "distance", "inside", "modality"}
    assert item["image"].shape == (32, 32, 3)
    assert [item[key].dtype for key in ("image", "instances", "distance", "inside")] == [
        *(np.float32, np.int32, np.float32, bool)
    ]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_mosaics_never_mix_modalities(probability: float) -> None:
    dark, light = make_field("dark"), make_field("light")
    light = replace(light, pixels=light.pixels + np.float16(10))
    dataset = CropDataset([dark, light], settings=SETTINGS, mosaic_probability=probability)
    for number in range(20):
        item = dataset[number]
        assert (item["image"].min() > 5) == (item["modality"] == "light")
        assert (item["image"].max() > 5) == (item["modality"] == "light")


def test_fields_are_drawn_as_often_as_their_weights() -> None:
    fields = [make_field("a", seed=1), make_field("a", (90, 80), 2), make_field("b", seed=3, tiles=4)]
    marked = [replace(field, pixels=np.full_like(field.pixels, i)) for i, field in enumerate(fields)]
    dataset = CropDataset(marked, settings=WarpSettings(size=4, diameter=10.0), mosaic_probability=0.0)
    drawn = np.bincount([round(float(dataset[n]["image"].mean())) for n in range(600)], minlength=3) / 600
    np.testing.assert_allclose(drawn, modality_weights(fields), atol=0.06)


def test_modalities_weigh_by_the_root_of_their_images_and_fields_by_the_root_of_their_pixels() -> None:
    fields = [make_field("common", (50, 60))] * 89 + [make_field("common", (100, 120)), make_field("rare", tiles=10)]
    weights = modality_weights(fields)
    assert weights.sum() == pytest.approx(1)
    assert weights[:90].sum() / weights[90] == pytest.approx(3)  # the root of 90 images over 10
    assert weights[89] / weights[0] == pytest.approx(2)  # the root of four times the pixels


# which samples an epoch has


def numbers(dataset: CropDataset, epoch: int | None, rank: int = 0, ranks: int = 1) -> list[int]:
    sampler = NumberedSampler(dataset)
    torch.utils.data.DistributedSampler.__init__(sampler, dataset, ranks, rank, shuffle=False, drop_last=True)
    if epoch is not None:
        sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


@pytest.mark.parametrize("length", [1, 6, 7, 12])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_numbers_are_disjoint_across_epochs_and_ranks(length: int, ranks: int) -> None:
    dataset = make_dataset(samples_per_epoch=length)
    found = [numbers(dataset, epoch, rank, ranks) for epoch in (1, 2, 3) for rank in range(ranks)]
    together = [n for part in found for n in part]
    assert len(together) == len(set(together))
    assert len({len(part) for part in found}) == 1
    for epoch in (1, 2, 3):
        shown = sorted(n for part in found[(epoch - 1) * ranks : epoch * ranks] for n in part)
        assert shown == list(range((epoch - 1) * length, (epoch - 1) * length + length // ranks * ranks))


def test_without_an_epoch_it_is_the_first() -> None:
    dataset = make_dataset(samples_per_epoch=5)
    assert numbers(dataset, None) == numbers(dataset, 1) == [0, 1, 2, 3, 4]


# reading fields


def save_tile(folder: Path, name: str, image: np.ndarray, labels: np.ndarray, **more: Any) -> dict[str, Any]:
    PilImage.fromarray(image).save(folder / f"{name}.png")
    PilImage.fromarray(labels.astype(np.uint16)).save(folder / f"{name}_mask.png")
    paths = {"image": str(folder / f"{name}.png"), "label": str(folder / f"{name}_mask.png")}
    return {"name": name, "modality": "fluorescence", **paths, **more}


def test_four_tiles_become_one_field_with_whole_objects(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.zeros((40, 60), np.uint16)
    labels[12:28, 22:38], labels[2:8, 5:15] = 1, 2
    image = np.where(labels > 0, 180, 20).astype(np.uint8) + rng.integers(0, 9, labels.shape, dtype=np.uint8)
    boxes = {
        place: (slice(20 * (i // 2), 20 * (i // 2) + 20), slice(30 * (i % 2), 30 * (i % 2) + 30))
        for i, place in enumerate(["up_left", "up_right", "down_left", "down_right"])
    }
    records = [
        save_tile(tmp_path, place, image[box], labels[box], mosaic=3, mosaic_position=place)
        for place, box in boxes.items()
    ]
    records[1] = save_tile(  # one of them stored in colour
        *(tmp_path, "up_right", np.dstack([image[boxes["up_right"]]] * 3), labels[boxes["up_right"]]),
        **{"mosaic": 3, "mosaic_position": "up_right"},
    )
    alone = save_tile(tmp_path, "alone", image, labels)
    fields = load_fields([*records, alone], progress=False)
    assert sorted(field.tiles for field in fields) == [1, 4]
    for field in fields:
        assert (field.instances > 0).tolist() == (labels > 0).tolist()
        assert field.instances.max() == 2
        assert field.pixels.shape == (40, 60, 1)
        assert field.pixels.dtype == np.float16
        np.testing.assert_allclose(field.distance / 255, normalised_distance(labels.astype(np.int32)), atol=0.003)
    np.testing.assert_array_equal(fields[0].pixels, fields[1].pixels)


def test_no_image_is_an_error_of_the_user() -> None:
    with pytest.raises(InputError, match="no training image"):
        load_fields([])


@pytest.mark.parametrize("switch", ["false", False, "true"])
def test_sites_are_drawn_where_the_switch_of_the_command_line_says_so(tmp_path: Path, switch: bool | str) -> None:
    made = stained_image((96, 120), 8, 20.0, np.random.default_rng(0), 0.5)
    write_bowl_layout(tmp_path, "section", made.pixels, made.instances)
    [field] = load_fields(load_datalist(tmp_path), progress=False, draw_sites=switch)
    assert (field.sites is not None) == (switch == "true")
    assert field.known is None


def test_tissue_without_any_place_to_draw_from_is_drawn_anywhere(tmp_path: Path) -> None:
    dark = np.full((64, 80, 3), (90, 50, 130), np.uint8)  # haematoxylin everywhere, nothing annotated
    record = {"name": "dark", "image": str(tmp_path / "dark.png"), "label": str(tmp_path / "label.png")}
    PilImage.fromarray(dark).save(record["image"])
    PilImage.fromarray(np.zeros((64, 80), np.uint8)).save(record["label"])
    [field] = load_fields([{**record, "modality": "purple_on_purple"}], progress=False, draw_sites=True)
    assert field.sites is None
    assert draw_crop(field, SETTINGS, np.random.RandomState(0)).inside.any()


def test_of_partial_truth_only_what_is_known_teaches(tmp_path: Path) -> None:
    made = stained_image((160, 160), 20, 20.0, np.random.default_rng(1), 0.5)
    shown = hide_annotations(made.instances, 0.7, np.random.RandomState(0))
    PilImage.fromarray(made.pixels).save(tmp_path / "p1_a_original.png")
    PilImage.fromarray((shown > 0).astype(np.uint8) * 255).save(tmp_path / "p1_a_mask.png")
    [field] = load_fields(load_datalist(tmp_path), progress=False)
    assert field.known is not None
    assert field.known[shown > 0].all()
    assert field.known[(made.instances > 0) & (shown == 0)].mean() < 0.1
    crops = [draw_crop(field, SETTINGS, np.random.RandomState(seed)) for seed in range(5)]
    assert all(crop.inside.any() and not crop.inside.all() for crop in crops)
