"""Handler of an evaluator that chooses the decision threshold on the images that go through it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ..outputs.files import write_text
from .instances import DecodeSettings
from .thresholds import FOREGROUND_GRID, ThresholdChoice, ThresholdSearch, ValidationMaps, choose, write_choice

logger = logging.getLogger(__name__)


class ThresholdHandler:
    """Choose the threshold on validation images and store it, as JSON and as a picture of the curves (SVG).

    The evaluator's output has ``pred`` (2, rows, columns), the network's maps before any post-processing, and ``label``
    (1, rows, columns), the instances; where its batch says ``partial`` only what is annotated counts.

    Args:
        path: where the choice goes; the picture lies beside it, ending in ``.svg``. An earlier choice is replaced.
        criterion: the score to choose by, see :data:`.thresholds.CRITERIA`.
        thresholds: foreground thresholds to try.
        settings: everything else about decoding.
        diameter: expected diameter of the objects in pixels, where the maps do not tell.

    Attributes:
        choice: what was chosen, after the run.
    """

    def __init__(
        self,
        path: str | Path,
        criterion: str = "dice",
        thresholds: Sequence[float] = FOREGROUND_GRID,
        settings: DecodeSettings | None = None,
        diameter: float = 32.0,
    ) -> None:
        self.path, self.criterion, self.diameter = Path(path), criterion, diameter
        self.thresholds, self.settings = thresholds, settings or DecodeSettings()
        self.choice: ThresholdChoice | None = None
        self._search = ThresholdSearch(thresholds, settings=self.settings)

    def attach(self, engine: Engine) -> None:
        """Follow the engine's run."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._search = ThresholdSearch(self.thresholds, settings=self.settings)

    def _add(self, engine: Engine) -> None:
        state: Any = engine.state  # ignite types its batch and output as numbers
        for batch, output in zip(state.batch, state.output, strict=True):
            maps = output["pred"]
            truth = np.asarray(output["label"])[0].astype(np.int32)
            diameter = float(getattr(maps, "meta", {}).get("object_diameter", self.diameter))
            foreground, distance = np.asarray(maps.detach().cpu(), np.float32)
            known = truth if batch.get("partial") else None
            self._search.add(ValidationMaps(foreground, distance, truth, diameter, known))

    def _finish(self, engine: Engine) -> None:
        self.choice = choose(self._search.curves(), self.criterion)
        write_choice(self.path, self.choice)
        write_text(self.path.with_suffix(".svg"), self.choice.svg())
        curve = self.choice.curve
        at = curve.thresholds.index(self.choice.foreground)
        logger.info(
            "threshold %g: Dice %.4f, AJI %.4f, F1 %.4f, PQ %.4f on %d images; in %s",
            *(self.choice.foreground, curve.dice[at], curve.aji[at], curve.f1[at], curve.pq[at], curve.images),
            self.path,
        )
