"""A run that classifies images leaves whole and consistent files, and names what it could not classify."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from test_report import Page
from torch import nn

from common.datasets.tables import read_table
from common.engine.loading import ReadAheadLoader
from common.errors import InputError, Problem
from common.images.reading import image_shape, read_image
from common.inferers import PatchInferer
from common.outputs.png import write_png
from common.patches.predictions import NO_TISSUE, Prediction, predict_image, predict_slides
from common.patches.results import ClassResults
from common.patches.transforms import PatchVotesd, ReadTissued
from common.patches.votes import PatchVotes

CLASSES = ("CLL", "FL", "MCL")


class Colours(nn.Module):
    """Class 0 where a patch is red, 1 green, 2 blue."""

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return 40 * patches.mean(dim=(-2, -1))


def tissue(channel: int, seed: int, rows: int = 60, columns: int = 80) -> np.ndarray:
    """Speckle as dark as tissue, brighter in one channel."""
    rgb = np.random.default_rng(seed).integers(40, 120, (rows, columns, 3))
    rgb[..., channel] += 25
    return rgb.astype(np.uint8)


def run(
    folder: Path,
    records: list[dict[str, Any]],
    rule: str = "mean",
    image_scale: float | None = 1.0,
    **options: Any,
) -> ClassResults:
    """As the bundle's configs put it together."""
    scales = {"network_scale": 1.0, "image_scale": image_scale, "assumed_scale": 1.0}
    reading = ReadTissued("image", patch_size=24, class_names=CLASSES, **scales)  # type: ignore[arg-type]
    handler = ClassResults(folder, CLASSES, **{"certain_margin": 0.2, **options})
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=ReadAheadLoader(Dataset(records, reading), collate=False),
        network=Colours(),
        inferer=PatchInferer(24, 16, amp=False),
        postprocessing=Compose([PatchVotesd("pred", rule)]),
        decollate=False,
        val_handlers=[handler],
    ).run()
    return handler


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    """Two slides of a class each, an image whose truth is another class, one of glass alone, one that is too small."""
    pictures = {
        "CLL_1": tissue(0, 1),
        "CLL_2": tissue(1, 2),
        "FL_1": tissue(1, 3),
        "FL_2": tissue(1, 4, 20, 50),
        "FL_3": np.full((60, 80, 3), 245, np.uint8),
        "MCL_1": tissue(2, 5, 8, 8),
    }
    found = []
    for name, pixels in pictures.items():
        write_png(tmp_path / f"{name}.png", pixels)
        label, slide = name.split("_")[0], f"slide {name.split('_')[0]}"
        path = str(tmp_path / f"{name}.png")
        found.append({"name": name, "image": path, "label": label, "group": slide, "slide": slide})
    return found


def unlabelled(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**record, "label": None} for record in records]


