"""Which device computes, and whether lower precision is faster there."""

from __future__ import annotations

import torch

from ..errors import InputError
from ..flags import as_flag


def pick_device(name: str | int | torch.device | None = "auto") -> torch.device:
    """``auto`` is the first CUDA device where there is one, else the CPU; any other name is taken as torch knows it.

    Raises:
        InputError: no device of that name, or a CUDA device that is not there.
    """
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    expected = "auto, cpu, cuda or cuda:1"
    try:
        device = torch.device("cuda", name) if isinstance(name, int) else torch.device(name)
    except RuntimeError as error:
        raise InputError("--device", repr(name), expected) from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"{count} CUDA device{'s' * (count > 1)} here" if count else "no CUDA device here"
            raise InputError("--device", f"{name}, but there is {there}", "auto or cpu" if not count else expected)
    return device


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
