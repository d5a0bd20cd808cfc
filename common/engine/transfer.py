"""Weights of one network as the start of another that differs in its input channels or in its classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ..errors import InputError, listed
from .checkpoints import network_weights

logger = logging.getLogger(__name__)


class Transfer(NamedTuple):
    """What became of each tensor of a network.

    Attributes:
        state: the network's state dict with what was taken.
        loaded: names of tensors that were taken as they are.
        adapted: what was changed to fit, in words, by name.
        left: names of tensors that stay as they were initialised.
    """

    state: dict[str, torch.Tensor]
    loaded: tuple[str, ...]
    adapted: dict[str, str]
    left: tuple[str, ...]


def transfer(own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> Transfer:
    """Take what fits; what sees the image learns other channels and what gives the classes others of these.

    Grey to colour: each channel gets a third of the grey filter; colour to grey: the filter is the sum over channels. Either
    way a grey picture gives the response that it gave, whether shown once or three times. Shortcuts around the first
    convolution see the image too. Of layers that have a channel per class, as the last has, the classes that both have
    are taken, in their order; further ones stay as they were initialised.

    Args:
        own: state dict of the network to be trained.
        weights: state dict to start from.
    """
    state = {name: tensor.clone() for name, tensor in own.items()}
    # By order of definition, as state dicts are; normalisation layers have one axis only.
    layers = [name for name, tensor in own.items() if name in weights and tensor.ndim == weights[name].ndim > 1]
    channels = _sizes(own, weights, layers[0], 1) if layers else (0, 0)
    classes = _sizes(own, weights, layers[-1], 0) if layers else (0, 0)
    loaded, adapted, left = [], {}, []
    for name, tensor in own.items():
        given = weights.get(name)
        if given is not None and given.shape == tensor.shape:
            state[name] = given.to(tensor.dtype)
            loaded.append(name)
        elif given is not None and _other_channels(given, tensor) and (given.shape[1], tensor.shape[1]) == channels:
            state[name] = _with_channels(given.to(tensor.dtype), tensor.shape[1])
            adapted[name] = f"{given.shape[1]} to {tensor.shape[1]} channels"
        elif given is not None and _differ_by(given, tensor, classes):
            shared = tuple(slice(min(sizes)) for sizes in zip(given.shape, tensor.shape, strict=True))
            state[name][shared] = given[shared].to(tensor.dtype)
            adapted[name] = f"{min(classes)} of {classes[1]} classes"
        else:
            left.append(name)
    return Transfer(state, tuple(loaded), adapted, tuple(left))


def _sizes(
    own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], name: str, axis: int
) -> tuple[int, int]:
    return weights[name].shape[axis], own[name].shape[axis]


def _differ_by(given: torch.Tensor, own: torch.Tensor, sizes: tuple[int, int]) -> bool:
    """Whether two tensors are alike but for axes of these two lengths."""
    if given.ndim != own.ndim:
        return False
    return all(pair == sizes for pair in zip(given.shape, own.shape, strict=True) if pair[0] != pair[1])


def _other_channels(given: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether two filters differ in their input channels alone, of which one has a single one."""
    alike = given.ndim == own.ndim > 2 and given.shape[0] == own.shape[0] and given.shape[2:] == own.shape[2:]
    return alike and 1 in (given.shape[1], own.shape[1])


def _with_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    grey = weight.sum(dim=1, keepdim=True)
    return grey.repeat(1, channels, *[1] * (weight.ndim - 2)) / channels


def start_from(network: nn.Module, path: str | Path | None) -> nn.Module:
    """Put what fits of other weights into a network before its training; the log lists what was taken.

    Args:
        network: to be trained.
        path: weights or checkpoint, None or empty for a fresh start.

    Raises:
        InputError: the file is unreadable, or nothing in it fits.
    """
    if not path:
        return network
    found = transfer(network.state_dict(), network_weights(path))
    if not found.loaded and not found.adapted:
        raise InputError(path, "no tensor that fits", "weights of a network of the same kind")
    network.load_state_dict(found.state)
    logger.info("from %s: %d tensors taken, %d left as they were", path, len(found.loaded), len(found.left))
    for name, change in found.adapted.items():
        logger.info("  adapted %s: %s", name, change)
    if found.left:
        logger.info("  left as they were: %s", listed(found.left, most=12))
    return network
