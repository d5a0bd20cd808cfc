"""Scores of one stack of cine MR against its truth: every drawn frame, and the volumes of its two moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ...datasets.contours import mask_to_contour
from ...metrics.pixel import PixelScore, score_pixels
from ..function import MYOCARDIUM_G_PER_ML, measure_volumes
from .challenge import REGIONS, ContourScore, pixel_accuracy, score_contour


class FrameRow(NamedTuple):
    """The scores of one frame.

    Attributes:
        image: its stem, which for images with truth is the name of their record; that of its stack where it has none.
        group: patient, or what else its frames must not be split from.
        stack: name of its stack.
        phase: what the phase is called, such as 20.
        slice: from 1 at the first slice of the stack.
        moment: "ed", "es" or "" for any other.
        pixel_accuracy: share of all pixels of the frame with the right class (:func:`score_stack`).
        endocardium: the cavity's outline; None where the truth holds none and none is predicted.
        epicardium: that of cavity and myocardium; None as well where nobody drew it.
        myocardium: overlap of the myocardium by itself; None where it is not known, or there is none in either.
    """

    image: str
    group: str
    stack: str
    phase: int
    slice: int
    moment: str
    pixel_accuracy: float
    endocardium: ContourScore | None
    epicardium: ContourScore | None = None
    myocardium: PixelScore | None = None


@dataclass(frozen=True)
class Volumes:
    """What follows from the areas of a stack; None where it is not known.

    Attributes:
        edv_ml: at end-diastole.
        esv_ml: at end-systole.
        ejection_fraction_percent: their difference in percent of ``edv_ml``.
        mass_g: of the myocardium at end-diastole.
    """

    edv_ml: float | None = None
    esv_ml: float | None = None
    ejection_fraction_percent: float | None = None
    mass_g: float | None = None


QUANTITIES = tuple(field.name for field in fields(Volumes))


@dataclass(frozen=True)
class StackVolumes:
    """Volumes of one stack, both summed over the same frames: those that were drawn.

    Attributes:
        stack: its name.
        group: its patient.
        truth: of what was drawn.
        predicted: of what was found.
    """

    stack: str
    group: str
    truth: Volumes
    predicted: Volumes


def score_stack(item: Mapping[str, Any]) -> list[FrameRow]:
    """Score every frame that was drawn; frames that nobody drew are unlabelled, not empty, and have no score.

    Masks include their outline (:mod:`...datasets.contours`), so the contours compared are the lines through their
    outermost pixels. A missing contour has Dice 0 and no distance, and is not good. Where a drawn frame holds no cavity,
    which is truth that masks of one's own and ACDC's volumes can tell, a predicted one counts as missing too, and none
    counts nothing; so with the other regions. The pixel accuracy counts either way.
    Where the myocardium is not known, the pixel accuracy is that of "cavity or not" and nothing else is scored.

    Args:
        item: after postprocessing: ``pred`` and ``truth`` (phases, slices, rows, columns) integers 0, 1, 2 at the
            source's pixels; ``drawn``, ``present``, ``myocardium_known`` (phases, slices) bool; ``spacing_mm`` (row,
            column); ``ed_phase``, ``es_phase`` indices or None; ``name``, ``group``, ``phase_numbers``; ``stems``, what
            the frames are called, [phase][slice] of str or None.

    Returns:
        One row per frame, phase by phase; none without truth.

    Raises:
        ValueError: truth and prediction differ in shape.
    """
    truth, pred = _maps(item)
    if truth is None:
        return []
    known, spacing = np.asarray(item["myocardium_known"], bool), _spacing(item)
    moments = {item.get("es_phase"): "es", item.get("ed_phase"): "ed"}
    rows = []
    for phase, part in np.argwhere(_scored(item)).tolist():
        drawn, found = truth[phase, part], pred[phase, part]
        whole = bool(known[phase, part])
        alike = (drawn, found) if whole else (drawn == 1, found == 1)
        rows.append(
            FrameRow(
                image=str(item["stems"][phase][part] or item["name"]),
                group=str(item.get("group") or item["name"]),
                stack=str(item["name"]),
                phase=int(item["phase_numbers"][phase]),
                slice=part + 1,
                moment=moments.get(phase, ""),
                pixel_accuracy=pixel_accuracy(*alike),
                endocardium=_contour(drawn, found, "cavity", spacing),
                epicardium=_contour(drawn, found, "epicardium", spacing) if whole else None,
                myocardium=score_pixels(drawn == 2, found == 2) if whole and 2 in (drawn.max(), found.max()) else None,
            )
        )
    return rows


def volumes_of(item: Mapping[str, Any]) -> StackVolumes | None:
    """Volumes at the truth's end-diastole and end-systole, of truth and prediction over the drawn frames alone.

    A slice that was not drawn has no true area, so what is predicted there counts neither way. Sums of discs as in
    :mod:`..function`; the myocardium's over the frames in which it is known. Areas are those inside the lines
    (:func:`..areas.frame_areas`), of truth and prediction alike.

    Args:
        item: see :func:`score_stack`, with ``slice_distance_mm``.

    Returns:
        None without truth, slice distance, or any moment with a drawn frame. The numbers of a moment that is not known
        are None, and so is the ejection fraction without both or with an end-diastolic volume of 0.

    Raises:
        ValueError: truth and prediction differ in shape.
    """
    truth, pred = _maps(item)
    distance = item.get("slice_distance_mm")
    if truth is None or not distance:
        return None
    drawn = _scored(item)
    phases = [item.get(name) for name in ("ed_phase", "es_phase")]
    ends = [phase if phase is not None and drawn[phase].any() else None for phase in phases]
    if ends == [None, None]:
        return None
    known = drawn & np.asarray(item["myocardium_known"], bool)
    measured = [_volumes(maps, drawn, known, ends, _spacing(item), float(distance)) for maps in (truth, pred)]
    return StackVolumes(str(item["name"]), str(item.get("group") or item["name"]), *measured)


def _volumes(
    maps: np.ndarray,
    drawn: np.ndarray,
    known: np.ndarray,
    ends: list[int | None],
    spacing: tuple[float, float],
    distance: float,
) -> Volumes:
    # All frames count as present, those that were not drawn as empty: nothing may be interpolated into them.
    counted = np.where(drawn[..., None, None] & ((maps != 2) | known[..., None, None]), maps, 0)
    curve = measure_volumes(counted, spacing, distance, outline_included=True)
    ed, es = ends
    edv, esv = (None if end is None else float(curve.cavity_ml[end]) for end in ends)
    return Volumes(
        edv_ml=edv,
        esv_ml=esv,
        ejection_fraction_percent=100 * (edv - esv) / edv if edv and esv is not None else None,
        mass_g=MYOCARDIUM_G_PER_ML * float(curve.myocardium_ml[ed]) if ed is not None and known[ed].any() else None,
    )


def _maps(item: Mapping[str, Any]) -> tuple[np.ndarray | None, np.ndarray]:
    """Truth (None without) and prediction."""
    pred = np.asarray(item["pred"])
    truth = None if item.get("truth") is None else np.asarray(item["truth"])
    if truth is not None and truth.shape != pred.shape:
        raise ValueError(f"truth and prediction of {item['name']} differ in shape: {truth.shape} and {pred.shape}")
    return truth, pred


def _scored(item: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(item["drawn"], bool) & np.asarray(item["present"], bool)


def _spacing(item: Mapping[str, Any]) -> tuple[float, float]:
    return float(item["spacing_mm"][0]), float(item["spacing_mm"][1])


def _contour(truth: np.ndarray, pred: np.ndarray, region: str, spacing: tuple[float, float]) -> ContourScore | None:
    """Scores of one region of one drawn frame."""
    drawn, found = (np.isin(labels, REGIONS[region]) for labels in (truth, pred))
    if not drawn.any():
        return ContourScore(0.0, 0.0, float("nan"), float("nan")) if found.any() else None
    lines = (mask_to_contour(mask, outline_included=True) if mask.any() else None for mask in (drawn, found))
    return score_contour(drawn, found, spacing, *lines)
