"""Reading ahead: in order, everything once, and a bad file stops nothing."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from monai.transforms import Compose, MapTransform

from common.engine import loading
from common.engine.loading import ReadAheadLoader, input_error
from common.errors import InputError, Problem


class Items:
    """Items by index; those in ``bad`` raise, those in ``slow`` take a while. Notes which thread read what."""

    def __init__(self, count: int, bad: dict[int, Exception] | None = None, slow: tuple[int, ...] = ()) -> None:
        self.data = [{"name": f"image{i}"} for i in range(count)]
        self.bad, self.slow = bad or {}, slow
        self.read: list[int] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.threads.add(threading.get_ident())
        if index in self.slow:
            time.sleep(0.03)
        self.read.append(index)
        if index in self.bad:
            raise self.bad[index]
        return {**self.data[index], "value": torch.tensor([float(index)]), "label": None}


def refused(name: str = "x.png") -> InputError:
    return InputError(name, "noise", "an image")


def values(loader: ReadAheadLoader) -> list[float]:
    return [float(batch["value"]) for batch in loader]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 2, 50])
def test_order_is_kept_and_nothing_is_left_out(workers: int, ahead: int) -> None:
    items = Items(12, slow=(0, 5))
    loader = ReadAheadLoader(items, ahead=ahead, workers=workers)
    assert values(loader) == list(range(12))
    assert sorted(items.read) == list(range(12))
    assert loader.problems == []
    assert loader.total == 12
    assert threading.get_ident() not in items.threads


def test_a_batch_holds_one_item() -> None:
    batch = next(iter(ReadAheadLoader(Items(3))))
    assert batch["name"] == ["image0"]
    assert batch["value"].shape == (1, 1)
    assert "label" not in batch  # None is what is not known


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_only_so_many_items_are_held(ahead: int) -> None:
    items = Items(20)
    iterator = iter(ReadAheadLoader(items, ahead=ahead))
    next(iterator)
    time.sleep(0.05)
    assert len(items.read) <= ahead + 1
    iterator.close()  # type: ignore[attr-defined]


def test_a_bad_item_is_left_out_and_named_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    loader = ReadAheadLoader(Items(6, bad={0: refused("a.png"), 3: refused("b.png"), 5: refused()}))
    assert values(loader) == [1, 2, 4]
    assert [problem.name for problem in loader.problems] == ["image0", "image3", "image5"]
    assert "b.png" in loader.problems[1].reason
    assert "b.png" in caplog.text


def test_each_pass_counts_its_own_problems() -> None:
    loader = ReadAheadLoader(Items(3, bad={1: refused()}))
    assert values(loader) == values(loader) == [0, 2]
    assert len(loader.problems) == 1


def test_a_bad_item_ends_the_run_where_it_must_not_be_left_out() -> None:
    with pytest.raises(InputError, match=r"x\.png"):
        values(ReadAheadLoader(Items(3, bad={1: refused()}), skip_bad=False))


@pytest.mark.parametrize("error", [KeyError("image"), RuntimeError("bug"), ValueError("bug")])
def test_an_unexpected_error_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        values(ReadAheadLoader(Items(4, bad={2: error})))


def test_an_error_that_monai_wrapped_is_known_again() -> None:
    class Refuse(MapTransform):
        def __call__(self, data: Any) -> Any:
            raise refused("deep.png")

    with pytest.raises(RuntimeError) as caught:
        Compose([Refuse("image")])({"image": 1})
    found = input_error(caught.value)
    assert found is not None
    assert found.path == "deep.png"
    assert input_error(RuntimeError("bug")) is None
    assert input_error(None) is None


def test_no_items_give_no_batches() -> None:
    assert values(ReadAheadLoader(Items(0))) == []


def test_reading_goes_on_while_the_consumer_works() -> None:
    items = Items(6)
    iterator = iter(ReadAheadLoader(items, ahead=3))
    next(iterator)
    deadline = time.monotonic() + 5
    while len(items.read) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(items.read) == 4
    assert [float(batch["value"]) for batch in iterator] == [1, 2, 3, 4, 5]


class Studies(Items):
    """Item i is a list of i elements; the first tells a problem."""

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        told = [Problem(item["name"], "a file lost")]
        return [{**item, "part": part, "problems": [] if part else told} for part in range(index)]


@pytest.mark.parametrize("collate", [True, False])
def test_an_item_of_several_gives_a_batch_of_each_and_their_problems(collate: bool) -> None:
    loader = ReadAheadLoader(Studies(4, bad={2: refused()}), collate=collate)
    batches = list(loader)
    assert [int(batch["part"]) for batch in batches] == [0, 0, 1, 2]
    assert not any("problems" in batch for batch in batches)
    assert [problem.name for problem in loader.problems] == ["image1", "image2", "image3"]
    assert [problem.reason == "a file lost" for problem in loader.problems] == [True, False, True]


def test_items_come_as_they_are_where_they_are_not_collated() -> None:
    batch = next(iter(ReadAheadLoader(Items(3), collate=False)))
    assert batch["name"] == "image0" and batch["label"] is None
    assert batch["value"].shape == (1,)


@pytest.mark.parametrize(("limit", "most"), [(1 << 30, 5), (3 * 4000, 4), (2 * 4000, 3), (4000, 2), (100, 1)])
def test_large_items_are_read_ahead_by_fewer(monkeypatch: pytest.MonkeyPatch, limit: int, most: int) -> None:
    """Handed on and not yet asked for: one item, and what the limit leaves room for."""
    monkeypatch.setattr(loading, "HELD_BYTES", limit)

    class Large(Items):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**super().__getitem__(index), "image": torch.zeros(999)}  # 4,000 bytes with the value

    items = Large(12)
    seen = []
    for number, _ in enumerate(ReadAheadLoader(items, ahead=4), start=1):
        time.sleep(0.01)
        seen.append(len(items.read) - number)
    assert len(seen) == 12
    assert max(seen) <= most
    assert max(seen) >= min(most, 4) - 1
