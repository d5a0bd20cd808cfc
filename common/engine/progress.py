"""A progress bar for MONAI engines, and a table of what each epoch gave."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm


class ProgressHandler:
    """A bar over the epochs' iterations with the latest loss, and one line of a CSV file per epoch.

    Args:
        description: what stands before the bar.
        log_path: CSV file to append to: epoch, seconds, mean loss, metrics; None writes none.
        show: whether to show the bar (never where the output is no terminal).
    """

    def __init__(self, description: str, log_path: str | Path | None = None, show: bool = True) -> None:
        self.description, self.log_path, self.show = description, Path(log_path) if log_path else None, show
        self._bar: tqdm | None = None
        self._began, self._losses = time.perf_counter(), [0.0, 0.0]

    def attach(self, engine: Engine) -> None:
        """Follow the engine's epochs."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _start(self, engine: Engine) -> None:
        total = engine.state.epoch_length or getattr(getattr(engine, "data_loader", None), "total", None)
        epochs = engine.state.max_epochs or 1
        name = f"{self.description} {engine.state.epoch}/{epochs}" if epochs > 1 else self.description
        self._bar = tqdm(total=total, desc=name, disable=None if self.show else True, leave=False)
        self._began, self._losses = time.perf_counter(), [0.0, 0.0]

    def _step(self, engine: Engine) -> None:
        loss = _loss(engine.state.output)
        if loss is not None:
            self._losses = [self._losses[0] + loss, self._losses[1] + 1]
        if self._bar is not None:
            if loss is not None:
                self._bar.set_postfix(loss=f"{self._losses[0] / self._losses[1]:.4f}", refresh=False)
            self._bar.update()

    def _end(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
        if self.log_path is None:
            return
        row: dict[str, Any] = {"epoch": engine.state.epoch, "seconds": round(time.perf_counter() - self._began, 1)}
        if self._losses[1]:
            row["loss"] = round(self._losses[0] / self._losses[1], 5)
        row.update({name: round(float(value), 5) for name, value in engine.state.metrics.items()})
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.log_path.exists()
        with self.log_path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)


def _loss(output: Any) -> float | None:
    """The loss in an engine's output, where there is one."""
    item = output[0] if isinstance(output, list) and output else output
    value = item.get("loss") if isinstance(item, dict) else None
    return None if value is None else float(value.detach() if hasattr(value, "detach") else value)
