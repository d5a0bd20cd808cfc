"""A network on its whole input, in the precision in which the processor is fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from ..engine.devices import pick_amp

Network = Callable[..., torch.Tensor]


class AutocastInferer(Inferer):
    """The network on the whole input, in bfloat16 where that is fast. For training and for its patches.

    MONAI's engines know ``amp`` on CUDA only.

    Args:
        amp: true, false or ``auto`` (ask the processor).
        channels_last: memory format in which convolutions are fastest on CPUs and tensor cores.
    """

    def __init__(self, amp: bool | str = "auto", channels_last: bool = True) -> None:
        super().__init__()
        self.amp, self.channels_last = amp, channels_last

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (batch, maps, rows, columns) in float32 for inputs (batch, channels, rows, columns)."""
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        device = inputs.device
        with torch.autocast(device.type, torch.bfloat16, enabled=pick_amp(self.amp, device)):
            outputs = network(inputs, *args, **kwargs)
        return outputs.float()
