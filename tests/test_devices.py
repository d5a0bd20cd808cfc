"""Choice of device and precision."""

from __future__ import annotations

import pytest
import torch

from common.engine.devices import bf16_is_fast, pick_amp, pick_device
from common.errors import InputError


@pytest.mark.parametrize(("found", "expected"), [(True, "cuda:0"), (False, "cpu")])
@pytest.mark.parametrize("name", ["auto", None])
def test_auto_takes_cuda_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, name: str | None, found: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    assert pick_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda:3", torch.device("cuda:1")])
def test_a_named_device_is_obeyed(monkeypatch: pytest.MonkeyPatch, name: str | torch.device) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "count", "found"),
    [("cuda", 0, "no CUDA device"), (0, 0, "no CUDA device"), ("cuda:2", 2, "2 CUDA devices"), ("gpu", 1, "'gpu'")],
)
def test_a_device_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str | int, count: int, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=f"--device: found .*{found}"):
        pick_device(name)


@pytest.mark.parametrize("amp", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_a_plain_wish_is_obeyed_and_auto_asks_the_processor(
    monkeypatch: pytest.MonkeyPatch, amp: bool, fast: bool
) -> None:
    monkeypatch.setattr("common.engine.devices.bf16_is_fast", lambda device: fast)
    device = torch.device("cpu")
    assert pick_amp(amp, device) is amp
    assert pick_amp("auto", device) is fast
    assert pick_amp(None, device) is fast


@pytest.mark.parametrize("avx512", [True, False])
@pytest.mark.parametrize("amx", [True, False])
def test_a_cpu_is_fast_with_either_instruction_set(monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert bf16_is_fast(torch.device("cpu")) is (avx512 or amx)


def test_a_torch_that_cannot_tell_is_taken_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert bf16_is_fast(torch.device("cpu")) is False


def test_other_devices_are_taken_as_slow() -> None:
    assert bf16_is_fast(torch.device("meta")) is False
