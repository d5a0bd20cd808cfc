"""What a run over sequences of frames leaves in its output folder, written while the network works on the next frames."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.polygons import instances_to_polygons
from ...engine.results import RunResults, as_array
from ...errors import Problem
from ...flags import as_flag, as_number
from ...metrics.frames import score_frames
from ...outputs.files import write_text
from ...outputs.geojson import feature_collection
from ...outputs.labels import write_label_tiff, write_probability_tiff
from ...outputs.png import write_png
from ...report.animation import write_animation
from ...report.overlays import overlay, thumbnail
from ..objects.shape import Row
from .files import PagesWriter
from .pictures import OTHERS, Look, frame_picture, look_of, shown_frames, side_by_side, tile_frames
from .report import SequenceReport, write_frames_report
from .scores import FrameScore, mean_scores, write_scores
from .tables import frame_rows, missing_row, write_measurements

logger = logging.getLogger(__name__)

_ARRAYS = ("pred", "pixels", "ids", "truth", "probability")
_FEWEST_FRAMES = 3  # of a movie
_MS_PER_PICTURE = 100.0
_THUMBNAIL, _CARD = 1100, 400  # px


@dataclass(eq=False)
class _Open:
    """A sequence of which more frames may come."""

    name: str
    of: int
    look: Look | None = None
    pages: int = 0
    item: dict[str, Any] = field(default_factory=dict)  # what names frames, of the latest item
    blank: dict[str, np.ndarray] = field(default_factory=dict)
    labels: PagesWriter | None = None
    ids: PagesWriter | None = None
    probability: PagesWriter | None = None
    tiles: list[np.ndarray] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)

    def writers(self) -> list[PagesWriter]:
        return [writer for writer in (self.labels, self.ids, self.probability) if writer is not None]

    def add(self, frame: Mapping[str, np.ndarray]) -> None:
        """The pages of the next frame: (rows, columns) of ``pred`` and ``ids``, (classes, ...) of ``probability``."""
        for key, writer in (("pred", self.labels), ("ids", self.ids), ("probability", self.probability)):
            if writer is not None:
                for page in frame[key] if frame[key].ndim == 3 else [frame[key]]:
                    writer.add(page)
        self.pages += 1


@dataclass(eq=False)
class _Sequence:
    """What is kept of a sequence after its files are written."""

    name: str
    of: int
    frames: int = 0
    missing: list[int] = field(default_factory=list)  # counted from 1
    rows: list[Row] = field(default_factory=list)
    scores: list[FrameScore] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    pixel_size_um: float | None = None
    overlay: str = ""
    movie: Path | None = None


class FrameResults(RunResults[str]):
    """Handler of an evaluator with ``decollate=False``: labels, outlines, measurements and movies of sequences of frames.

    An item is some frames of a sequence (:class:`..transforms.ReadFramesd`, :class:`..objects.main.MainObjectd`); those of
    one sequence come in order. Of each sequence ``<name>_label.tif`` (a page per frame, an empty one where it could not be
    read; likewise a row of the table), ``<name>_overlay.png``,
    ``<name>_movie.gif`` from three frames on, and of a single image ``<name>.geojson``; of several objects
    ``<name>_objects.tif`` with their numbers. When all are done ``measurements.csv`` (:func:`.tables.frame_rows`),
    ``summary.json``, ``report.html`` and, with ``truth``, ``metrics.json`` and ``metrics_per_image.csv``
    (:mod:`.scores`).

    Args:
        output_dir: made where it is missing.
        title: heading of the report.
        object_name: what is measured.
        num_classes: with the background.
        class_names: of the classes from 1 on; None: "class 1" and so on, of one class ``object_name``.
        pixel_size_um: width of a pixel, where the files do not tell it or tell it wrongly.
        minutes_per_frame: time from frame to frame, likewise.
        weights: file whose hash goes into the summary.
        settings: further values for the summary.
        save_probabilities: write ``<name>_prob.tif`` (needs ``probability`` in the output): a page per frame and class.
        max_pending: items that wait for being written, at most; each is held in memory.
        problems: what was left out before the run; stands in the summary too.

    Raises:
        InputError: a switch that is none, a width or time that is not above 0.
        ValueError: another number of names than of classes.
    """

    def __init__(
        self,
        output_dir: str | Path,
        title: str = "Aggregates in brightfield",
        object_name: str = "Aggregate",
        num_classes: int = 2,
        class_names: Sequence[str] | None = None,
        pixel_size_um: float | None = None,
        minutes_per_frame: float | None = None,
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        save_probabilities: bool | str = False,
        max_pending: int = 2,
        problems: list[Problem] | None = None,
    ) -> None:
        super().__init__(output_dir, weights, settings, max_pending, problems)
        numbered = [object_name] if num_classes == 2 else [f"class {n}" for n in range(1, num_classes)]
        self.class_names = list(class_names or numbered)
        if len(self.class_names) != num_classes - 1:
            raise ValueError(f"{len(self.class_names)} names of {num_classes - 1} classes besides the background")
        self.title, self.object_name = title, object_name
        self.pixel_size_um = _positive(pixel_size_um, "pixel_size_um")
        self.minutes_per_frame = _positive(minutes_per_frame, "minutes_per_frame")
        self.save_probabilities = as_flag(save_probabilities, "save_probabilities")
        self._sequences: dict[str, _Sequence] = {}
        self._open: dict[str, _Open] = {}

    def _start(self, engine: Any) -> None:
        super()._start(engine)
        self._sequences, self._open = {}, {}

    def _abort(self, engine: Any, error: Exception) -> None:
        for running in self._open.values():
            for writer in running.writers():
                writer.discard()
        super()._abort(engine, error)

    def _write(self, item: Mapping[str, Any]) -> str:
        own = {key: as_array(value) if key in _ARRAYS and value is not None else value for key, value in item.items()}
        size = self.pixel_size_um or item.get("pixel_size_um")
        own["pixel_size_um"] = size
        if self.minutes_per_frame:
            own["seconds_per_frame"] = 60 * self.minutes_per_frame
        name, count = str(own["name"]), len(own["pred"])
        of = int(own.get("of") or count)
        own.setdefault("numbers", tuple(range(int(own.get("first", 0)), int(own.get("first", 0)) + count)))
        own.setdefault("frames", tuple(str(number + 1) for number in own["numbers"]))
        kept = self._sequences.setdefault(name, _Sequence(name, of))
        rows = frame_rows(own, self.class_names, self.object_name, own.get("objects") == "each_class")
        kept.frames += count
        kept.rows += rows
        if of == 1:
            kept.overlay = self._write_single(own, rows)
        else:
            running = self._open.get(name) or self._open.setdefault(name, _Open(name, of))
            self._add(running, own)
            if int(own.get("first", 0)) + int(own.get("count") or count) >= of:
                self._close_sequence(running)
        kept.notes |= dict.fromkeys(own.get("notes") or ())
        kept.pixel_size_um = size
        kept.scores += self._scored(own)
        return name

    def _scored(self, item: Mapping[str, Any]) -> list[FrameScore]:
        if item.get("truth") is None:
            return []
        found = score_frames(item["pred"], item["truth"], len(self.class_names))
        group = str(item.get("group") or item["name"])
        return [
            FrameScore(str(item["name"]), number + 1, group, scores)
            for number, scores in zip(item["numbers"], found, strict=True)
        ]

    def _write_single(self, item: Mapping[str, Any], rows: Sequence[Row]) -> str:
        """Files of an image; the thumbnail of its overlay."""
        stem, size = f"{self.output_dir / item['name']}", item["pixel_size_um"]
        classes, frame = item["pred"][0], item["pixels"][0]
        shown = item["ids"][0] if item.get("ids") is not None else classes
        truth = item["truth"][0] if item.get("truth") is not None else None
        write_label_tiff(f"{stem}_label.tif", classes, size)
        if item.get("ids") is not None:
            write_label_tiff(f"{stem}_objects.tif", item["ids"][0], size)
        if self.save_probabilities and item.get("probability") is not None:
            probability = item["probability"][0]
            write_probability_tiff(f"{stem}_prob.tif", probability[0] if len(probability) == 1 else probability, size)
        self._write_geojson(Path(f"{stem}.geojson"), item, rows)
        picture = frame if frame.ndim == 2 or frame.shape[-1] in (1, 3) else frame[..., 0]
        write_png(f"{stem}_overlay.png", overlay(picture, shown, truth))
        return thumbnail(overlay(picture, shown, truth, longest=_CARD))

    def _write_geojson(self, path: Path, item: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """Outlines as QuPath reads them: of the objects, or of every class where there are several."""
        classes, name = item["pred"][0], str(item["name"])
        if item.get("ids") is not None or len(self.class_names) == 1:
            labels = item["ids"][0] if item.get("ids") is not None else (classes > 0).astype(np.uint8)
            found = [row for row in rows if row.get("object") is not None]
            columns = {
                key: np.array([row["object"] if key == "object" else _number(row.get(key)) for row in found])
                for key in (found[0] if found else ())
                if key not in ("image", "frame", "frame_name", "time_h", "class", "note")
            }
            features = feature_collection(instances_to_polygons(labels), name, self.object_name, measurements=columns)
        else:
            features = feature_collection([], name)
            for index, own in enumerate(self.class_names):
                polygons = instances_to_polygons(np.where(classes == index + 1, index + 1, 0).astype(np.uint8))
                colour = OTHERS[index % len(OTHERS)]
                features["features"] += feature_collection(polygons, name, own, colour)["features"]
        write_text(path, json.dumps(features, separators=(",", ":"), allow_nan=False))

    def _add(self, running: _Open, item: Mapping[str, Any]) -> None:
        """Pages and pictures of some frames of a sequence."""
        stem, size = f"{self.output_dir / running.name}", item["pixel_size_um"]
        running.labels = running.labels or PagesWriter(Path(f"{stem}_label.tif"), size)
        if item.get("ids") is not None:
            running.ids = running.ids or PagesWriter(Path(f"{stem}_objects.tif"), size)
        probability = item.get("probability") if self.save_probabilities else None
        if probability is not None:
            running.probability = running.probability or PagesWriter(Path(f"{stem}_prob.tif"), size)
        running.look = running.look or look_of(item["pixels"])
        frames = {key: item[key] for key in ("pred", "ids", "probability") if item.get(key) is not None}
        running.blank = {key: np.zeros_like(values[0]) for key, values in frames.items()}
        running.item = {key: item.get(key) for key in ("name", "first", "source", "seconds_per_frame")}
        in_movie, in_tiles = set(shown_frames(running.of)), set(tile_frames(running.of))
        shown = item["ids"] if item.get("ids") is not None else item["pred"]
        for index, number in enumerate(item["numbers"]):
            self._skip_to(running, number)
            running.add({key: values[index] for key, values in frames.items()})
            if number in in_movie or number in in_tiles:
                truth = None if item.get("truth") is None else item["truth"][index]
                text = _caption(item, index)
                picture = frame_picture(item["pixels"][index], shown[index], running.look, text, truth)
                running.pictures += [picture] if number in in_movie else []
                running.tiles += [picture] if number in in_tiles else []

    def _skip_to(self, running: _Open, number: int) -> None:
        """An empty page and row for each frame that could not be read, so that pages and frames go together."""
        kept = self._sequences[running.name]
        for missing in range(running.pages, number):
            running.add(running.blank)
            kept.rows.append(missing_row(running.item, missing))
            kept.missing.append(missing + 1)

    def _close_sequence(self, running: _Open) -> None:
        """What can be written only when all frames of a sequence are there."""
        kept = self._sequences[running.name]
        self._open.pop(running.name, None)
        self._skip_to(running, running.of)
        kept.rows.sort(key=lambda row: row["frame"])
        for writer in running.writers():
            writer.close()
        if running.tiles:
            sheet = side_by_side(running.tiles)
            write_png(self.output_dir / f"{running.name}_overlay.png", sheet)
            kept.overlay = thumbnail(sheet, _THUMBNAIL)
        if len(running.pictures) >= _FEWEST_FRAMES:
            kept.movie = self.output_dir / f"{running.name}_movie.gif"
            write_animation(kept.movie, running.pictures, _MS_PER_PICTURE)

    def _complete(self, seconds: Mapping[str, float]) -> None:
        for running in list(self._open.values()):  # the last frames could not be read
            self._close_sequence(running)
        sequences = list(self._sequences.values())
        for one in sequences:
            if one.frames < one.of:
                one.notes[f"frames left out: {one.of - one.frames} of {one.of}"] = None
        rows = [row for one in sequences for row in one.rows]
        write_measurements(self.output_dir / "measurements.csv", rows)
        scores = [score for one in sequences for score in one.scores]
        metrics = write_scores(self.output_dir, scores) if scores else None
        summary = self._summary(seconds, sequences, metrics)
        self._write_summary(summary)
        shown = [
            SequenceReport(one.name, one.rows, one.overlay, one.movie, one.of, list(one.notes), mean_scores(one.scores))
            for one in sequences
        ]
        write_frames_report(self.output_dir, self.title, summary, shown, metrics)
        frames = max(summary["frames"], 1)
        logger.info(
            "%d objects in %d frames of %d images or sequences, %.3f s per frame; results in %s",
            summary["objects"],
            summary["frames"],
            len(sequences),
            seconds["wall"] / frames,
            self.output_dir,
        )

    def _summary(
        self, seconds: Mapping[str, float], sequences: Sequence[_Sequence], metrics: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        empty = {
            one.name: [
                row["frame"] for row in one.rows if row.get("object") is None and row["frame"] not in one.missing
            ]
            for one in sequences
        }
        return {
            "images": len(sequences),
            "frames": sum(one.frames for one in sequences),
            "objects": sum(row.get("object") is not None for one in sequences for row in one.rows),
            "frames_without_object": sum(map(len, empty.values())),
            **self._run_summary(seconds),
            "each_image": {
                one.name: {
                    "frames": one.frames,
                    "frames_without_object": empty[one.name],
                    **({"frames_left_out": one.missing} if one.missing else {}),
                    "pixel_size_um": one.pixel_size_um,
                    "notes": list(one.notes),
                }
                for one in sequences
            },
            **({"metrics": metrics["metrics"]} if metrics else {}),
        }


def _positive(value: Any, name: str) -> float | None:
    return None if value is None else as_number(value, name, above=True)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _caption(item: Mapping[str, Any], index: int) -> str:
    """Such as "frame 12, 5.5 h"."""
    number, interval = int(item["numbers"][index]), item.get("seconds_per_frame")
    return f"frame {number + 1}" + (f", {number * interval / 3600:.1f} h" if interval else "")
