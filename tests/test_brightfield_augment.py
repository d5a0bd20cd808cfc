"""Generated aggregates, and samples made from few images: the seed alone decides, and truth fits the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.random import RandomState

from common.brightfield.generated.aggregates import draw_scene
from common.brightfield.generated.outlines import FILLED, draw_outline
from common.brightfield.training.augment import Normalised, RandLookd, RandScened, RandWarpd, inner_texture


def sample(dims: int = 2, side: int = 64, channels: int = 1, value: int = 1) -> dict[str, torch.Tensor]:
    """A bright ball on a dark ground."""
    axes = np.meshgrid(*[np.arange(side)] * dims, indexing="ij")
    ball = sum((axis - side / 2) ** 2 for axis in axes) < (side * 0.28) ** 2
    image = np.repeat(ball[None].astype(np.float32), channels, axis=0)
    return {"image": torch.from_numpy(image), "label": torch.from_numpy(ball[None].astype(np.uint8) * value)}


@pytest.mark.parametrize("seed", range(12))
def test_an_aggregate_is_one_object_of_a_size_that_was_asked_for(seed: int) -> None:
    mask = draw_outline(RandomState(seed), 96)
    if not mask.any():
        return
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    assert areas.max() > 0.9 * areas.sum()
    # Less where the frame cuts it off, and its roughness adds a little.
    assert areas.sum() < FILLED[1] * mask.size * 1.25


def test_outlines_differ_in_elongation() -> None:
    ratios = []
    for seed in range(40):
        points = np.argwhere(draw_outline(RandomState(seed), 96) > 0)
        if len(points) > 50:
            ratios.append(np.sqrt(np.divide(*np.linalg.eigvalsh(np.cov(points.T))[::-1])))
    assert min(ratios) < 1.2 and max(ratios) > 2.5


def test_a_scene_depends_on_its_seed_alone() -> None:
    one, same, other = (draw_scene(RandomState(seed), 64) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    np.testing.assert_array_equal(one.mask, same.mask)
    assert not np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("seed", range(8))
def test_a_scene_is_finite_and_shows_its_aggregate(seed: int) -> None:
    scene = draw_scene(RandomState(seed), 96)
    assert scene.pixels.shape == scene.mask.shape == (96, 96)
    assert scene.pixels.dtype == np.float32 and scene.mask.dtype == np.uint8
    assert np.isfinite(scene.pixels).all() and set(np.unique(scene.mask)) <= {0, 1}


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_warping_moves_image_and_label_alike(dims: int, channels: int) -> None:
    warp = RandWarpd(["image", "label"], size=48)
    warp.set_random_state(0)
    for _ in range(4):
        out = warp(sample(dims, 40, channels))
        assert out["image"].shape == (channels, *[48] * dims) and out["label"].shape == (1, *[48] * dims)
        assert out["label"].dtype == torch.uint8
        agree = ((out["image"][:1] > 0.5) == (out["label"] > 0)).float().mean()
        assert agree > 0.97
        assert torch.equal(out["image"][0], out["image"][-1])


def test_warping_fills_the_share_that_was_asked_for() -> None:
    warp = RandWarpd(["image", "label"], size=64, fill=(0.35, 0.35), stretch=0.0, bend=0.0, shake=0.0, zoom=(0.1, 9.0))
    warp.set_random_state(1)
    shares = [float((warp(sample(2, side))["label"] > 0).float().mean()) for side in (40, 64, 120)]
    assert max(abs(share - 0.35) for share in shares) < 0.05


def test_classes_survive_warping() -> None:
    item = sample()
    item["label"][0, 30:34, 30:34] = 2
    warp = RandWarpd(["image", "label"], size=64)
    warp.set_random_state(0)
    assert set(warp(item)["label"].unique().tolist()) <= {0, 1, 2}


def test_scenes_come_as_often_as_asked_and_are_not_warped() -> None:
    scenes, warp = RandScened(["image", "label"], 64, prob=0.5), RandWarpd(["image", "label"], 64)
    scenes.set_random_state(0)
    made = [scenes(sample()) for _ in range(60)]
    generated = [item for item in made if item.get("generated")]
    assert 18 <= len(generated) <= 42
    assert warp(generated[0])["image"] is generated[0]["image"]


@pytest.mark.parametrize(
    ("item", "classes"),
    [(sample(3, 16), 2), (sample(2, 16, 3), 2), (sample(2, 16), 3)],
    ids=["3D", "colour", "classes"],
)
def test_what_is_no_brightfield_is_left_as_it_is(item: dict[str, torch.Tensor], classes: int) -> None:
    for transform in (RandScened(["image", "label"], 16, 1.0, classes), RandLookd(["image", "label"], 1.0, classes)):
        out = transform(dict(item))
        assert out["image"] is item["image"] and out["label"] is item["label"]


def test_another_look_leaves_the_truth_as_it_is() -> None:
    look, item = RandLookd(["image", "label"], prob=1.0), sample()
    look.set_random_state(0)
    out = [look(dict(item)) for _ in range(6)]
    assert all(torch.equal(other["label"], item["label"]) for other in out)
    assert any(not torch.equal(other["image"], item["image"]) for other in out)
    assert all(torch.isfinite(other["image"]).all() for other in out)


def test_a_texture_is_the_inside_s_and_not_the_ground_s(rng: np.random.Generator) -> None:
    mask = sample(2, 64)["label"][0].numpy() > 0
    pixels = np.where(mask, rng.normal(0, 1, mask.shape), 1e6)
    texture = inner_texture(RandomState(0), pixels, mask, 96)
    assert texture.shape == (96, 96) and np.abs(texture).max() < 10
    assert abs(texture.mean()) < 1e-3 and abs(texture.std() - 1) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_samples_end_in_the_range_of_inference(dims: int) -> None:
    image = sample(dims, 24)["image"] * 1000 - 70
    out = Normalised("image")({"image": image})["image"]
    assert out.shape == image.shape and float(out.min()) == 0 and float(out.max()) == 1
