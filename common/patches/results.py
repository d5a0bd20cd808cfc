"""What a run that classifies images leaves in its output folder, written while the network works on the next image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..engine.results import RunResults, as_array
from ..errors import InputError, Problem
from ..flags import as_flag, as_number
from ..images.magnification import assumption
from ..metrics.classification_summary import write_class_metrics
from ..outputs.png import write_png
from ..report.overlays import thumbnail
from .predictions import (
    Prediction,
    SlidePrediction,
    class_name,
    predict_image,
    predict_slides,
    write_predictions,
    write_slides,
)
from .report import write_class_report
from .telling import TellingPatches
from .vote_map import tinted, vote_map
from .votes import PatchVotes

logger = logging.getLogger(__name__)

_THUMBNAIL, _SHEET = 300, 1240  # px


@dataclass(frozen=True)
class _Written:
    """What is kept of one image after its files are written."""

    prediction: Prediction
    thumbnail: str
    assumed_scale: float | None


class ClassResults(RunResults[_Written]):
    """Handler of an evaluator with ``decollate=False``: writes the votes over every image, then tables, summary, report.

    An item is one image: :class:`.transforms.ReadTissued` and :class:`.transforms.PatchVotesd` say what it
    holds. ``<name>_votes.png`` is written by a background thread, whole or not at all; ``predictions.csv``,
    ``slides.csv`` (:mod:`.predictions`), ``telling_patches.png``, ``summary.json``, ``report.html`` and, with truth, the
    metrics of :mod:`..metrics.classification_summary` when all images are done.

    Args:
        output_dir: made where it is missing.
        class_names: in the order of the network's outputs.
        title: heading of the report.
        certain_margin: margin of the image's probabilities from which its class is certain, 0 to 1.
        weights: file whose hash goes into the summary.
        settings: further values for the summary.
        save_vote_maps: write ``<name>_votes.png``.
        telling: patches of each class on the sheet of telling ones; 0 leaves it out.
        max_pending: images that wait for being written, at most; each is held in memory.
        problems: what was left out before the run; stands in the summary too.

    Raises:
        InputError: a switch that is none, a margin outside 0 to 1, or a number of patches below 0.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        title: str = "Classes",
        certain_margin: float = 0.0,
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        save_vote_maps: bool | str = True,
        telling: int = 8,
        max_pending: int = 3,
        problems: list[Problem] | None = None,
    ) -> None:
        super().__init__(output_dir, weights, settings, max_pending, problems)
        if as_number(certain_margin, "certain_margin") > 1:
            raise InputError("--certain_margin", repr(certain_margin), "a number from 0 to 1")
        self.class_names, self.title, self.certain_margin = tuple(class_names), title, certain_margin
        self.save_vote_maps = as_flag(save_vote_maps, "save_vote_maps")
        self.telling = int(as_number(telling, "telling", whole=True))
        self._telling = TellingPatches(self.class_names, self.telling)

    def _start(self, engine: Engine) -> None:
        self._telling = TellingPatches(self.class_names, self.telling)
        super()._start(engine)

    def _write(self, item: Mapping[str, Any]) -> _Written:
        prediction = predict_image(item, self.certain_margin)
        votes: PatchVotes = item["pred"]
        if len(prediction.probabilities) != len(self.class_names):
            raise ValueError(f"{len(prediction.probabilities)} classes of the network, names {self.class_names}")
        pixels, scale = as_array(item["pixels"]), float(item["scale"])
        picture = ""
        if self.save_vote_maps:
            coloured, heading = tinted(pixels, votes, scale), self._heading(prediction)
            shares, counts = prediction.probabilities, prediction.votes
            drawn = vote_map(pixels, coloured, self.class_names, shares, counts, heading)
            write_png(self.output_dir / f"{prediction.name}_votes.png", drawn)
            picture = thumbnail(coloured, _THUMBNAIL)
        if self.telling > 0:
            truth = class_name(prediction.truth, self.class_names)
            self._telling.add(prediction.name, pixels, votes, scale, truth)
        return _Written(prediction, picture, item.get("assumed_scale"))

    def _heading(self, prediction: Prediction) -> str:
        found = class_name(prediction.predicted, self.class_names) or prediction.note
        truth = f", truth {class_name(prediction.truth, self.class_names)}" if prediction.truth is not None else ""
        doubt = " (uncertain)" if prediction.predicted >= 0 and not prediction.certain else ""
        return f"{prediction.name}: {found}{doubt}{truth}"

    def _complete(self, seconds: Mapping[str, float]) -> None:
        predictions = [written.prediction for written in self.written]
        slides = predict_slides(predictions, self.certain_margin)
        write_predictions(self.output_dir, predictions, self.class_names)
        write_slides(self.output_dir, slides, self.class_names)
        sheet = self._sheet() if predictions and self.telling > 0 else None
        rows = [prediction.row() for prediction in predictions if prediction.truth is not None]
        metrics = write_class_metrics(self.output_dir, rows, self.class_names) if rows else None
        summary = self._summary(seconds, predictions, slides, metrics)
        self._write_summary(summary)
        write_class_report(
            self.output_dir,
            self.title,
            summary,
            predictions,
            slides,
            self.class_names,
            {written.prediction.name: written.thumbnail for written in self.written if written.thumbnail},
            "" if sheet is None else thumbnail(sheet, _SHEET),
            metrics,
        )
        each = seconds["wall"] / max(len(predictions), 1)
        logger.info("%d images, %.2f s per image; results in %s", len(predictions), each, self.output_dir)

    def _sheet(self) -> np.ndarray:
        sheet = self._telling.sheet()
        write_png(self.output_dir / "telling_patches.png", sheet)
        return sheet

    def _summary(
        self,
        seconds: Mapping[str, float],
        predictions: Sequence[Prediction],
        slides: Sequence[SlidePrediction],
        metrics: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        counts = [sum(image.predicted == index for image in predictions) for index in range(len(self.class_names))]
        known = [image for image in predictions if image.predicted >= 0]
        assumed = {w.prediction.name: w.assumed_scale for w in self.written if w.assumed_scale is not None}
        scales = " or ".join(f"{scale:g}" for scale in sorted(set(assumed.values())))
        taken = f"{scales} of the file's pixels per pixel at 40x"
        return {
            "images": len(predictions),
            "slides": len(slides),
            "images_of_class": dict(zip(self.class_names, counts, strict=True)),
            "certain_margin": self.certain_margin,
            "uncertain_images": [image.name for image in known if not image.certain],
            "images_without_tissue": [image.name for image in predictions if image.predicted < 0],
            "images_of_assumed_scale": len(assumed),
            "assumptions": assumption(list(assumed), len(predictions), "scale", taken, "--image_scale"),
            "patches": sum(image.patches for image in predictions),
            "white_patches": sum(image.white for image in predictions),
            **self._run_summary(seconds),
            **({"metrics": metrics["metrics"]} if metrics else {}),
        }
