"""Classes of images and, from them, of slides; as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics.classification import ClassRow, slide_class
from ..outputs.tables import write_table
from .votes import PatchVotes, lead

NO_TISSUE = "no tissue"


@dataclass(frozen=True)
class Prediction:
    """The class of one image.

    Attributes:
        name: of the image.
        group: case; what it shares with images that are not independent of it.
        slide: it was taken from.
        predicted: index of the class, -1 where there is no tissue.
        probabilities: per class, sums to 1.
        votes: patches per class.
        patches: that the image has, white ones included.
        white: patches without tissue, which do not vote.
        margin: by how much the best class leads; nan without a class.
        certain: whether that is enough.
        note: "" for none.
        truth: index of the true class, None where it is not known.
    """

    name: str
    group: str
    slide: str
    predicted: int
    probabilities: tuple[float, ...]
    votes: tuple[int, ...]
    patches: int
    white: int
    margin: float
    certain: bool
    note: str = ""
    truth: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether the truth is known to be another class."""
        return self.truth is not None and self.truth != self.predicted

    def row(self) -> ClassRow:
        """For the metrics.

        Raises:
            ValueError: the truth is not known.
        """
        if self.truth is None:
            raise ValueError(f"{self.name} has no truth")
        return ClassRow(self.name, self.group, self.slide, self.truth, self.predicted, self.probabilities, self.votes)


@dataclass(frozen=True)
class SlidePrediction:
    """The class of one slide, by the mean of its images' probabilities.

    Attributes:
        slide: its name.
        images: that were taken from it, those without tissue included.
        predicted, probabilities, margin, certain: as of :class:`Prediction`.
        counts: images that were given each class.
        truth: index of the true class, None where it is not known or images of the slide differ in it.
    """

    slide: str
    images: int
    predicted: int
    probabilities: tuple[float, ...]
    margin: float
    certain: bool
    counts: tuple[int, ...]
    truth: int | None = None


def predict_image(item: Mapping[str, Any], certain_margin: float) -> Prediction:
    """The class of an item that went through :class:`.transforms.PatchVotesd`.

    Args:
        item: has ``pred``, ``image_probabilities``, ``predicted``, ``margin``, ``name``, ``group``, ``slide``, perhaps
            ``notes`` and ``label``.
        certain_margin: margin from which a class is certain.
    """
    votes: PatchVotes = item["pred"]
    predicted, label = int(item["predicted"]), item.get("label")
    found = predicted >= 0
    notes = (*(item.get("notes") or ()), *(() if found else (NO_TISSUE,)))
    return Prediction(
        name=str(item["name"]),
        group=str(item["group"]),
        slide=str(item["slide"]),
        predicted=predicted,
        probabilities=tuple(float(value) for value in item["image_probabilities"]),
        votes=tuple(int(count) for count in votes.votes),
        patches=len(votes.tissue),
        white=int(np.count_nonzero(~votes.tissue)),
        margin=float(item["margin"]) if found else math.nan,
        certain=found and float(item["margin"]) >= certain_margin,
        note="; ".join(notes),
        truth=None if label is None else int(label),
    )


def predict_slides(predictions: Sequence[Prediction], certain_margin: float) -> list[SlidePrediction]:
    """The slides of some images, in the order in which they first occur. Images without a class do not count."""
    slides: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        slides.setdefault(prediction.slide, []).append(prediction)
    return [_slide(name, images, certain_margin) for name, images in slides.items()]


def _slide(name: str, images: Sequence[Prediction], certain_margin: float) -> SlidePrediction:
    found, truths = slide_class(images), {image.truth for image in images}
    margin = lead(np.array(found.probabilities)) if found.predicted >= 0 else math.nan
    return SlidePrediction(
        slide=name,
        images=len(images),
        predicted=found.predicted,
        probabilities=found.probabilities,
        margin=margin,
        certain=margin >= certain_margin,
        counts=found.counts,
        truth=truths.pop() if len(truths) == 1 else None,
    )


def write_predictions(folder: Path, predictions: Sequence[Prediction], class_names: Sequence[str]) -> None:
    """Writes ``predictions.csv``, one row per image; without tissue class, margin and probabilities are empty.

    Raises:
        InputError: the folder cannot be written.
    """
    rows = [
        {
            "image": image.name,
            "slide": image.slide,
            **_class_cells(image, class_names),
            **{f"votes_{name}": count for name, count in zip(class_names, image.votes, strict=True)},
            "patches": image.patches,
            "white_patches": image.white,
            "note": image.note,
        }
        for image in predictions
    ]
    votes = [f"votes_{name}" for name in class_names]
    columns = ["image", "slide", *_class_columns(class_names), *votes, "patches", "white_patches", "note"]
    write_table(folder / "predictions.csv", columns, rows)


def write_slides(folder: Path, slides: Sequence[SlidePrediction], class_names: Sequence[str]) -> None:
    """Writes ``slides.csv``, one row per slide; without any tissue class, margin and probabilities are empty.

    Raises:
        InputError: the folder cannot be written.
    """
    rows = [
        {
            "slide": slide.slide,
            "images": slide.images,
            **_class_cells(slide, class_names),
            **{f"images_{name}": count for name, count in zip(class_names, slide.counts, strict=True)},
        }
        for slide in slides
    ]
    columns = ["slide", "images", *_class_columns(class_names), *(f"images_{name}" for name in class_names)]
    write_table(folder / "slides.csv", columns, rows)


def class_name(index: int | None, class_names: Sequence[str]) -> str:
    """The name; empty for no class."""
    return "" if index is None or index < 0 else class_names[index]


def _class_columns(class_names: Sequence[str]) -> list[str]:
    return ["predicted_class", "certain", "margin", *(f"probability_{name}" for name in class_names)]


def _class_cells(found: Prediction | SlidePrediction, class_names: Sequence[str]) -> dict[str, Any]:
    known = found.predicted >= 0
    return {
        "predicted_class": class_name(found.predicted, class_names),
        "certain": "yes" if found.certain else "no",
        "margin": found.margin,
        **{
            f"probability_{name}": value if known else None
            for name, value in zip(class_names, found.probabilities, strict=True)
        },
    }
