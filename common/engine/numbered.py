"""Samples that depend on their number alone: what was drawn is drawn again, however often a run was interrupted.

Every random decision of a sample derives from (seed, number of the sample), whatever the number of loader processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler
from tqdm import tqdm

from ..errors import InputError, Problem, leave_out

Item = TypeVar("Item")


def read_items(
    records: Sequence[dict[str, Any]],
    transform: Callable[[dict[str, Any]], Item],
    problems: list[Problem] | None = None,
    progress: bool = True,
) -> list[Item]:
    """All records read into memory, in their order. (MONAI's ``CacheDataset`` ends the run at the first bad file.)

    Args:
        records: dicts with ``name``.
        transform: makes the item of a record; without any randomness.
        problems: records that cannot be read are noted here and left out; without it the first one raises.
        progress: show a bar.

    Raises:
        InputError: no record, or none that can be read.
    """
    if not records:
        raise InputError(
            "dataset_dir", "no training image", "images with truth, after the validation fold is taken away"
        )
    # Before any loader process is forked: a copy of OpenCV's thread pool without its threads would wait for ever. And the
    # network has the other cores.
    cv2.setNumThreads(1)
    items = []
    for record in tqdm(records, desc="reading images", disable=None if progress else True, leave=False):
        try:
            items.append(transform(record))
        except InputError as error:
            leave_out(str(record["name"]), error, problems)
    if not items:
        raise InputError("dataset_dir", "no image that can be read", "images with truth")
    return items


def numbered_state(seed: int, number: int) -> np.random.RandomState:
    """The random state of one sample."""
    return np.random.RandomState(np.random.SeedSequence([seed, number]).generate_state(4))


def transformed(transform: Callable | None, item: dict[str, Any], state: np.random.RandomState) -> Any:
    """A MONAI transform applied to an item, all its randomness from ``state``."""
    if transform is None:
        return item
    if hasattr(transform, "set_random_state"):
        transform.set_random_state(state=state)
    return transform(item)


class NumberedDataset(Dataset):
    """Endless random samples of items in memory; sample ``n`` is always the same.

    Every item is drawn equally often; another :meth:`draw` draws otherwise.

    Args:
        data: items, such as :func:`read_items` gives.
        transform: applied to a copy of the item's dict; its random state is set for every sample.
        samples_per_epoch: length of the data set.
        seed: of everything random.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Callable | None = None,
        samples_per_epoch: int = 800,
        seed: int = 0,
    ) -> None:
        self.data, self.transform = data, transform
        self.samples_per_epoch, self.seed = samples_per_epoch, seed

    def __len__(self) -> int:
        return self.samples_per_epoch

    def __getitem__(self, number: int) -> Any:
        state = numbered_state(self.seed, number)
        return transformed(self.transform, dict(self.draw(state)), state)

    def draw(self, state: np.random.RandomState) -> Mapping[str, Any]:
        """An item before its transform, all randomness from ``state``."""
        return self.data[state.randint(len(self.data))]


class NumberedSampler(DistributedSampler):
    """Numbers of the samples of an epoch: epoch 1 has 0 to n - 1, epoch 2 the next n, and so on, dealt to the ranks.

    A ``DistributedSampler`` because MONAI's engines tell the epoch to those; without distributed training there is one rank.

    Args:
        dataset: of as many samples as an epoch has.
        batch_size: of the loader, which drops what fills no batch; None asks nothing.

    Raises:
        InputError: an epoch without a single batch for each rank, which would train nothing.
    """

    def __init__(self, dataset: Dataset, batch_size: int | None = None) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        ranks = torch.distributed.get_world_size() if distributed else 1
        rank = torch.distributed.get_rank() if distributed else 0
        super().__init__(dataset, num_replicas=ranks, rank=rank, shuffle=False, drop_last=True)
        if batch_size is not None and self.num_samples < batch_size:
            found = f"{len(dataset)} for batches of {batch_size}"  # type: ignore[arg-type]
            expected = f"at least {ranks * batch_size}, a batch for each process"
            raise InputError(
                "--samples_per_epoch", found, expected if ranks > 1 else f"at least {batch_size}, one batch"
            )

    def __iter__(self) -> Iterator[int]:
        length = len(self.dataset)  # type: ignore[arg-type]
        first = max(self.epoch - 1, 0) * length
        return iter(range(first + self.rank, first + self.num_replicas * self.num_samples, self.num_replicas))
