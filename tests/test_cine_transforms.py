"""A slice and its label reach the network together, at its pixel size, whatever file they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from dicoms import PHASES, SLICES, write_cine
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from skimage.draw import disk

from common.cine.reading.stacks import stack_records
from common.cine.transforms import LvStackd, ReadSliced, ReadStackd
from common.datasets.sunnybrook import records
from common.engine.loading import ReadAheadLoader
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


def test_a_stack_sees_what_a_slice_sees(record: dict[str, Any]) -> None:
    alone = ReadSliced("image")(record)
    stack = {"name": "a", "group": "a", "kind": "pictures", "image": [record["image"]], "frames": [record]}
    [item] = ReadStackd("image")(stack)
    assert torch.equal(item["image"][0], alone["image"])
    assert np.array_equal(item["truth"][0, 0], alone["truth"])


HEART = (3, 2, *SHAPE)


@pytest.fixture
def predicted() -> dict[str, Any]:
    """A heart in 5 of 6 frames, the network's certain view of it at 1.0 mm, with a second cavity far from it in each."""
    truth = np.zeros(HEART, np.uint8)
    for phase, place in np.ndindex(HEART[:2]):
        rows, columns = np.indices(SHAPE)
        away = np.hypot((rows - 50) * 1.5, (columns - 60) * 1.25)
        truth[phase, place][away < 30 - phase] = 2
        truth[phase, place][away < 20 - 2 * phase] = 1
    present = np.ones(HEART[:2], bool)
    present[1, 0] = False
    truth[1, 0] = 0
    given = truth[present].copy()
    given[:, 5:9, 5:9] = 1
    maps = np.stack([given == value for value in range(3)], axis=1).astype(np.float32)
    fine = torch.nn.functional.interpolate(torch.from_numpy(maps), (144, 150), mode="bilinear", antialias=True)
    pixels = np.zeros(HEART, np.float32)
    return {"pred": fine, "present": present, "pixels": pixels, "spacing_mm": (1.5, 1.25), "truth": truth}


def test_probabilities_become_a_clean_stack_on_the_pixels_of_the_source(predicted: dict[str, Any]) -> None:
    item = LvStackd("pred")(predicted)
    assert item["pred"].dtype == np.uint8 and item["pred"].shape == HEART
    for value in (1, 2):
        one, two = item["pred"] == value, predicted["truth"] == value
        assert 2 * (one & two).sum() / (one.sum() + two.sum()) > 0.97
    assert not item["pred"][1, 0].any() and not item["pred"][..., :10, :10].any()
    assert item["removed_frames"] == item["filled_frames"] == () and item["seconds_decode"] > 0
    assert "probability" not in item


def test_the_class_is_that_of_the_largest_probability() -> None:
    # Few values, so that all ties occur.
    maps = torch.randint(4, (6, 3, *SHAPE), generator=torch.Generator().manual_seed(0)).float()
    given = {"pred": maps, "present": np.ones((3, 2), bool), "pixels": np.zeros(HEART), "spacing_mm": (1.0, 1.0)}
    found = LvStackd("pred", clean=False)(given)["pred"]
    assert np.array_equal(found.reshape(6, *SHAPE), maps.numpy().argmax(axis=1))


def test_cleaning_can_be_turned_off(predicted: dict[str, Any]) -> None:
    item = LvStackd("pred", clean="false")(predicted)
    assert item["pred"][predicted["present"]][:, 5:9, 5:9].all() and not item["pred"][1, 0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frames_are_decoded_alike_whatever_their_number_at_once(predicted: dict[str, Any], dtype: torch.dtype) -> None:
    given = {**predicted, "pred": predicted["pred"].to(dtype)}
    one, all_of_them = (LvStackd("pred", keep_probability=True, chunk=chunk)(given) for chunk in (1, 50))
    assert np.array_equal(one["pred"], all_of_them["pred"])
    assert np.array_equal(one["probability"], all_of_them["probability"])
    assert one["probability"].shape == (5, 2, *SHAPE) and one["probability"].dtype == np.uint8
    assert one["probability"][0, 0, 50, 60] == 255 and one["probability"][0, :, 90, 110].tolist() == [0, 0]


def test_another_number_of_frames_is_refused(predicted: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="5"):
        LvStackd("pred")({**predicted, "pred": predicted["pred"][:4]})


def test_stacks_go_through_an_evaluator_one_by_one(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_cine(tmp_path / folder)
    seen: list[tuple] = []
    dataset = Dataset(stack_records(tmp_path), Compose([ReadStackd("image")]))
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=ReadAheadLoader(dataset, collate=False),
        network=torch.nn.Conv2d(1, 3, 1),
        postprocessing=Compose([LvStackd("pred")]),
        decollate=False,
    )

    @evaluator.on(Events.ITERATION_COMPLETED)
    def note(engine: Engine) -> None:
        state: Any = engine.state
        seen.append((state.batch["name"], state.output["pred"].shape[:2], state.batch["affine"].shape))

    evaluator.run()
    assert seen == [(name, (PHASES, SLICES), (4, 4)) for name in ("one", "two")]


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
