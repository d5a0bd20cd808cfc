"""Which device computes, and whether lower precision is faster there."""

from __future__ import annotations

import torch

from ..flags import as_flag


def pick_device(name: str | torch.device | None = "auto") -> torch.device:
    """``auto`` is the first CUDA device where there is one, else the CPU; any other name is taken as torch knows it."""
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 is computed in hardware: Ampere and later GPUs, CPUs with AVX512-bf16 or AMX.

    On other CPUs bfloat16 is emulated and about three times slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def pick_amp(amp: bool | str | None, device: torch.device) -> bool:
    """``auto`` (or None) asks the processor; true and false are obeyed."""
    return bf16_is_fast(device) if amp is None or amp == "auto" else as_flag(amp, "amp")
