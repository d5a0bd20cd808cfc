"""Reading ahead: the next images are read while the network works, and a file that cannot be read stops nothing.

MONAI's and torch's loaders end the whole run at the first bad file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from monai.data.utils import list_data_collate

from ..errors import Problem, input_error, leave_out
from .memory import HELD_BYTES, bytes_of


class ReadAheadLoader:
    """Batches of one item each, in order, read by background threads. It has no length: bad items are left out.

    An item that is a list (a study with several stacks) gives each of its elements as a batch of its own. What an item
    has in ``problems``, a list of :class:`..errors.Problem`, is found while reading and does not stop it: it is moved to the
    loader's.

    Args:
        dataset: items by index; reading one may raise :class:`InputError`. An item with ``name`` names it in problems.
        ahead: items read in advance at most; each is held in memory, so that of large ones there are fewer
            (:data:`.memory.HELD_BYTES`).
        workers: threads; 0, which torch's loader reads without any by, is one thread too.
        skip_bad: go on without items that raise :class:`InputError`; otherwise the error ends the run.
        collate: False gives the items as they are, without a first dimension for the batch and with what is None; for
            engines with ``decollate=False``.

    Attributes:
        problems: what was left out so far, and what was found in items.
    """

    def __init__(
        self, dataset: Any, ahead: int = 3, workers: int = 1, skip_bad: bool = True, collate: bool = True
    ) -> None:
        self.dataset, self.ahead, self.workers, self.skip_bad = dataset, ahead, max(1, workers), skip_bad
        self.collate = collate
        self.problems: list[Problem] = []

    @property
    def total(self) -> int:
        """Number of items, bad ones included."""
        return len(self.dataset) if isinstance(self.dataset, Sized) else 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.problems.clear()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="read") as pool:
            pending: deque[tuple[int, Future]] = deque()
            numbers = iter(range(self.total))

            def submit(count: int) -> None:
                for index in islice(numbers, max(count - len(pending), 0)):
                    pending.append((index, pool.submit(self.dataset.__getitem__, index)))

            submit(1 + min(self.ahead, 1))  # until it is known how large an item is
            while pending:
                index, future = pending.popleft()
                try:
                    found = future.result()
                except Exception as error:
                    cause = input_error(error)
                    if cause is None or not self.skip_bad:
                        raise
                    leave_out(self._name(index), cause, self.problems)
                    submit(1)
                    continue
                # What is handed on now is one of those in memory.
                submit(min(self.ahead, HELD_BYTES // max(bytes_of(found), 1)))
                items = deque(found if isinstance(found, list) else [found])
                del future, found  # what was handed on is not held
                self.problems += [problem for item in items for problem in item.get("problems") or ()]
                while items:
                    yield self._batch(items.popleft())
                submit(1)

    def _batch(self, item: dict[str, Any]) -> dict[str, Any]:
        item = {key: value for key, value in item.items() if key != "problems"}
        if not self.collate:
            return item
        # An unknown label or pixel size is None, which MONAI refuses to put into a batch.
        return list_data_collate([{key: value for key, value in item.items() if value is not None}])

    def _name(self, index: int) -> str:
        data = getattr(self.dataset, "data", None)
        return str(data[index].get("name", index)) if data is not None else str(index)
