"""What handlers that write a run's results share: the writer thread, problems, seconds per stage, weights and versions."""

from __future__ import annotations

import json
import logging
import platform
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import monai
import numpy as np
import torch
from ignite.engine import Engine, Events

from .. import __version__
from ..errors import InputError, Problem
from ..flags import as_flag
from ..outputs.files import noting, write_text
from .checkpoints import file_hash
from .memory import HELD_BYTES, bytes_of
from .output_folder import check_inputs, earlier_files, relative_names, remove_files

logger = logging.getLogger(__name__)

Written = TypeVar("Written")

STAGES = ("read", "decode")
"""An item may say how long each took it, as ``seconds_<stage>``."""

_SWITCHED = ("true", "false", "yes", "no", "on", "off")
_SEEN = "{seen} images were in the training of these weights, they or others of their group: the figures flatter"
_LAST_FILES = {"summary.json", "report.html"}


class RunResults(ABC, Generic[Written]):
    """Handler of an evaluator: a background thread writes the files of each item, what sums them up comes at the end.

    A file of an item that cannot be used (:class:`InputError`) is a problem, and the rest goes on; anything else ends
    the run.

    The folder is refused where it holds what is read, or results of other images (:mod:`.output_folder`). Those of the same
    images are replaced file by file; what of them is left at the end is removed, and where nothing could be written they
    stay as they are.

    Args:
        output_dir: made where it is missing.
        weights: file whose hash goes into the summary.
        settings: further values for the summary; ``"false"``, as switches come from the command line, becomes False.
        max_pending: items that wait for being written, at most; each is held in memory, so that of large ones there are
            fewer (:data:`.memory.HELD_BYTES`).
        problems: what was left out before the run; stands in the summary too.

    Attributes:
        written: what is kept of each item after its files are written.
        problems: what could not be used; complete after the run.
    """

    def __init__(
        self,
        output_dir: str | Path,
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        max_pending: int = 3,
        problems: list[Problem] | None = None,
    ) -> None:
        self.output_dir, self.max_pending = Path(output_dir), max_pending
        self.weights, self.settings = weights, _with_booleans(settings or {})
        self.written: list[Written] = []
        self.problems: list[Problem] = []
        self.earlier = [] if problems is None else problems
        self._pending: deque[tuple[str, Future[tuple[Written, float]], int]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._began, self._network_began = 0.0, 0.0
        self._files: set[Path] = set()
        self._earlier_files: set[str] | None = None
        self._seconds = dict.fromkeys((*STAGES, "write"), 0.0)

    @abstractmethod
    def _write(self, item: Mapping[str, Any]) -> Written:
        """Write the files of one item; runs in the background."""

    @abstractmethod
    def _complete(self, seconds: Mapping[str, float]) -> None:
        """Write what sums up the run, when all items are written.

        Args:
            seconds: wall time, and the time spent in each stage.
        """

    def attach(self, engine: Engine) -> None:
        """Follow the engine's run."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._abort)

    def exit(self) -> None:
        """End the process with status 1 if a file could not be used, so that scripts notice. To be called last."""
        if self.problems:
            raise SystemExit(1)

    def _start(self, engine: Engine) -> None:
        check_writable(self.output_dir)
        check_inputs(self.output_dir, records_of(engine))
        self._earlier_files, self._files = earlier_files(self.output_dir, self.settings), set()
        self.written, self.problems, self._seconds = [], [], dict.fromkeys((*STAGES, "write"), 0.0)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._began = time.perf_counter()
        self._network_began = _network_seconds(engine)

    def _collect(self, engine: Engine) -> None:
        for item in _items(engine):
            for stage in STAGES:
                self._seconds[stage] += float(item.get(f"seconds_{stage}", 0.0))
            assert self._pool is not None
            self._pending.append((str(item["name"]), self._pool.submit(self._timed, item), bytes_of(item)))
            while len(self._pending) > self.max_pending or self._held() > HELD_BYTES:
                self._take()

    def _held(self) -> int:
        """Bytes of what waits behind the item that is being written."""
        return sum(size for _, _, size in self._pending) - self._pending[0][2] if self._pending else 0

    def _timed(self, item: Mapping[str, Any]) -> tuple[Written, float]:
        began = time.perf_counter()
        with noting(self._files):
            written = self._write(item)
        return written, time.perf_counter() - began

    def _take(self) -> None:
        name, job, _ = self._pending.popleft()
        try:
            written, seconds = job.result()
        except InputError as error:
            self.problems.append(Problem(name, str(error)))
            logger.error("not written: %s", error)
        else:
            self.written.append(written)
            self._seconds["write"] += seconds

    def _finish(self, engine: Engine) -> None:
        while self._pending:
            self._take()
        self._close()
        found = getattr(getattr(engine, "data_loader", None), "problems", [])
        self.problems = [*self.earlier, *found, *self.problems]
        wall = time.perf_counter() - self._began
        network = _network_seconds(engine) - self._network_began
        if not self.written and self._earlier_files is not None:
            logger.error("%s: nothing was written, so the results of the earlier run stay", self.output_dir)
            return
        spent = self._seconds
        with noting(self._files):
            self._complete(
                {
                    "wall": wall,
                    "read": spent["read"],
                    "network": network,
                    "decode": spent["decode"],
                    "write": spent["write"],
                }
            )
        left = (self._earlier_files or set()) - relative_names(self.output_dir, self._files)
        remove_files(self.output_dir, left)

    def _abort(self, engine: Engine, error: Exception) -> None:
        self._close()
        raise error

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _run_summary(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """What every summary says, whatever was found."""
        weights = Path(self.weights) if self.weights else None
        return {
            "problems": [{"name": p.name, "reason": p.reason} for p in self.problems],
            "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
            "network_share_of_wall_time": round(seconds["network"] / max(seconds["wall"], 1e-9), 3),
            "weights": {"file": weights.name, "sha256": file_hash(weights, 64)} if weights else None,
            "settings": self.settings,
            "versions": {
                "medbundles": __version__,
                "monai": monai.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }

    def _write_summary(self, summary: Mapping[str, Any]) -> None:
        files = sorted(relative_names(self.output_dir, self._files) | _LAST_FILES)
        text = json.dumps({**summary, "files": files}, indent=2)
        write_text(self.output_dir / "summary.json", text + "\n")


def report_details(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The folded part of a report: what the summary says of the run itself."""
    return {key: summary[key] for key in ("settings", "weights", "seconds", "versions") if summary[key]}


def report_problems(summary: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures has to know first, one line each.

    That the training had seen images, what was assumed (the summary's ``assumptions``), what could not be used. Summaries
    of several runs have no settings.
    """
    seen = summary.get("settings", {}).get("seen_in_training")
    known = [] if seen is None or seen.startswith("0 ") else [_SEEN.format(seen=seen)]
    unusable = [f"{problem['name']}: {problem['reason']}" for problem in summary["problems"]]
    return [*known, *summary.get("assumptions", ()), *unusable]


def check_writable(folder: Path) -> None:
    """Make the folder and try to write there.

    Raises:
        InputError: it cannot be made, or nothing can be written into it.
    """
    probe = folder / ".writable.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(folder, error.strerror or str(error), "a folder that can be written") from error


def as_array(values: Any) -> np.ndarray:
    """A tensor of any device, or what is an array already."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _items(engine: Engine) -> Iterator[dict[str, Any]]:
    """Each item with its prediction: of a list of items, or of one that is the whole batch (``decollate=False``)."""
    state: Any = engine.state  # ignite types its batch and output as numbers
    whole = isinstance(state.batch, Mapping)
    batches, outputs = ([state.batch], [state.output]) if whole else (state.batch, state.output)
    for batch, output in zip(batches, outputs, strict=True):
        item = {**batch, **output}
        item.pop("image", None)  # the network's input is not written, and need not be held until the rest is
        yield item


def records_of(engine: Engine) -> Iterable[Mapping[str, Any]]:
    """What the run reads, as far as its loader tells."""
    data = getattr(getattr(getattr(engine, "data_loader", None), "dataset", None), "data", None)
    return [record for record in data if isinstance(record, Mapping)] if isinstance(data, (list, tuple)) else []


def _with_booleans(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Switches of the command line, which are texts, as booleans; a folder may have any name."""
    return {
        name: as_flag(value, name)
        if isinstance(value, str) and value.lower() in _SWITCHED and name != "dataset_dir"
        else value
        for name, value in settings.items()
    }


def _network_seconds(engine: Engine) -> float:
    return float(getattr(getattr(engine, "inferer", None), "network_seconds", 0.0))
