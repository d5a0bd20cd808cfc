"""The files of one predicted stack: labels by frame and by volume, DICOM segmentations, contour text, pictures.

All functions take the item of a stack after postprocessing: what :class:`..transforms.ReadStackd` and
:class:`..transforms.LvStackd` give.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.contours import contour_to_mask, mask_to_contours, write_contour
from ...errors import InputError
from ...flags import as_flag
from ...outputs.labels import write_label_tiff, write_probability_tiff
from ...outputs.nifti import write_nifti
from ...outputs.png import write_png
from ...report.animation import write_animation
from ..function import HeartFunction
from ..tiles import cine_pictures, tiles
from .dicom_seg import write_dicom_segs

Item = Mapping[str, Any]

_SAME_SIZE = 1e-3
_ACROSS = 6  # tiles side by side
_MS_PER_PICTURE, _FASTEST_MS = 50.0, 20.0  # where the time from phase to phase is unknown; what browsers show
_MOST_PHASES = 2  # of an overlay without end-diastole and end-systole
_FEWEST_PHASES = 3  # of an animation


def seg_choice(value: Any) -> str:
    """What becomes DICOM segmentations: "none", "ends" (end-diastole and end-systole) or "all" phases.

    Args:
        value: "auto" (the ends if highdicom is installed), true, false or "all".

    Raises:
        InputError: anything else, or highdicom is needed and not there.
    """
    word = str(value).strip().lower()
    wanted = {"auto": "ends", "all": "all"}.get(word) or ("ends" if _flag(value) else "none")
    if wanted == "none" or importlib.util.find_spec("highdicom") is not None:
        return wanted
    if word == "auto":
        return "none"
    raise InputError("DICOM-SEG", "the package highdicom is not installed", "it for this output: pip install highdicom")


def _flag(value: Any) -> bool:
    try:
        return as_flag(value)
    except InputError as error:
        raise InputError("--dicom_seg", repr(value), "auto, all, true or false") from error


def write_frames(folder: Path, item: Item, probabilities: bool = False) -> None:
    """``<stem>_label.tif`` (and ``<stem>_prob.tif``) of every frame that has a file of its own.

    The pixel size is kept where it is known and the same along rows and columns, which is all that the format's
    reader asks for; ``probability`` has the frames in the order of ``np.argwhere(present)``.
    """
    size = pixel_size_um(item)
    for number, (phase, part) in enumerate(_frames(item)):
        stem = item["stems"][phase][part]
        if stem is not None:
            write_label_tiff(folder / f"{stem}_label.tif", item["pred"][phase, part], size)
            if probabilities and "probability" in item:
                write_probability_tiff(folder / f"{stem}_prob.tif", item["probability"][number], size)


def pixel_size_um(item: Item) -> float | None:
    """Edge of a pixel in micrometres; None where it is assumed, or pixels are not square."""
    row, column = (float(size) for size in item["spacing_mm"])
    square = abs(row - column) <= _SAME_SIZE * row
    return 1000 * row if square and not item.get("spacing_assumed") else None


def write_volumes(folder: Path, item: Item, image: bool = False) -> None:
    """``<name>_label.nii.gz`` (and ``<name>_image.nii.gz``) of a stack whose place is known: 4D, of one phase 3D."""
    if item.get("affine") is None:
        return
    affine, step = np.asarray(item["affine"]), item.get("time_step_ms")
    _write_volume(folder / f"{item['name']}_label.nii.gz", item["pred"], affine, step)
    if image:
        _write_volume(folder / f"{item['name']}_image.nii.gz", _narrow(item["pixels"]), affine, step)


def _write_volume(path: Path, pixels: np.ndarray, affine: np.ndarray, step: float | None) -> None:
    write_nifti(path, pixels[0] if len(pixels) == 1 else pixels, affine, step)


def _narrow(pixels: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost by it, which is so of most scanners' images."""
    limits = np.iinfo(np.int16)
    if pixels.size and limits.min <= pixels.min() and pixels.max() <= limits.max:
        narrow = pixels.astype(np.int16)
        return narrow if np.array_equal(narrow, pixels) else pixels
    return pixels


