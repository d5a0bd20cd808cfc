"""What a run over cine stacks leaves in its output folder, written while the network works on the next stack."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...engine.results import RunResults, as_array
from ...errors import InputError, Problem
from ...flags import as_flag
from ...outputs.tables import write_table
from ...report.overlays import thumbnail
from ..function import HeartFunction
from ..scores.summary import FrameRow, StackVolumes, score_stack, volumes_of, write_cardiac_metrics
from .files import (
    seg_choice,
    write_cine,
    write_contours,
    write_frames,
    write_overlay,
    write_segmentations,
    write_volumes,
)
from .report import StackReport, write_cine_report
from .tables import (
    FRAME_COLUMNS,
    FUNCTION_COLUMNS,
    VOLUME_COLUMNS,
    Row,
    frame_rows,
    function_row,
    stack_function,
    volume_rows,
)

logger = logging.getLogger(__name__)

_ARRAYS = ("pred", "pixels", "present", "instances", "probability", "truth", "drawn", "myocardium_known")
_THUMBNAIL = 1100  # px


@dataclass(frozen=True, eq=False)
class _Written:
    """What is kept of one stack after its files are written."""

    name: str
    phase_numbers: list[int]
    function: HeartFunction
    facts: dict[str, Any]
    frames: list[Row]
    overlay: str
    animation: Path | None
    scores: list[FrameRow]
    volumes: StackVolumes | None
    seconds: dict[str, float]


class CineResults(RunResults[_Written]):
    """Handler of an evaluator with ``decollate=False``: writes what was found in each stack, then tables and report.

    An item is one stack: :class:`..transforms.ReadStackd` and :class:`..transforms.LvStackd` say what it holds. Files of one
    stack (:mod:`.files`) are written by a background thread, each whole or not at all; ``measurements.csv``,
    ``volumes.csv``, ``function.csv`` (:mod:`.tables`), ``summary.json``, ``report.html`` and, with truth, the metrics of
    :mod:`..scores.summary` when all stacks are done. Identifying DICOM tags stand in DICOM segmentations alone,
    which the standard demands; nothing else is made of them.

    Args:
        output_dir: made where it is missing.
        title: heading of the report.
        weights: file whose hash goes into the summary.
        settings: further values for the summary.
        save_probabilities: write ``<stem>_prob.tif`` (needs ``probability`` in the output).
        save_nifti_image: write ``<name>_image.nii.gz`` beside the labels.
        dicom_seg: see :func:`.files.seg_choice`; what cannot be written is a problem, the other files are.
        algorithm: what segmentations say drew them.
        max_pending: stacks that wait for being written, at most; each is held in memory.
        problems: what was left out before the run; stands in the summary too.

    Raises:
        InputError: a switch that is none, or segmentations are wanted without highdicom.
    """

    def __init__(
        self,
        output_dir: str | Path,
        title: str = "Left ventricle in cine MR",
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        save_probabilities: bool | str = False,
        save_nifti_image: bool | str = False,
        dicom_seg: bool | str = "auto",
        algorithm: str = "medbundles left ventricle",
        max_pending: int = 2,
        problems: list[Problem] | None = None,
    ) -> None:
        super().__init__(output_dir, weights, settings, max_pending, problems)
        self.title, self.algorithm = title, algorithm
        self.save_probabilities = as_flag(save_probabilities, "save_probabilities")
        self.save_nifti_image = as_flag(save_nifti_image, "save_nifti_image")
        self.dicom_seg = seg_choice(dicom_seg)

    def _write(self, item: Mapping[str, Any]) -> _Written:
        item = {key: as_array(value) if key in _ARRAYS and value is not None else value for key, value in item.items()}
        name, clock = str(item["name"]), _Clock()
        with clock("labels"):
            write_frames(self.output_dir, item, self.save_probabilities)
        with clock("contours"):
            write_contours(self.output_dir, item)
        with clock("nifti"):
            write_volumes(self.output_dir, item, self.save_nifti_image)
        with clock("measurements"):
            function, frames = stack_function(item), frame_rows(item)
            scores = score_stack(item) if item.get("truth") is not None else []
            volumes = volumes_of(item) if scores else None
        with clock("dicom_seg"):
            self._segmentations(item, function)
        with clock("overlay"):
            picture = write_overlay(self.output_dir / f"{name}_overlay.png", item, function)
        cine = self.output_dir / f"{name}_cine.gif"
        with clock("animation"):
            moving = write_cine(cine, item)
        return _Written(
            name=name,
            phase_numbers=[int(number) for number in item["phase_numbers"]],
            function=function,
            facts=_facts(item, function),
            frames=frames,
            overlay=thumbnail(picture, _THUMBNAIL),
            animation=cine if moving else None,
            scores=scores,
            volumes=volumes,
            seconds=clock.seconds,
        )

    def _segmentations(self, item: Mapping[str, Any], function: HeartFunction) -> None:
        if item["kind"] != "dicom" or self.dicom_seg == "none":
            return
        ends = [phase for phase in (function.ed_phase, function.es_phase) if phase is not None]
        phases = range(len(item["pred"])) if self.dicom_seg == "all" else ends
        try:
            write_segmentations(self.output_dir, item, list(phases), self.algorithm, __version__)
        except InputError as error:
            self.problems.append(Problem(str(item["name"]), str(error)))
            logger.error("no DICOM-SEG: %s", error)

    def _complete(self, seconds: Mapping[str, float]) -> None:
        folder = self.output_dir
        hearts = [(w.name, w.function, w.phase_numbers) for w in self.written]
        write_table(folder / "measurements.csv", FRAME_COLUMNS, [row for w in self.written for row in w.frames])
        write_table(folder / "volumes.csv", VOLUME_COLUMNS, [row for heart in hearts for row in volume_rows(*heart)])
        write_table(folder / "function.csv", FUNCTION_COLUMNS, [function_row(*heart) for heart in hearts])
        scores = [row for w in self.written for row in w.scores]
        volumes = [w.volumes for w in self.written if w.volumes is not None]
        metrics = write_cardiac_metrics(folder, scores, volumes) if scores else None
        summary = self._summary(seconds, metrics)
        self._write_summary(summary)
        stacks = [StackReport(w.name, w.function, w.phase_numbers, w.overlay, w.animation) for w in self.written]
        write_cine_report(folder, self.title, summary, stacks, metrics)
        logger.info(
            "%d frames in %d stacks, %.2f s per stack; results in %s",
            summary["frames"],
            len(self.written),
            seconds["wall"] / max(len(self.written), 1),
            folder,
        )

    def _summary(self, seconds: Mapping[str, float], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
        names = list(dict.fromkeys(name for w in self.written for name in w.seconds))
        return {
            "stacks": len(self.written),
            "frames": sum(w.facts["frames"] for w in self.written),
            "frames_with_ventricle": sum(w.facts["frames_with_ventricle"] for w in self.written),
            "stacks_without_ventricle": [w.name for w in self.written if not w.facts["frames_with_ventricle"]],
            **self._run_summary(seconds),
            "seconds_of_writing": {name: round(sum(w.seconds[name] for w in self.written), 3) for name in names},
            "each_stack": {w.name: w.facts for w in self.written},
            **({"metrics": metrics["metrics"]} if metrics else {}),
        }


class _Clock:
    """Seconds of each stage, as ``with clock("stage"):``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - began


def _facts(item: Mapping[str, Any], function: HeartFunction) -> dict[str, Any]:
    """What the summary says of a stack, ready for JSON."""
    pred, distance = item["pred"], item.get("slice_distance_mm")
    return {
        "kind": str(item["kind"]),
        "phases": len(pred),
        "slices": pred.shape[1],
        "frames": int(np.count_nonzero(item["present"])),
        "frames_with_ventricle": int(np.count_nonzero(pred.any(axis=(2, 3)))),
        "frames_removed": len(item.get("removed_frames") or ()),
        "frames_filled": len(item.get("filled_frames") or ()),
        "spacing_mm": [float(size) for size in item["spacing_mm"]],
        "spacing_assumed": bool(item.get("spacing_assumed")),
        "slice_distance_mm": None if distance is None else float(distance),
        "notes": list(function.notes),
    }
