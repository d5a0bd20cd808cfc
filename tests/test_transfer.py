"""Weights move to networks of other channels and classes, and what happened to each tensor is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

from common.engine.checkpoints import save_half
from common.engine.transfer import start_from, transfer
from common.errors import InputError


def segresnet(channels: int, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return SegResNet(2, 8, channels, classes, norm="BATCH", blocks_down=(1, 1), blocks_up=(1,)).eval()


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))


def moved(old: nn.Module, new: nn.Module, folder: Path) -> nn.Module:
    torch.save(old.state_dict(), folder / "old.pt")
    return start_from(new, folder / "old.pt")


def test_the_same_network_is_taken_whole(picture: torch.Tensor, tmp_path: Path) -> None:
    old, new = segresnet(1, 2, 0), segresnet(1, 2, 1)
    assert not torch.allclose(old(picture), new(picture))
    torch.testing.assert_close(moved(old, new, tmp_path)(picture), old(picture))


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_grey_picture_gives_what_it_gave(before: int, after: int, picture: torch.Tensor, tmp_path: Path) -> None:
    old, new = segresnet(before, 2, 0), segresnet(after, 2, 1)
    moved(old, new, tmp_path)
    torch.testing.assert_close(
        new(picture.repeat(1, after, 1, 1)), old(picture.repeat(1, before, 1, 1)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2)])
def test_classes_that_both_have_are_kept(before: int, after: int, picture: torch.Tensor, tmp_path: Path) -> None:
    old, new = segresnet(1, before, 0), segresnet(1, after, 1)
    moved(old, new, tmp_path)
    shared = min(before, after)
    torch.testing.assert_close(new(picture)[:, :shared], old(picture)[:, :shared])


def test_every_tensor_is_accounted_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = segresnet(3, 2, 0), segresnet(1, 3, 1)
    weights = old.state_dict()
    dropped = next(name for name in weights if "down_layers" in name and name.endswith("conv.weight"))
    del weights[dropped]
    found = transfer(new.state_dict(), weights)
    assert set(found.loaded) | set(found.adapted) | set(found.left) == set(new.state_dict())
    assert found.left == (dropped,)
    assert sorted(found.adapted.values()) == ["2 of 3 classes", "2 of 3 classes", "3 to 1 channels"]
    torch.save(weights, tmp_path / "old.pt")
    with caplog.at_level(logging.INFO):
        start_from(new, tmp_path / "old.pt")
    assert "3 to 1 channels" in caplog.text
    assert dropped in caplog.text


def test_shipped_half_precision_becomes_the_networks_own(picture: torch.Tensor, tmp_path: Path) -> None:
    old, new = segresnet(1, 2, 0), segresnet(1, 2, 1).train()
    save_half(old, tmp_path / "half.pt")
    start_from(new, tmp_path / "half.pt")
    assert {p.dtype for p in new.parameters()} == {torch.float32}
    assert new.training
    torch.testing.assert_close(new.eval()(picture), old(picture), atol=0.02, rtol=0.02)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: found no tensor that fits"):
        start_from(segresnet(1, 2, 0), tmp_path / "other.pt")


@pytest.mark.parametrize("path", [None, ""])
def test_a_fresh_start_changes_nothing(path: str | None) -> None:
    network, same = segresnet(1, 2, 0), segresnet(1, 2, 0).state_dict()
    assert start_from(network, path) is network
    assert all(torch.equal(tensor, same[name]) for name, tensor in network.state_dict().items())


def residual_unet(channels: int, classes: int) -> torch.nn.Module:
    network = UNet(2, channels, classes, [8, 16], [2], num_res_units=2, norm="BATCH")
    return network.eval()


def test_shortcuts_around_the_first_convolution_learn_the_channels_too() -> None:
    grey, colour = residual_unet(1, 3), residual_unet(3, 3)
    found = transfer(colour.state_dict(), grey.state_dict())
    assert found.left == ()
    assert set(found.adapted.values()) == {"1 to 3 channels"}
    colour.load_state_dict(found.state)
    image = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(colour(image.repeat(1, 3, 1, 1)), grey(image), rtol=1e-4, atol=1e-5)


def test_all_layers_with_a_channel_per_class_keep_the_classes_that_both_have() -> None:
    two, four = residual_unet(1, 2), residual_unet(1, 4)
    before = {name: tensor.clone() for name, tensor in four.state_dict().items()}
    found = transfer(four.state_dict(), two.state_dict())
    assert found.left == ()
    assert set(found.adapted.values()) == {"2 of 4 classes"}
    for name in found.adapted:
        shared = tuple(slice(n) for n in two.state_dict()[name].shape)
        assert torch.equal(found.state[name][shared], two.state_dict()[name])
        assert torch.equal(found.state[name].flatten()[-1], before[name].flatten()[-1])
