"""Checkpoints that survive a kill: resuming a run, starting from other weights, weights to ship.

MONAI's ``CheckpointSaver`` writes in place (a kill while it writes leaves half a file) and finds no checkpoint by itself.
All files hold tensors and plain values only, so that ``torch.load(weights_only=True)`` reads them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers.state_param_scheduler import StateParamScheduler
from torch import nn

from ..errors import InputError
from ..outputs.files import atomic

logger = logging.getLogger(__name__)


class RunCheckpoint:
    """Saves the whole state of a run every ``interval`` epochs and goes on from it when the same run starts again.

    Args:
        path: the checkpoint file; loaded at the start of training where it exists.
        state: what has ``state_dict`` and ``load_state_dict``: network, average, optimizer, scheduler.
        interval: in epochs.
        signature: what must be equal for a run to be the same (images and their split, seed, epochs, learning rate); a
            checkpoint of a run with others, or that does not say them all, is refused, never overwritten. A value that is
            a mapping (the overrides, see :func:`.overrides.settings_given`) is compared by its own keys, without those
            that the signature has itself; one that is absent stands for what the config has.
    """

    def __init__(
        self, path: str | Path, state: Mapping[str, Any], interval: int = 1, signature: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.state, self.interval = Path(path), dict(state), interval
        given = signature or {}
        self.signature = {
            key: {own: str(item) for own, item in value.items() if own not in given}
            if isinstance(value, Mapping)
            else str(value)
            for key, value in given.items()
        }

    def attach(self, engine: Engine) -> None:
        """Resume when the engine starts, save when an epoch ends."""
        engine.add_event_handler(Events.STARTED, self.resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval) | Events.COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of the run, whole or not at all."""
        content = {key: item.state_dict() for key, item in self.state.items()}
        content["epoch"], content["iteration"] = engine.state.epoch, engine.state.iteration
        content["signature"] = self.signature
        with atomic(self.path) as temporary:
            torch.save(content, temporary)

    def check(self) -> None:
        """Refuse a folder with another run in it, before anything is written there.

        Raises:
            InputError: the checkpoint is unreadable or that of another run; says what differs.
        """
        if self.path.is_file():
            self._refuse_another(load_tensors(self.path))

    def resume(self, engine: Engine) -> None:
        """Load the checkpoint where there is one and put the engine behind its last finished epoch."""
        if not self.path.is_file():
            return
        content = load_tensors(self.path)
        self._refuse_another(content)
        for key, item in self.state.items():
            item.load_state_dict(content[key])
        engine.state.epoch, engine.state.iteration = content["epoch"], content["iteration"]
        _wind_schedulers_on(engine)
        if content["epoch"] >= (engine.state.max_epochs or float("inf")):
            again = "to train anew give another ckpt_dir, or remove this file"
            logger.warning(
                "%s: finished already after epoch %d, nothing to train; %s", self.path, content["epoch"], again
            )
        else:
            logger.info("resumed from %s after epoch %d", self.path, content["epoch"])

    def _refuse_another(self, content: Mapping[str, Any]) -> None:
        saved = content.get("signature", {})
        unknown = [key for key in self.signature if key not in saved]
        before = _flat({key: saved[key] for key in self.signature if key in saved})
        now = _flat({key: self.signature[key] for key in self.signature if key in saved})
        both = {key: (before.get(key, _OF_CONFIG), now.get(key, _OF_CONFIG)) for key in {**now, **before}}
        differing = {key: values for key, values in both.items() if values[0] != values[1]}
        found = [f"{key} = {old}" for key, (old, _) in differing.items()]
        found += [f"it does not say its {key}" for key in unknown]
        if found:
            wanted = {key: new for key, (_, new) in differing.items()} | _flat(
                {key: self.signature[key] for key in unknown}
            )
            texts = [f"{key} = {value}" for key, value in wanted.items()]
            kind = "an earlier version" if unknown else "another run"
            raise InputError(
                self.path,
                f"the checkpoint of {kind} ({', '.join(found)})",
                ", ".join(["a checkpoint that says all its settings"] * bool(unknown) + texts)
                + ", or another ckpt_dir",
            )


_OF_CONFIG = "as the config has it"


def _flat(signature: Mapping[str, Any]) -> dict[str, str]:
    """The signature with the keys of its mappings among its own."""
    flat: dict[str, str] = {}
    for key, value in signature.items():
        flat.update(value if isinstance(value, Mapping) else {key: value})
    return flat


def _wind_schedulers_on(engine: Engine) -> None:
    """Ignite's schedulers of engine attributes (the warm-up of a moving average) count their calls, from nought in each
    process, and no state dict holds the count: without this a resumed run would warm up again."""
    for handler, *_ in engine._event_handlers[Events.ITERATION_COMPLETED]:
        if isinstance(handler, StateParamScheduler):
            handler.event_index = engine.state.iteration


class WeightsSaver:
    """Writes the weights to ship, in half precision, when training has ended.

    Args:
        path: where to write.
        network: the network whose weights are kept (the moving average, usually).
    """

    def __init__(self, path: str | Path, network: nn.Module) -> None:
        self.path, self.network = Path(path), network

    def attach(self, engine: Engine) -> None:
        """Save at the end of the engine's run."""
        engine.add_event_handler(Events.COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the weights, whole or not at all."""
        save_half(self.network, self.path)


def save_half(network: nn.Module, path: str | Path) -> None:
    """State dict with floating point tensors in half precision, except where a value is too large for it."""
    weights = {k: _half(v) for k, v in network.state_dict().items()}
    with atomic(path) as temporary:
        torch.save(weights, temporary)


def _half(values: torch.Tensor) -> torch.Tensor:
    """Integers stay what they are, and so do tensors that would overflow."""
    if not values.is_floating_point() or values.abs().max() > torch.finfo(torch.half).max:
        return values
    return values.half()


def load_tensors(path: str | Path) -> dict[str, Any]:
    """A checkpoint on the CPU, tensors and plain values only.

    Raises:
        InputError: no such file, or not a checkpoint of this kind.
    """
    if not Path(path).is_file():
        raise _absent(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            path, f"not readable as weights ({type(error).__name__})", "a state dict of tensors"
        ) from error
    if not isinstance(content, dict):
        raise InputError(path, type(content).__name__, "a state dict of tensors")
    return content


def network_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The network's state dict from shipped weights or from a run's checkpoint (its moving average, else its network)."""
    content = load_tensors(path)
    for key in ("average", "model", "network"):
        if isinstance(content.get(key), dict):
            return content[key]
    return content


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Put weights into a network of the same shape, in the network's own precision, ready for inference.

    Raises:
        InputError: the file is unreadable or belongs to another network.
    """
    try:
        network.load_state_dict(network_weights(path))
    except RuntimeError as error:
        raise InputError(path, "weights of another network", f"weights for network_def ({error})") from error
    return network.eval()


def file_hash(path: str | Path, digits: int = 12) -> str:
    """First digits of the file's SHA-256, to name weights in results."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:digits]


def start_hash(path: str | Path | None) -> str:
    """What a training starts from, for its signature: :func:`file_hash` of the weights, "none" without any.

    (Not None: MONAI drops the arguments whose component gives that.)

    Raises:
        InputError: no such file.
    """
    if not path:
        return "none"
    if not Path(path).is_file():
        raise _absent(path)
    return file_hash(path)


def _absent(path: str | Path) -> InputError:
    return InputError(path, "no such file", "a checkpoint, for instance models/model.pt")