def write_segmentations(
    folder: Path, item: Item, phases: Sequence[int], algorithm: str, version: str, series_number: int = 9001
) -> list[Path]:
    """``<name>_seg_phaseNN.dcm`` of the given phases of a DICOM stack, NN counting from 1.

    Args:
        folder: where they go.
        item: of a stack of DICOM files.
        phases: indices.
        algorithm, version: what drew the segments.
        series_number: of the new series.

    Raises:
        InputError: a slice of such a phase is not there, or the sources cannot be referred to.
    """
    present = np.asarray(item["present"], bool)
    gaps = [phase + 1 for phase in phases if not present[phase].all()]
    if gaps:
        raise InputError(item["name"], f"phases without all slices: {gaps}", "whole phases for DICOM-SEG")
    chosen = np.zeros(len(present), bool)
    chosen[list(phases)] = True
    labels = np.where(chosen[:, None, None, None], item["pred"], 0)
    return write_dicom_segs(folder, item["name"], item["paths"], labels, algorithm, version, series_number)


def write_contours(folder: Path, item: Item) -> int:
    """Outlines as text, in the layout and under the names of the MICCAI 2009 challenge's automatic contours.

    ``<name>/contours-auto/medbundles/IM-0001-NNNN-icontour-auto.txt`` of the endocardium and ``-ocontour-auto.txt`` of the
    epicardium, the latter only where myocardium was found; NNNN is the instance number. Of several parts the largest is
    outlined. The masks are made like the truth that they were learnt from, which includes its outline
    (:mod:`...datasets.contours`), so ``contour_to_mask(..., outline_included=True)`` gives them back.

    Returns:
        How many were written.
    """
    target = folder / str(item["name"]) / "contours-auto" / "medbundles"
    written = 0
    for phase, part in _frames(item):
        classes, number = item["pred"][phase, part], int(item["instances"][phase][part])
        regions = {"i": classes == 1, "o": classes > 0 if (classes == 2).any() else np.zeros_like(classes)}
        for kind, region in regions.items():
            contours = mask_to_contours(region, outline_included=True)
            if contours:
                contour = contours[0] if len(contours) == 1 else max(contours, key=partial(_pixels, region.shape))
                write_contour(target / f"IM-0001-{number:04d}-{kind}contour-auto.txt", contour)
                written += 1
    return written


def _pixels(shape: tuple[int, int], contour: np.ndarray) -> int:
    """What makes a part the largest: the line through the outermost pixels of a thin one encloses hardly anything."""
    return int(np.count_nonzero(contour_to_mask(contour, shape, outline_included=True)))


def shown_phases(item: Item, function: HeartFunction) -> dict[int, str]:
    """Captions of the phases to be looked at: those in which the truth was drawn, else end-diastole and end-systole."""
    ends = {"ED": item.get("ed_phase"), "ES": item.get("es_phase")} if item.get("truth") is not None else {}
    known = {name: phase for name, phase in ends.items() if phase is not None}
    known = known or {"ED": function.ed_phase, "ES": function.es_phase}
    names = {phase: f"{name}: {phase_caption(item, phase)}" for name, phase in known.items() if phase is not None}
    first = range(min(len(item["pred"]), _MOST_PHASES))
    return names or {phase: phase_caption(item, phase) for phase in first}


def phase_caption(item: Item, phase: int) -> str:
    """Such as "phase 3, 85 ms"."""
    times = item.get("trigger_times_ms")
    known = times is not None and np.isfinite(times[phase])
    return f"phase {item['phase_numbers'][phase]}" + (f", {float(times[phase]):.0f} ms" if known else "")  # type: ignore[index]


def write_overlay(path: Path, item: Item, function: HeartFunction) -> np.ndarray:
    """All slices of :func:`shown_phases` with their contours, and those of the truth; (rows, columns, 3) uint8 RGB."""
    phases, pixels = shown_phases(item, function), item["pixels"]
    across = min(pixels.shape[1], _ACROSS)
    picture = tiles(pixels, item["pred"], list(phases), list(phases.values()), columns=across, truth=item.get("truth"))
    write_png(path, picture)
    return picture


def write_cine(path: Path, item: Item) -> bool:
    """The beating heart as an animation, if there are phases enough and anything was found; whether it was written."""
    pred = item["pred"]
    if len(pred) < _FEWEST_PHASES or not pred.any():
        return False
    names = [phase_caption(item, phase) for phase in range(len(pred))]
    pictures = cine_pictures(item["pixels"], pred, names)
    write_animation(path, pictures, max(_FASTEST_MS, float(item.get("time_step_ms") or _MS_PER_PICTURE)))
    return True


def _frames(item: Item) -> Iterator[tuple[int, int]]:
    for phase, part in np.argwhere(np.asarray(item["present"], bool)):
        yield int(phase), int(part)
