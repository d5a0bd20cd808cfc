"""The end of a training: when it gets no better, with the weights that were best; and its course as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ...outputs.files import write_text
from ...report.svg import curves


class BestAndStop:
    """Keeps the weights that validated best, ends the training when they get no better for a while, and puts them back.

    Ignite's ``EarlyStopping`` counts but keeps no weights. Attach it to the trainer after all else: it acts at the end of an
    epoch, before what is saved at the end of the training. Figures of the images that stopped a training are no test: so
    this is off where no other images are kept for one.

    Args:
        network: whose weights are kept (the moving average, usually).
        evaluator: whose key metric is watched, larger being better.
        patience: validations without improvement after which it ends; 0 never ends and keeps the last weights.
    """

    def __init__(self, network: torch.nn.Module, evaluator: Engine, patience: int = 5) -> None:
        self.network, self.evaluator, self.patience = network, evaluator, int(patience)
        self.best, self.waited = float("-inf"), 0
        self._weights: dict[str, torch.Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Follow the trainer and its validations."""
        if self.patience > 0:
            self.evaluator.add_event_handler(Events.COMPLETED, self._judge, engine)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _judge(self, evaluator: Engine, trainer: Engine) -> None:
        name = evaluator.state.key_metric_name  # type: ignore[attr-defined]
        value = float(evaluator.state.metrics[name])
        if value > self.best:
            self.best, self.waited = value, 0
            self._weights = {key: values.detach().cpu().clone() for key, values in self.network.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.terminate()

    def _finish(self, trainer: Engine) -> None:
        ends = trainer.should_terminate or trainer.state.epoch == trainer.state.max_epochs
        if ends and self._weights:
            self.network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on: the best figure, the epochs since, the weights."""
        return {"best": self.best, "waited": self.waited, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.best, self.waited, self._weights = state["best"], state["waited"], state["weights"]


class LossCurve:
    """The loss of each epoch as a picture, drawn anew after each epoch.

    Args:
        path: of the picture, an SVG.
        log: the table that :class:`...engine.progress.ProgressHandler` writes for the training.
    """

    def __init__(self, path: str | Path, log: str | Path) -> None:
        self.path, self.log = Path(path), Path(log)

    def attach(self, engine: Engine) -> None:
        """Draw when an epoch ends; attach it after what writes the table."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.draw)

    def draw(self, engine: Engine | None = None) -> None:
        """Draw what the table holds; nothing where that is one epoch only."""
        losses = _column(self.log, "loss")
        if len(losses) < 2:
            return
        write_text(self.path, curves(sorted(losses), {"loss": [losses[e] for e in sorted(losses)]}, "epoch"))


def _column(path: Path, name: str) -> dict[float, float]:
    """Values of a column by epoch, the latest where an epoch was run twice."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {float(row["epoch"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}
