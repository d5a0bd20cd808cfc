"""What inference leaves in its output folder, written while the network works on the next image."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from ignite.engine import Engine, Events

from . import __version__
from .checkpoints import file_hash
from .datasets.modality import guess_modality
from .datasets.polygons import instances_to_polygons
from .errors import InputError, Problem
from .flags import as_flag
from .metrics.annotated import AnnotatedScore, score_annotated, score_truth
from .metrics.instances import InstanceScore
from .metrics.summary import ImageRow, write_metrics
from .outputs.class_pictures import write_class_pictures
from .outputs.files import write_text
from .outputs.geojson import write_geojson
from .outputs.labels import write_label_tiff, write_probability_tiff
from .outputs.measurements import measure, write_measurements
from .outputs.png import write_png
from .outputs.rle import encode, write_encodings
from .report.html import ReportImage, metrics_table, write_report
from .report.overlays import overlay, thumbnail

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    """What is kept of one image after its files are written."""

    name: str
    group: str
    modality: str
    columns: dict[str, np.ndarray]
    encodings: dict[int, str]
    overlay_path: Path
    thumbnail: str
    note: str
    score: InstanceScore | None
    annotated: AnnotatedScore | None
    seconds: float


class InstanceResults:
    """Handler of an evaluator: writes labels, polygons, overlays and tables for every image, then summary and report.

    The evaluator's output has ``pred`` (1, rows, columns) instance map, ``confidence``, ``object_diameter``; its batch
    ``source`` (channels, rows, columns), ``name``, ``pixel_size_um`` and, where truth is known, ``label``. Files of one
    image are written by a background thread, each whole or not at all; tables when all images are done.

    Args:
        output_dir: made where it is missing.
        title: heading of the report.
        object_name: class of the objects in GeoJSON.
        weights: file whose hash goes into the summary.
        settings: further values for the summary.
        save_probabilities: write ``<stem>_prob.tif`` (needs ``probability`` in the output).
        submission: write ``submission.csv`` in the Data Science Bowl's run-length format.
        class_pictures: write ``<stem>_class.png`` and ``<stem>_prob.png`` (needs ``probability`` in the output).
        max_pending: images that wait for being written, at most; each is held in memory.
        problems: what was left out before the run; stands in the summary too.
    """

    def __init__(
        self,
        output_dir: str | Path,
        title: str = "Nuclei",
        object_name: str = "Nucleus",
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        save_probabilities: bool | str = False,
        submission: bool = True,
        class_pictures: bool = False,
        max_pending: int = 3,
        problems: list[Problem] | None = None,
    ) -> None:
        self.output_dir, self.title, self.object_name = Path(output_dir), title, object_name
        self.weights, self.settings = weights, dict(settings or {})
        self.save_probabilities = as_flag(save_probabilities, "save_probabilities")
        self.submission, self.class_pictures, self.max_pending = submission, class_pictures, max_pending
        self.written: list[_Written] = []
        self.problems: list[Problem] = []
        self.earlier = [] if problems is None else problems
        self._pending: deque[tuple[str, Future]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._began, self._network_began = 0.0, 0.0
        self._seconds = {"read": 0.0, "decode": 0.0}

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
        self.written, self.problems, self._seconds = [], [], {"read": 0.0, "decode": 0.0}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._began = time.perf_counter()
        self._network_began = float(getattr(_inferer(engine), "network_seconds", 0.0))

    def _collect(self, engine: Engine) -> None:
        state: Any = engine.state  # ignite types its batch and output as numbers
        for batch, output in zip(state.batch, state.output, strict=True):
            item = {**batch, **output}
            for stage in self._seconds:
                self._seconds[stage] += float(item.get(f"seconds_{stage}", 0.0))
            assert self._pool is not None
            self._pending.append((str(item["name"]), self._pool.submit(self._write, item)))
            while len(self._pending) > self.max_pending:
                self._take()

    def _take(self) -> None:
        name, job = self._pending.popleft()
        try:
            self.written.append(job.result())
        except InputError as error:
            self.problems.append(Problem(name, str(error)))
            logger.error("not written: %s", error)

    def _write(self, item: Mapping[str, Any]) -> _Written:
        began = time.perf_counter()
        name, stem = str(item["name"]), self.output_dir / str(item["name"])
        labels = np.ascontiguousarray(_array(item["pred"])[0])
        image = np.moveaxis(_array(item["source"]), 0, -1)
        size = float(item["pixel_size_um"])
        pixel_size = size if np.isfinite(size) else None
        columns = measure(labels, image, _array(item["confidence"]), pixel_size)
        truth = _array(item["label"])[0] if item.get("label") is not None else None
        partial = bool(item.get("partial"))
        write_label_tiff(stem.with_name(f"{name}_label.tif"), labels, pixel_size)
        polygons = instances_to_polygons(labels)
        write_geojson(stem.with_name(f"{name}.geojson"), polygons, name, self.object_name, measurements=columns)
        if self.save_probabilities and "probability" in item:
            probability = np.moveaxis(_array(item["probability"]), 0, -1)
            write_probability_tiff(stem.with_name(f"{name}_prob.tif"), probability, pixel_size)
        if self.class_pictures:
            write_class_pictures(self.output_dir, name, labels, _array(item["probability"])[0])
        picture = stem.with_name(f"{name}_overlay.png")
        write_png(picture, overlay(image, labels, truth))
        return _Written(
            name=name,
            group=str(item.get("group", name)),
            modality=str(item.get("modality") or guess_modality(image)),
            columns=columns,
            encodings=encode(labels) if self.submission else {},
            overlay_path=picture,
            thumbnail=thumbnail(overlay(image, labels, truth, longest=400)),
            note="" if len(columns["object"]) else "nothing found",
            score=None if truth is None else score_truth(truth, labels, partial),
            annotated=score_annotated(truth, labels) if partial and truth is not None else None,
            seconds=time.perf_counter() - began,
        )

    def _finish(self, engine: Engine) -> None:
        while self._pending:
            self._take()
        self._close()
        self.problems = [*getattr(getattr(engine, "data_loader", None), "problems", []), *self.problems]
        self.problems = [*self.earlier, *self.problems]
        wall = time.perf_counter() - self._began
        network = float(getattr(_inferer(engine), "network_seconds", 0.0)) - self._network_began
        seconds = {
            "wall": wall,
            "read": self._seconds["read"],
            "network": network,
            "decode": self._seconds["decode"],
            "write": sum(w.seconds for w in self.written),
        }
        write_measurements(self.output_dir / "measurements.csv", {w.name: w.columns for w in self.written})
        if self.submission:
            write_encodings(self.output_dir / "submission.csv", {w.name: w.encodings for w in self.written})
        rows = [
            ImageRow(w.name, w.group, w.modality, w.score, w.annotated) for w in self.written if w.score is not None
        ]
        metrics = write_metrics(self.output_dir, rows) if rows else None
        summary = self._summary(seconds, metrics)
        write_text(self.output_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
        self._report(summary, metrics)
        logger.info(
            "%d objects in %d images, %.2f s per image; results in %s",
            summary["objects"],
            len(self.written),
            wall / max(len(self.written), 1),
            self.output_dir,
        )

    def _abort(self, engine: Engine, error: Exception) -> None:
        self._close()
        raise error

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _summary(self, seconds: Mapping[str, float], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
        weights = Path(self.weights) if self.weights else None
        return {
            "images": len(self.written),
            "objects": int(sum(len(w.columns["object"]) for w in self.written)),
            "problems": [{"name": p.name, "reason": p.reason} for p in self.problems],
            "images_without_objects": [w.name for w in self.written if not len(w.columns["object"])],
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
            **({"metrics": metrics["metrics"]} if metrics else {}),
        }

    def _report(self, summary: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> None:
        diameters = [w.columns["equivalent_diameter_px"] for w in self.written]
        flat = np.concatenate(diameters) if diameters else np.zeros(0)
        totals: dict[str, Any] = {"images": summary["images"], "objects": summary["objects"]}
        if flat.size:
            totals["median diameter"] = f"{np.median(flat):.1f} px"
        totals["seconds per image"] = round(summary["seconds"]["wall"] / max(summary["images"], 1), 2)
        details = {k: summary[k] for k in ("settings", "weights", "seconds", "versions") if summary[k]}
        write_report(
            self.output_dir / "report.html",
            self.title,
            {"totals": totals, **details},
            [
                ReportImage(
                    w.name,
                    w.overlay_path,
                    len(w.columns["object"]),
                    w.note,
                    {} if w.score is None else w.score.scores(),
                    w.thumbnail,
                )
                for w in self.written
            ],
            [metrics_table(metrics)] if metrics else [],
            [f"{p.name}: {p.reason}" for p in self.problems],
            {"diameter (px)": flat.tolist()} if flat.size else None,
        )


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


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _inferer(engine: Engine) -> Any:
    return getattr(engine, "inferer", None)
