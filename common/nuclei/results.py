"""What inference leaves in its output folder, written while the network works on the next image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..datasets.polygons import instances_to_polygons
from ..engine.results import RunResults, as_array, records_of, report_details, report_problems
from ..errors import Problem
from ..flags import as_flag
from ..images.magnification import assumption
from ..images.modality import guess_modality
from ..metrics.annotated import AnnotatedScore, score_annotated, score_truth
from ..metrics.instance_summary import ImageRow, write_metrics
from ..metrics.instances import InstanceScore
from ..outputs.class_pictures import write_class_pictures
from ..outputs.coco import CocoImage, write_coco
from ..outputs.geojson import write_geojson
from ..outputs.labels import write_label_tiff, write_probability_tiff
from ..outputs.measurements import measure, write_measurements
from ..outputs.png import write_png
from ..outputs.rle import encode, write_encodings
from ..report.html import ReportImage, metrics_table, write_report
from ..report.overlays import overlay, thumbnail

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    """What is kept of one image after its files are written."""

    name: str
    group: str
    modality: str
    columns: dict[str, np.ndarray]
    encodings: dict[int, str]
    coco: CocoImage | None
    overlay_path: Path
    thumbnail: str
    note: str
    assumed_mpp: float
    score: InstanceScore | None
    annotated: AnnotatedScore | None


class InstanceResults(RunResults[_Written]):
    """Handler of an evaluator: writes labels, polygons, overlays and tables for every image, then summary and report.

    The evaluator's output has ``pred`` (1, rows, columns) instance map, ``confidence``, ``object_diameter``; its batch
    ``source`` (channels, rows, columns), ``name``, ``pixel_size_um``, where it was assumed ``assumed_mpp`` (else NaN or
    absent) and, where truth is known, ``label``. Files of one image are written by a background thread, each whole or not
    at all; tables when all images are done.

    Args:
        output_dir: made where it is missing.
        title: heading of the report.
        object_name: class of the objects in GeoJSON.
        weights: file whose hash goes into the summary.
        settings: further values for the summary.
        save_probabilities: write ``<stem>_prob.tif`` (needs ``probability`` in the output).
        submission: write ``submission.csv`` in the Data Science Bowl's run-length format.
        coco: write ``coco.json`` of the whole run, see :mod:`..outputs.coco`.
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
        coco: bool | str = False,
        class_pictures: bool = False,
        max_pending: int = 3,
        problems: list[Problem] | None = None,
    ) -> None:
        super().__init__(output_dir, weights, settings, max_pending, problems)
        self.title, self.object_name = title, object_name
        self.save_probabilities = as_flag(save_probabilities, "save_probabilities")
        self.submission, self.coco, self.class_pictures = submission, as_flag(coco, "coco"), class_pictures
        self._files_of: dict[str, str] = {}

    def _start(self, engine: Engine) -> None:
        self._files_of = {str(record.get("name")): Path(str(record.get("image"))).name for record in records_of(engine)}
        super()._start(engine)

    def _write(self, item: Mapping[str, Any]) -> _Written:
        name, stem = str(item["name"]), self.output_dir / str(item["name"])
        file = self._files_of.get(name, name)
        labels = np.ascontiguousarray(as_array(item["pred"])[0])
        image = np.moveaxis(as_array(item["source"]), 0, -1)
        size = float(item["pixel_size_um"])
        pixel_size = size if np.isfinite(size) else None
        columns = measure(labels, image, as_array(item["confidence"]), pixel_size)
        truth = as_array(item["label"])[0] if item.get("label") is not None else None
        partial = bool(item.get("partial"))
        write_label_tiff(stem.with_name(f"{name}_label.tif"), labels, pixel_size)
        polygons = instances_to_polygons(labels)
        write_geojson(stem.with_name(f"{name}.geojson"), polygons, name, self.object_name, measurements=columns)
        if self.save_probabilities and "probability" in item:
            write_probability_tiff(stem.with_name(f"{name}_prob.tif"), as_array(item["probability"])[0], pixel_size)
        if self.class_pictures:
            write_class_pictures(self.output_dir, name, labels, as_array(item["probability"])[0])
        picture = stem.with_name(f"{name}_overlay.png")
        write_png(picture, overlay(image, labels, truth))
        return _Written(
            name=name,
            group=str(item.get("group", name)),
            modality=str(item.get("modality") or guess_modality(image)),
            columns=columns,
            encodings=encode(labels) if self.submission else {},
            coco=CocoImage(file, labels.shape[0], labels.shape[1], polygons, columns["confidence"].tolist())
            if self.coco
            else None,
            overlay_path=picture,
            thumbnail=thumbnail(overlay(image, labels, truth, longest=400)),
            assumed_mpp=float(item.get("assumed_mpp", np.nan)),
            note="" if len(columns["object"]) else "nothing found",
            score=None if truth is None else score_truth(truth, labels, partial),
            annotated=score_annotated(truth, labels) if partial and truth is not None else None,
        )

    def _complete(self, seconds: Mapping[str, float]) -> None:
        write_measurements(self.output_dir / "measurements.csv", {w.name: w.columns for w in self.written})
        if self.submission:
            write_encodings(self.output_dir / "submission.csv", {w.name: w.encodings for w in self.written})
        if self.coco:
            write_coco(self.output_dir / "coco.json", [w.coco for w in self.written if w.coco], self.object_name)
        rows = [
            ImageRow(w.name, w.group, w.modality, w.score, w.annotated) for w in self.written if w.score is not None
        ]
        metrics = write_metrics(self.output_dir, rows) if rows else None
        summary = self._summary(seconds, metrics)
        self._write_summary(summary)
        self._report(summary, metrics)
        logger.info(
            "%d objects in %d images, %.2f s per image; results in %s",
            summary["objects"],
            len(self.written),
            seconds["wall"] / max(len(self.written), 1),
            self.output_dir,
        )

    def _summary(self, seconds: Mapping[str, float], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
        assumed = {w.name: w.assumed_mpp for w in self.written if np.isfinite(w.assumed_mpp)}
        sizes = " or ".join(f"{size:g} um" for size in sorted(set(assumed.values())))
        return {
            "images": len(self.written),
            "objects": int(sum(len(w.columns["object"]) for w in self.written)),
            "images_without_objects": [w.name for w in self.written if not len(w.columns["object"])],
            "images_of_assumed_pixel_size": len(assumed),
            "assumptions": assumption(list(assumed), len(self.written), "pixel size", sizes, "--mpp"),
            **self._run_summary(seconds),
            **({"metrics": metrics["metrics"]} if metrics else {}),
        }

    def _report(self, summary: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> None:
        diameters = [w.columns["equivalent_diameter_px"] for w in self.written]
        flat = np.concatenate(diameters) if diameters else np.zeros(0)
        totals: dict[str, Any] = {"images": summary["images"], "objects": summary["objects"]}
        if flat.size:
            totals["median diameter"] = f"{np.median(flat):.1f} px"
        totals["seconds per image"] = round(summary["seconds"]["wall"] / max(summary["images"], 1), 2)
        write_report(
            self.output_dir / "report.html",
            self.title,
            {"totals": totals, **report_details(summary)},
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
            report_problems(summary),
            {"diameter (px)": flat.tolist()} if flat.size else None,
        )
