"""Frames as the network sees them, its maps back on their pixels, the network on whole frames, in 2D and 3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from common.brightfield.frames import HIGHEST, LOWEST, network_image, network_label, normalise, resample, working_shape
from common.brightfield.inferer import SecondLookInferer, WholeInferer
from common.brightfield.transforms import ClassMapsd, ClassMasksd, ReadFramesd, ReadSamplesd
from common.errors import InputError
from common.images.classes import largest_class


def frame(rng: np.random.Generator, shape: tuple[int, ...] = (60, 90)) -> np.ndarray:
    return rng.integers(20, 200, shape).astype(np.uint8)


def test_bit_depth_gain_and_offset_change_nothing(rng: np.random.Generator) -> None:
    pixels = frame(rng)[..., None]
    eight = normalise(pixels)
    np.testing.assert_allclose(normalise(pixels.astype(np.uint16) * 257), eight, atol=1e-4)
    np.testing.assert_allclose(normalise(pixels.astype(np.float32) * 0.01 - 3), eight, atol=1e-4)


def test_a_bright_halo_changes_nothing_elsewhere(rng: np.random.Generator) -> None:
    pixels = frame(rng)[..., None].astype(np.uint16)
    glaring = pixels.copy()
    glaring[:3, :12] = 65535  # less than one pixel in a hundred
    assert np.abs(normalise(glaring)[10:] - normalise(pixels)[10:]).max() < 0.03
    assert normalise(glaring).max() == HIGHEST


def test_grey_values_stay_in_the_range_and_each_channel_has_its_own(rng: np.random.Generator) -> None:
    pixels = np.stack([frame(rng), frame(rng) // 10], axis=-1)
    values = normalise(pixels)
    assert values.dtype == np.float32 and values.min() >= LOWEST and values.max() <= HIGHEST
    np.testing.assert_allclose(values[..., 1], normalise(pixels[..., 1:])[..., 0])


@pytest.mark.parametrize("value", [0, 7])
def test_a_frame_of_one_value_becomes_nought(value: int) -> None:
    assert not normalise(np.full((20, 30, 1), value, np.uint8)).any()


def test_the_longest_side_is_what_was_asked_for() -> None:
    assert working_shape((500, 700), 192) == (137, 192)
    assert working_shape((1, 1000), 64) == (1, 64)
    assert working_shape((10, 20, 40), 20) == (5, 10, 20)


def test_each_frame_is_normalised_by_itself_and_a_volume_as_a_whole(rng: np.random.Generator) -> None:
    frames = np.stack([frame(rng), frame(rng) // 4])
    assert network_image(frames, 90)[1].max() > 0.9
    assert network_image(frames, 90, 3).shape == (1, 1, 2, 60, 90)
    assert network_image(frames, 90, 3)[0, 0, 1].max() < 0.4


def test_a_label_at_the_network_s_size_has_no_class_of_its_own() -> None:
    label = np.zeros((2, 40, 50), np.uint8)
    label[:, 10:30, 10:40] = 3
    small = network_label(label, 25)
    assert small.shape == (2, 1, 20, 25) and set(small.unique().tolist()) == {0, 3}
    assert network_label(label, 25, 3).shape == (1, 1, 1, 20, 25)


def test_shrinking_a_volume_keeps_its_mean() -> None:
    volume = torch.rand(1, 1, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    assert abs(float(resample(volume, (8, 16, 16)).mean() - volume.mean())) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_classes_come_back_on_the_source_s_pixels(dims: int) -> None:
    truth = np.zeros((12, 48, 72), np.uint8)
    truth[2:10, 10:35, 15:50] = 1
    truth[2:10, 20:30, 20:30] = 2
    small = torch.nn.functional.one_hot(network_label(truth, 36, dims)[:, 0].long(), 3).movedim(-1, 1).float()
    item = ClassMapsd("pred", keep_probability=True, spatial_dims=dims)({"pred": small, "pixels": truth})
    assert item["pred"].shape == truth.shape and item["pred"].dtype == np.uint8
    assert (item["pred"] == truth).mean() > 0.97
    assert item["probability"].shape == (12, 2, 48, 72)
    whole = item["probability"].astype(int).sum(axis=1)
    assert np.abs(item["foreground"].astype(int) - whole).max() <= 2


def test_the_largest_class_is_argmax() -> None:
    maps = torch.rand(3, 4, 9, 11, generator=torch.Generator().manual_seed(1))
    assert torch.equal(largest_class(maps).long(), maps.argmax(dim=1))


def test_masks_of_a_volume_are_one_case() -> None:
    classes = np.zeros((4, 6, 8), np.uint8)
    classes[1] = 2
    flat = ClassMasksd("pred", 3)({"pred": classes})["pred_onehot"]
    solid = ClassMasksd("pred", 3, 3)({"pred": classes})["pred_onehot"]
    assert flat.shape == (4, 3, 6, 8) and solid.shape == (1, 3, 4, 6, 8)
    assert torch.equal(solid[0].movedim(0, 1), flat)
    assert float(flat.sum()) == classes.size


def network(inputs: torch.Tensor) -> torch.Tensor:
    """Logits of each element by itself."""
    assert all(side % 16 == 0 for side in inputs.shape[2:])
    return torch.cat([-inputs[:, :1], inputs[:, :1]], dim=1)


@pytest.mark.parametrize("shape", [(5, 1, 20, 33), (2, 1, 7, 20, 33)])
@pytest.mark.parametrize("tta", [False, True])
def test_frames_in_batches_are_frames_at_once(shape: tuple[int, ...], tta: bool) -> None:
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = WholeInferer(batch_size=2, amp=False, tta=tta)(inputs, network)
    assert found.shape == (shape[0], 2, *shape[2:])
    torch.testing.assert_close(found, network_free(inputs))


class Shown:
    """A network that calls dark pixels an object, and remembers at which size it saw them."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(inputs.shape[2:]))
        return 20 * torch.cat([inputs - 0.5, 0.5 - inputs], dim=1)


