"""Balanced samples, random patches and random stains for a classifier on patches."""

from collections import Counter

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.patches.places import tissue_mask
from common.patches.training import BalancedDataset, RandPatchd, RandStaind


def tissue(rows=60, columns=80, seed=0):
    """(3, rows, columns) float32 of violet noise."""
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (3, rows, columns))
    return torch.from_numpy((np.array([0.6, 0.4, 0.7])[:, None, None] + noise).astype(np.float32))


def items():
    """One class of one slide with many images, one of three slides with few."""
    many = [{"label": 0, "slide": "a", "number": n} for n in range(30)]
    few = [{"label": 1, "slide": slide, "number": 0} for slide in "bcd"]
    return many + few


def test_classes_are_drawn_equally_often_and_slides_within_a_class_too():
    drawn = BalancedDataset(items(), samples_per_epoch=3000, seed=1)
    counts = Counter(drawn[n]["slide"] for n in range(3000))
    assert counts["a"] == pytest.approx(1500, rel=0.1)
    assert [counts[slide] for slide in "bcd"] == pytest.approx([500, 500, 500], rel=0.2)


def test_a_sample_depends_on_seed_and_number_alone():
    one, other = BalancedDataset(items(), seed=3), BalancedDataset(items(), seed=3)
    assert [one[n] for n in (5, 1, 7)] == [other[n] for n in (5, 1, 7)]
    assert [one[n] for n in range(20)] != [BalancedDataset(items(), seed=4)[n] for n in range(20)]


def test_patches_have_the_size_of_the_network_whatever_the_zoom():
    cut = RandPatchd("image", patch_size=100, network_scale=0.3, zoom=0.3)
    cut.set_random_state(0)
    for _ in range(10):
        assert cut({"image": tissue()})["image"].shape == (3, 30, 30)


def test_without_zoom_a_patch_is_a_part_of_the_image():
    image = tissue()
    cut = RandPatchd("image", patch_size=100, network_scale=0.2, zoom=0.0)
    cut.set_random_state(2)
    patch = cut({"image": image})["image"]
    parts = image.unfold(1, 20, 1).unfold(2, 20, 1)
    distance = (parts - patch[:, None, None]).abs().amax(dim=(0, 3, 4))
    assert distance.min() < 1e-6


def test_patches_are_looked_for_where_there_is_tissue():
    image = torch.ones(3, 60, 200)
    image[:, :, 120:] = tissue(60, 80)
    cut = RandPatchd("image", patch_size=20, network_scale=1.0)
    cut.set_random_state(0)
    shares = [tissue_mask(cut({"image": image})["image"].permute(1, 2, 0).numpy()).mean() > 0 for _ in range(40)]
    assert np.mean(shares) > 0.9


def test_an_image_smaller_than_a_patch_is_mirrored_up_to_it():
    cut = RandPatchd("image", patch_size=100, network_scale=1.0, zoom=0.0)
    cut.set_random_state(0)
    assert cut({"image": tissue(60, 70)})["image"].shape == (3, 100, 100)


def test_stain_jitter_changes_colours_and_stays_between_0_and_1():
    change = RandStaind("image", strength=0.5)
    change.set_random_state(0)
    image = tissue()
    changed = [change({"image": image})["image"] for _ in range(10)]
    assert all(each.min() >= 0 and each.max() <= 1 and each.dtype == torch.float32 for each in changed)
    means = torch.stack([each.mean(dim=(1, 2)) for each in changed])
    assert means.std(dim=0).min() > 0.02


def test_a_share_of_the_images_is_grey():
    change = RandStaind("image", strength=2.0)
    change.set_random_state(0)
    changed = [change({"image": tissue()})["image"] for _ in range(40)]
    grey = [torch.equal(each[0], each[1]) and torch.equal(each[1], each[2]) for each in changed]
    assert 8 <= sum(grey) <= 32


def test_stain_jitter_of_strength_0_leaves_the_image():
    image = tissue()
    assert RandStaind("image", strength=0)({"image": image})["image"] is image


def test_a_strength_that_no_laboratory_has_is_refused():
    with pytest.raises(InputError, match="stain_strength"):
        RandStaind("image", strength=-1)