def test_inference_leaves_the_files_of_the_contract_and_no_others(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    run(tmp_path / "out", unlabelled(records))
    maps = {f"{record['name']}_votes.png" for record in records[:5]}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == maps | {"predictions.csv", "slides.csv", "telling_patches.png", "summary.json", "report.html"}
    run(tmp_path / "few", unlabelled(records), save_vote_maps="false", telling=0)
    assert {path.name for path in (tmp_path / "few").iterdir()} == {
        *("predictions.csv", "slides.csv", "summary.json", "report.html")
    }


@pytest.mark.parametrize("rule", ["vote", "mean"])
def test_tables_agree_with_the_votes_and_with_one_another(
    tmp_path: Path, records: list[dict[str, Any]], rule: str
) -> None:
    run(tmp_path / "out", unlabelled(records), rule)
    images = read_table(tmp_path / "out" / "predictions.csv", ("image", "note"))
    assert [row["image"] for row in images] == [record["name"] for record in records[:5]]
    assert [row["predicted_class"] for row in images] == ["CLL", "FL", "FL", "FL", ""]
    for row in images[:4]:
        shares = [float(row[f"probability_{name}"]) for name in CLASSES]
        votes = [int(row[f"votes_{name}"]) for name in CLASSES]
        assert sum(shares) == pytest.approx(1, abs=1e-6)
        assert sum(votes) == int(row["patches"]) - int(row["white_patches"])
        assert float(row["margin"]) == pytest.approx(np.diff(sorted(shares))[-1], abs=1e-6)
        assert (row["certain"] == "yes") == (float(row["margin"]) >= 0.2)
        if rule == "vote":
            np.testing.assert_allclose(shares, np.array(votes) / sum(votes), atol=1e-6)
    white = images[4]
    assert (white["note"], white["certain"], white["margin"], white["probability_CLL"]) == (NO_TISSUE, "no", "", "")
    assert white["white_patches"] == white["patches"]
    assert "mirrored" in images[3]["note"]
    slides = {row["slide"]: row for row in read_table(tmp_path / "out" / "slides.csv", ("slide",))}
    first = [float(row["probability_CLL"]) for row in images[:2]]
    assert float(slides["slide CLL"]["probability_CLL"]) == pytest.approx(np.mean(first), abs=1e-6)
    fl = slides["slide FL"]
    assert [fl[key] for key in ("images", "predicted_class", "images_FL", "images_CLL")] == ["3", "FL", "2", "0"]


def test_what_cannot_be_classified_is_a_problem_and_the_rest_goes_on(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    handler = run(tmp_path / "out", unlabelled(records), problems=[Problem("earlier", "left out")])
    assert [problem.name for problem in handler.problems] == ["earlier", "MCL_1"]
    assert "8 x 8 pixels" in handler.problems[1].reason
    with pytest.raises(SystemExit):
        handler.exit()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images"] == 5
    assert summary["images_of_class"] == {"CLL": 1, "FL": 3, "MCL": 0}
    assert summary["images_without_tissue"] == ["FL_3"]
    assert [problem["name"] for problem in summary["problems"]] == ["earlier", "MCL_1"]
    assert summary["seconds"]["network"] > 0
    assert "metrics" not in summary


def test_with_truth_metrics_are_written_and_the_misclassified_are_shown(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    run(tmp_path / "out", records[:5])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"metrics.json", "metrics_per_image.csv", "confusion.csv", "confusion.svg", "reliability.svg"} <= names
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    # CLL_2 looks like FL; the image without tissue counts as wrong.
    assert summary["metrics"]["accuracy"]["estimate"] == pytest.approx(3 / 5)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Misclassified images (2 of 5)" in text
    wrong = text.split("Misclassified images")[1].split("<h2>")[0]
    assert [name for name in ("CLL_1", "CLL_2", "FL_1", "FL_3") if f'title="{name}"' in wrong] == ["CLL_2", "FL_3"]
    assert 'href="CLL_2_votes.png"' in wrong
    assert text.count("<svg") >= 2


def test_the_report_stands_alone_and_shows_every_image(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    run(tmp_path / "out", unlabelled(records), title="Sub-types <of> lymphoma")
    text = (tmp_path / "out" / "report.html").read_text()
    words = " ".join(Page(text).texts)
    assert "Sub-types <of> lymphoma" in words
    assert "Misclassified" not in words
    for record in records[:5]:
        assert f'title="{record["name"]}"' in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert text.count("data:image/jpeg") == 6  # five maps and the telling patches


def test_an_assumed_scale_stands_first_in_the_report_and_in_the_summary(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    line = "do not tell their scale: 1 of the file's pixels per pixel at 40x is assumed (--image_scale can tell it)"
    for given, count, first in ((None, 3, f"3 of 3 images {line}"), (1.0, 0, "")):
        run(tmp_path / "out", unlabelled(records[:3]), image_scale=given)
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert (summary["images_of_assumed_scale"], summary["assumptions"]) == (count, [first] if first else [])
        words = " ".join(Page((tmp_path / "out" / "report.html").read_text()).texts)
        assert (line in words) == bool(first)
    tifffile.imwrite(tmp_path / "t.tif", tissue(0, 1), resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    mixed = [{**records[0], "label": None}, {**records[1], "label": None, "image": str(tmp_path / "t.tif")}]
    run(tmp_path / "mixed", mixed, image_scale=None)
    summary = json.loads((tmp_path / "mixed" / "summary.json").read_text())
    assert summary["assumptions"] == [f"1 of 2 images (CLL_1) {line}"]


def test_maps_are_pictures_of_the_image_and_the_sheet_has_all_classes(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    run(tmp_path / "out", unlabelled(records[:3]))
    picture = read_image(tmp_path / "out" / "CLL_1_votes.png").pixels
    np.testing.assert_array_equal(picture[26 : 26 + 60, :80], tissue(0, 1))
    assert image_shape(tmp_path / "out" / "telling_patches.png")[1] == 8 * 158 + 6


def test_a_second_run_begins_anew(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    handler = run(tmp_path / "out", unlabelled(records[:1]))
    before = [patch.name for patch in handler._telling.patches[0]]
    handler._start(type("Engine", (), {"inferer": None})())
    handler._close()
    assert before == ["CLL_1", "CLL_1"]
    assert handler._telling.patches == [[], [], []]


def test_a_run_of_nothing_leaves_empty_tables(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    run(tmp_path / "out", unlabelled(records[5:]))
    assert read_table(tmp_path / "out" / "predictions.csv", ("image", "predicted_class")) == []
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["images"] == 0


def test_margins_and_names_that_cannot_be_are_refused(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="0 to 1"):
        ClassResults(tmp_path, CLASSES, certain_margin=1.5)
    handler = ClassResults(tmp_path, CLASSES[:2])
    with pytest.raises(ValueError, match="3 classes of the network"):
        handler._write(item([[0.2, 0.5, 0.3]]))


# images and slides


def item(probabilities: list[list[float]], rule: str = "mean", **more: Any) -> dict[str, Any]:
    values = np.array(probabilities, np.float32)
    corners = np.zeros((len(values), 2), np.int64)
    votes = PatchVotes(corners, 8, values, np.array(values.any(axis=1)))
    return {
        **{"name": "a", "group": "case", "slide": "s", "pred": votes, "predicted": votes.predicted(rule)},
        **{"margin": votes.margin(rule), "image_probabilities": votes.image_probability(rule), **more},
    }


def test_a_class_is_certain_from_the_margin_on() -> None:
    assert predict_image(item([[0.25, 0.5, 0.25]]), 0.25).certain
    assert not predict_image(item([[0.25, 0.5, 0.25]]), 0.26).certain


def test_a_prediction_is_a_row_of_the_metrics_where_there_is_truth() -> None:
    found = predict_image(item([[0.25, 0.5, 0.25]], label=torch.tensor(2), notes=("x", "y")), 0.0)
    assert found.row() == ("a", "case", "s", 2, 1, (0.25, 0.5, 0.25), (0, 1, 0))
    assert (found.wrong, found.note) == (True, "x; y")
    with pytest.raises(ValueError, match="no truth"):
        predict_image(item([[0.25, 0.5, 0.25]]), 0.0).row()


def test_a_slide_has_the_mean_of_its_images_that_have_a_class() -> None:
    images = [
        Prediction(str(number), "g", slide, predicted, shares, (1, 0), 1, 0, 0.5, True, truth=int(slide != "s"))
        for number, (slide, predicted, shares) in enumerate(
            [
                ("s", 0, (0.9, 0.1)),
                ("t", 1, (0.0, 1.0)),
                ("s", 1, (0.4, 0.6)),
                ("s", -1, (0.5, 0.5)),
                ("u", -1, (0.5, 0.5)),
            ]
        )
    ]
    first, second, third = predict_slides(images, 0.4)
    assert [slide.slide for slide in (first, second, third)] == ["s", "t", "u"]
    assert (first.images, first.predicted, first.counts, first.certain) == (3, 0, (1, 1), False)
    assert first.probabilities == pytest.approx((0.65, 0.35))
    assert first.margin == pytest.approx(0.3)
    assert (second.predicted, second.certain) == (1, True)
    assert (third.predicted, third.counts) == (-1, (0, 0))
    assert np.isnan(third.margin)
    assert [slide.truth for slide in (first, second, third)] == [0, 1, 1]
    mixed = predict_slides([dataclasses.replace(images[0], truth=1), images[2]], 0.4)
    assert mixed[0].truth is None