def discs(radius: float, frames: int = 2, size: int = 640) -> np.ndarray:
    rows, columns = np.mgrid[:size, : size * 3 // 4]
    inside = (rows - 300) ** 2 + (columns - 200) ** 2 < radius**2
    return np.repeat(np.where(inside, 20, 220).astype(np.uint8)[None], frames, axis=0)


def looked(pixels: np.ndarray, size: int = 96, **settings: Any) -> tuple[torch.Tensor, Shown]:
    shown = Shown()
    inferer = SecondLookInferer(WholeInferer(batch_size=4, amp=False), size, **settings)
    return inferer(network_image(pixels, size), shown, pixels=pixels), shown


def test_small_objects_are_looked_at_again_at_the_size_wanted() -> None:
    pixels = discs(radius=60)
    once, _ = looked(pixels, largest_size=96)
    twice, shown = looked(pixels, diameter=64.0)
    assert once.shape[2:] == (96, 72)
    # 120 of 640 pixels are to become 64: 341 pixels in all, continued to a multiple of 16.
    assert abs(twice.shape[2] - 341) < 20 and shown.sizes[0] == (96, 80) and all(s[0] >= 336 for s in shown.sizes[1:])
    truth = torch.from_numpy(pixels < 100)

    def error(maps: torch.Tensor) -> int:
        return int(((resample(maps, pixels.shape[1:])[:, 1] > 0.5) != truth).sum())

    assert error(twice) < 0.5 * error(once)


@pytest.mark.parametrize(
    ("radius", "settings"),
    [
        (150, {"diameter": 50.0}),  # large enough already
        (60, {"diameter": 64.0, "largest_size": 96}),  # no second look wanted
        (0, {"diameter": 64.0}),  # nothing there
    ],
)
def test_one_look_is_enough(radius: float, settings: dict[str, Any]) -> None:
    maps, shown = looked(discs(radius), **settings)
    assert maps.shape[2:] == (96, 72) and len(shown.sizes) == 1


def test_no_look_is_closer_than_the_source() -> None:
    pixels = discs(radius=40)
    assert looked(pixels, diameter=100.0)[0].shape[2] == 640
    assert looked(pixels, diameter=100.0, largest_size=400)[0].shape[2] == 400
    assert looked(pixels[:, ::6, ::6], diameter=100.0)[0].shape[2] == 96


def test_volumes_are_looked_at_once() -> None:
    volume = torch.randn((1, 1, 16, 32, 32), generator=torch.Generator().manual_seed(0))
    pixels = np.zeros((16, 320, 320), np.uint8)
    found = SecondLookInferer(WholeInferer(amp=False), 32)(volume, network, pixels=pixels)
    torch.testing.assert_close(found, network_free(volume))


def network_free(inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([-inputs[:, :1], inputs[:, :1]], dim=1).softmax(dim=1)


def written(folder: Path, rng: np.random.Generator, classes: int = 1) -> dict[str, str]:
    stack = rng.integers(0, 255, (3, 30, 40)).astype(np.uint8)
    label = rng.integers(0, classes + 1, stack.shape).astype(np.uint8)
    tifffile.imwrite(folder / "a.tif", stack, photometric="minisblack")
    tifffile.imwrite(folder / "a_mask.tif", label, photometric="minisblack")
    return {"name": "a", "group": "w", "image": str(folder / "a.tif"), "label": str(folder / "a_mask.tif")}


def test_an_item_has_what_results_need(tmp_path: Path, rng: np.random.Generator) -> None:
    item = ReadFramesd("image", size=20)(written(tmp_path, rng))
    assert item["image"].shape == (3, 1, 15, 20) and item["pixels"].shape == item["truth"].shape == (3, 30, 40)
    assert (item["name"], item["group"], item["frames"]) == ("a", "w", ("1", "2", "3"))
    assert item["problems"] == [] and item["seconds_read"] > 0


@pytest.mark.parametrize(("dims", "count", "shape"), [(2, 3, (1, 15, 20)), (3, 1, (1, 2, 15, 20))])
def test_a_stack_gives_a_sample_per_frame_or_one_volume(
    tmp_path: Path, rng: np.random.Generator, dims: int, count: int, shape: tuple[int, ...]
) -> None:
    samples = ReadSamplesd("image", size=20, spatial_dims=dims)(written(tmp_path, rng))
    assert len(samples) == count
    assert all(sample["image"].shape == sample["label"].shape == shape for sample in samples)


def test_a_class_too_many_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    record = written(tmp_path, rng, classes=3)
    with pytest.raises(InputError, match="class 3.*num_classes"):
        ReadFramesd("image", size=20)(record)
    assert ReadFramesd("image", size=20, num_classes=4)(record)["truth"].max() == 3


def test_a_training_image_without_mask_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    record = {**written(tmp_path, rng), "label": None}
    with pytest.raises(InputError, match="no label"):
        ReadSamplesd("image")(record)
