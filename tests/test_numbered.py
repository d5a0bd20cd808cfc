"""Samples by number: the same again however they are asked for, and bad files named at reading."""

from __future__ import annotations

import cv2
import pytest
import torch
from monai.transforms import Compose, RandFlipd, RandShiftIntensityd

from common.engine.numbered import NumberedDataset, NumberedSampler, read_items
from common.errors import InputError, Problem

ITEMS = [{"name": str(i), "image": torch.arange(12.0).reshape(1, 3, 4) + 100 * i} for i in range(5)]


def dataset(seed: int = 0) -> NumberedDataset:
    keys = ["image"]
    transform = Compose([RandFlipd(keys, prob=0.5, spatial_axis=1), RandShiftIntensityd(keys, offsets=5.0, prob=1.0)])
    return NumberedDataset(ITEMS, transform, samples_per_epoch=8, seed=seed)


def test_a_sample_does_not_depend_on_what_was_drawn_before() -> None:
    forwards = dataset()
    drawn = [forwards[n]["image"] for n in range(20)]
    backwards = dataset()
    for n in reversed(range(20)):
        assert torch.equal(torch.as_tensor(backwards[n]["image"]), torch.as_tensor(drawn[n]))


def test_samples_differ_between_numbers_and_seeds() -> None:
    one, other = dataset(0), dataset(1)
    values = {float(one[n]["image"].sum()) for n in range(20)}
    assert len(values) == 20
    assert values.isdisjoint(float(other[n]["image"].sum()) for n in range(20))


def test_items_in_memory_stay_as_they_were() -> None:
    before = [item["image"].clone() for item in ITEMS]
    samples = dataset()
    for n in range(20):
        samples[n]["image"].add_(1)
    assert all(torch.equal(item["image"], image) for item, image in zip(ITEMS, before, strict=True))


def read(record: dict) -> dict:
    if record["name"] == "bad":
        raise InputError("bad.png", "a broken file", "an image")
    return {"value": record["name"]}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_kept() -> None:
    problems: list[Problem] = []
    records = [{"name": name} for name in ("a", "bad", "c")]
    assert read_items(records, read, problems, progress=False) == [{"value": "a"}, {"value": "c"}]
    assert [problem.name for problem in problems] == ["bad"]
    with pytest.raises(InputError, match="a broken file"):
        read_items(records, read, progress=False)


def test_opencv_has_no_threads_when_loader_processes_are_forked() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        read_items([{"name": "a"}], read, progress=False)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("names", [[], ["bad"]])
def test_nothing_to_train_on_is_an_error(names: list[str]) -> None:
    with pytest.raises(InputError, match="dataset_dir"):
        read_items([{"name": name} for name in names], read, [], progress=False)


def test_an_epoch_without_a_whole_batch_is_refused_for_it_would_train_nothing() -> None:
    NumberedSampler(dataset(), batch_size=8)
    with pytest.raises(InputError, match="--samples_per_epoch: found 8 for batches of 9; expected at least 9"):
        NumberedSampler(dataset(), batch_size=9)
