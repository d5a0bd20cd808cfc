"""Patches reach everywhere, white ones never vote, and the votes of an image are those of its patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.images.resize import mirrored_to
from common.inferers import PatchInferer
from common.patches.places import network_pixels, patch_corners, tissue_mask, tissue_shares
from common.patches.votes import RULES, PatchVotes, lead


class Colours(nn.Module):
    """Logits are ten times the mean red, green and blue of a patch. Notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, ...]] = []

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        self.shown.append(tuple(patches.shape))
        return 10 * patches.mean(dim=(-2, -1))


def stained(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """(rows, columns, 3) float32, everywhere as dark as tissue."""
    return rng.uniform(0.1, 0.6, (rows, columns, 3)).astype(np.float32)


def tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]


def made_votes(probabilities: list[list[float]], tissue: list[bool] | None = None) -> PatchVotes:
    count = len(probabilities)
    corners = np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.int64)
    known = np.array([True] * count if tissue is None else tissue)
    return PatchVotes(corners, 4, np.array(probabilities, np.float32), known)


# where patches lie


@pytest.mark.parametrize(
    ("rows", "columns", "size", "stride"), [(312, 417, 36, 32), (40, 36, 36, 1), (37, 100, 36, 36), (7, 9, 3, 2)]
)
def test_patches_reach_from_edge_to_edge_and_are_a_stride_apart_at_most(
    rows: int, columns: int, size: int, stride: int
) -> None:
    corners = patch_corners(rows, columns, size, stride)
    seen = np.zeros((rows, columns), bool)
    for row, column in corners:
        assert row + size <= rows
        assert column + size <= columns
        seen[row : row + size, column : column + size] = True
    assert seen.all()
    for axis in (0, 1):
        assert np.diff(np.unique(corners[:, axis])).max(initial=0) <= stride


def test_a_stride_that_fits_is_kept_and_no_patch_is_superfluous() -> None:
    assert patch_corners(4 + 3 * 5, 4, 4, 5).tolist() == [[0, 0], [5, 0], [10, 0], [15, 0]]
    assert len(patch_corners(4 + 3 * 5 + 1, 4, 4, 5)) == 5
    assert patch_corners(2, 3, 4, 5).tolist() == [[0, 0]]  # an image smaller than a patch has one
    with pytest.raises(ValueError, match="from 1"):
        patch_corners(10, 10, 4, 0)


def test_lengths_at_the_scale_of_the_network_are_whole_pixels() -> None:
    assert [network_pixels(36, scale) for scale in (1.0, 0.3, 0.001)] == [36, 11, 1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (5, 3), (12, 12)])
def test_small_images_are_mirrored_up_to_a_patch(shape: tuple[int, int], rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.normal(size=(3, *shape)))
    large = mirrored_to(image, (8, 10))
    assert large.shape[1:] == tuple(map(max, shape, (8, 10)))
    assert torch.equal(large[:, : shape[0], : shape[1]], image)
    missing = [(0, most - least) for most, least in zip(large.shape[1:], shape, strict=True)]
    expected = np.pad(image.numpy(), [(0, 0), *missing], mode="reflect")
    np.testing.assert_array_equal(large.numpy(), expected)


# tissue


def test_shares_of_tissue_are_those_counted_patch_by_patch(rng: np.random.Generator) -> None:
    mask = rng.random((30, 41)) < 0.4
    corners = np.concatenate([patch_corners(30, 41, 9, 4), [[25, 38]]])  # the last reaches beyond the image
    counted = [mask[row : row + 9, column : column + 9].mean() for row, column in corners]
    np.testing.assert_allclose(tissue_shares(mask, corners, 9), counted)


@pytest.mark.parametrize("light", [1.0, 0.8])
@pytest.mark.parametrize("kind", ["float32", "uint8", "uint16"])
def test_tissue_is_what_is_stained_whatever_the_light_and_type(kind: str, light: float) -> None:
    rgb = np.full((64, 64, 3), 0.98 * light, np.float32)
    rgb[:, 16:32] = np.array([0.8, 0.5, 0.75]) * light  # eosin
    rgb[:, 32:40] = np.array([0.35, 0.25, 0.55]) * light  # haematoxylin
    rgb[:, 40:44] = 0.0  # ink, or beyond the scan
    full = {"float32": 1.0, "uint8": 255.0, "uint16": 65535.0}[kind]
    expected = np.zeros((64, 64), bool)
    expected[:, 16:40] = True
    np.testing.assert_array_equal(tissue_mask((rgb * full).astype(kind)), expected)


# the inferer


def test_probabilities_are_those_of_the_network_on_each_patch(rng: np.random.Generator) -> None:
    image = tensor(stained(50, 37, rng))
    network = Colours()
    found = PatchInferer(16, 10, batch_size=8, amp=False)(image, network)
    votes = PatchVotes.from_tensors(found)
    assert votes.size == 16
    assert votes.tissue.all()
    np.testing.assert_array_equal(votes.corners, patch_corners(50, 37, 16, 10))
    for (row, column), probabilities in zip(votes.corners, votes.probabilities, strict=True):
        patch = image[:, :, row : row + 16, column : column + 16]
        np.testing.assert_allclose(probabilities, Colours()(patch).softmax(1)[0], rtol=1e-5)
    assert [shape[0] for shape in network.shown] == [8, 8, 4]


def test_one_image_with_and_without_its_batch_dimension_is_the_same(rng: np.random.Generator) -> None:
    image, inferer = tensor(stained(20, 20, rng)), PatchInferer(8, 8)
    whole, bare = inferer(image, Colours()), inferer(image[0], Colours())
    assert all(torch.equal(whole[key], bare[key]) for key in whole)
    with pytest.raises(ValueError, match="one image"):
        inferer(image.repeat(2, 1, 1, 1), Colours())


def test_white_patches_are_not_shown_to_the_network_and_do_not_vote(rng: np.random.Generator) -> None:
    rgb = np.full((32, 64, 3), 0.97, np.float32)
    rgb[:, :32] = stained(32, 32, rng)
    network = Colours()
    votes = PatchVotes.from_tensors(PatchInferer(16, 16)(tensor(rgb), network))
    np.testing.assert_array_equal(votes.tissue, votes.corners[:, 1] < 32)
    assert sum(shape[0] for shape in network.shown) == votes.tissue.sum() == votes.votes.sum() == 4
    assert not votes.probabilities[~votes.tissue].any()
    everything = PatchVotes.from_tensors(PatchInferer(16, 16, skip_white="false")(tensor(rgb), network))
    assert everything.tissue.all()


def test_a_white_image_has_no_class_and_equal_probabilities() -> None:
    votes = PatchVotes.from_tensors(PatchInferer(16, 16)(torch.full((1, 3, 40, 40), 0.96), Colours()))
    assert not votes.tissue.any()
    assert votes.probabilities.shape == (9, 3)
    for rule in RULES:
        assert votes.predicted(rule) == -1
        assert votes.margin(rule) == 0
        np.testing.assert_allclose(votes.image_probability(rule), 1 / 3)


def test_sizes_are_in_original_pixels_and_small_images_are_one_patch(rng: np.random.Generator) -> None:
    inferer = PatchInferer(40, 20, scale=0.5)
    assert (inferer.size, inferer.step) == (20, 10)
    network = Colours()
    found = inferer(tensor(stained(13, 30, rng)), network)
    assert found["corners"].tolist() == [[0, 0], [0, 10]]
    assert network.shown == [(2, 3, 20, 20)]


def test_symmetries_are_averaged_and_change_nothing_for_a_turned_image(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3)).eval()
    image = tensor(stained(12, 12, rng))
    inferer = PatchInferer(12, 12, tta="true", amp=False)
    plain = PatchInferer(12, 12, amp=False)(image, network)["probabilities"]
    views = [view.rot90(turns, (-2, -1)) for view in (image, image.flip(-1)) for turns in range(4)]
    found = [inferer(view, network)["probabilities"] for view in views]
    for other in found:
        torch.testing.assert_close(other, found[0])
    with torch.no_grad():
        expected = torch.stack([network(view).softmax(1) for view in views]).mean(0)
    torch.testing.assert_close(found[0], expected)
    assert not torch.allclose(plain, found[0])


def test_time_in_the_network_is_counted_and_sizes_are_checked() -> None:
    inferer = PatchInferer(8, 8)
    inferer(torch.full((1, 3, 16, 16), 0.4), Colours())
    assert inferer.network_seconds > 0
    for wrong in ({"stride": 0}, {"patch_size": 0}, {"patch_size": "big"}, {"batch_size": 0.5}):
        options: dict[str, Any] = {"patch_size": 8, "stride": 8, **wrong}
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}: found"):
            PatchInferer(**options)
    with pytest.raises(InputError, match="--network_scale"):
        PatchInferer(8, 8, scale=0)


# votes


def test_votes_and_means_are_those_counted_by_hand() -> None:
    votes = made_votes([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [1.0, 0.0, 0.0]], [True, True, True, False])
    assert votes.votes.tolist() == [2, 1, 0]
    np.testing.assert_allclose(votes.mean_probability, [0.4, 0.5, 0.1], rtol=1e-6)
    assert (votes.predicted("vote"), votes.predicted("mean")) == (0, 1)
    assert votes.margin("vote") == pytest.approx(1 / 3)
    assert votes.margin("mean") == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(ValueError, match="vote, mean"):
        votes.image_probability("median")


def test_equal_votes_are_decided_by_the_mean_probability() -> None:
    votes = made_votes([[0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
    assert votes.votes.tolist() == [1, 0, 1]
    assert votes.predicted("vote") == 2
    assert votes.margin("vote") == 0


@pytest.mark.parametrize("rule", RULES)
def test_probabilities_of_an_image_sum_to_one_in_any_order_of_patches(rule: str, rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet(np.ones(4), 30).astype(np.float32)
    tissue = rng.random(30) < 0.7
    votes = made_votes(probabilities.tolist(), tissue.tolist())
    found = votes.image_probability(rule)
    assert found.dtype == np.float64
    assert found.sum() == pytest.approx(1, abs=1e-12)
    order = rng.permutation(30)
    other = made_votes(probabilities[order].tolist(), tissue[order].tolist())
    np.testing.assert_allclose(other.image_probability(rule), found, atol=1e-7)
    assert other.predicted(rule) == votes.predicted(rule) == found.argmax()


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        PatchVotes(np.zeros((2, 2), np.int64), 4, np.zeros((3, 3), np.float32), np.ones(2, bool))


def test_the_lead_is_that_over_the_second() -> None:
    assert lead(np.array([0.5, 0.1, 0.4])) == pytest.approx(0.1)
    assert lead(np.array([1.0])) == 1
