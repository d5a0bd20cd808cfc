"""Cross-validation of frames: tables of the folds say together what all frames say, and how few groups there are."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from running import REPOSITORY, script_module

from common.brightfield.output.scores import (
    FrameScore,
    group_note,
    mean_scores,
    read_scores,
    scores_table,
    summarise,
    write_scores,
)
from common.brightfield.reading.groups import GroupSplit
from common.crossval.out_of_fold import gather, write_gathered
from common.crossval.runs import CrossValidation, Plan, make_plan
from common.engine.checkpoints import file_hash
from common.errors import InputError
from common.figures import FIGURES, FRAMES, figures_of

BUNDLE = REPOSITORY / "bundles" / "brightfield_gastruloid_segmentation"
GROUPS = ("ann", "ben", "cleo")
FRAMES_OF = (1, 5)  # of the two sequences of a group


def frames_of(group: str) -> list[FrameScore]:
    """Scores of an image and of a movie; in its second frame nothing was found, so that there is no distance."""
    rng = np.random.default_rng(GROUPS.index(group))
    rows = []
    for number, count in enumerate(FRAMES_OF):
        for frame in range(1, count + 1):
            iou = 0.0 if (count, frame) == (5, 2) else float(rng.uniform(0.5, 1) - 0.1 * GROUPS.index(group))
            scores = {
                "iou": iou,
                "dice": 2 * iou / (1 + iou),
                "pixel_accuracy": float(rng.uniform(0.9, 1)),
                "boundary_f1": float(rng.uniform()),
                "hausdorff_px": float(rng.uniform(1, 30)) if iou else math.nan,
            }
            rows.append(FrameScore(f"{group}_{number}", frame, group, scores))
    return rows


def bundle_of(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"figures": "frames"}))
    return folder


def evaluate(run: CrossValidation, fold: int, rows: list[FrameScore], problems: tuple[str, ...] = ()) -> None:
    """What the evaluation of a fold leaves."""
    weights, results = run.folder(fold) / "model.pt", run.results(fold)
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(bytes([fold]))
    write_scores(results, rows)
    for name in {row.image for row in rows}:
        cv2.imwrite(str(results / f"{name}_overlay.png"), np.full((20, 30, 3), 99, np.uint8))
    named = [{"name": name, "reason": "it is broken"} for name in problems]
    summary = {"weights": {"sha256": file_hash(weights, 64)}, "problems": named}
    (results / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def run(tmp_path: Path) -> CrossValidation:
    """One fold per group, all evaluated."""
    records = [
        {"name": f"{group}_{number}", "group": group, "fold": fold}
        for fold, group in enumerate(GROUPS)
        for number in range(len(FRAMES_OF))
    ]
    made = CrossValidation(bundle_of(tmp_path / "aggregates"), tmp_path / "cv", Plan(records, [0, 1, 2]))
    for fold, group in enumerate(GROUPS):
        evaluate(made, fold, frames_of(group))
    return made


def everything() -> list[FrameScore]:
    return [row for group in GROUPS for row in frames_of(group)]


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Estimates and bounds by name."""
    return {f"{name} {key}": value for name, part in metrics["metrics"].items() for key, value in part.items()}


def test_a_table_read_back_is_the_table_that_was_written(tmp_path: Path) -> None:
    write_scores(tmp_path, everything())
    text = (tmp_path / "metrics_per_image.csv").read_text()
    found = read_scores(tmp_path / "metrics_per_image.csv")
    assert scores_table(found) == text
    assert [(row.image, row.frame, row.group) for row in found] == [
        (row.image, row.frame, row.group) for row in everything()
    ]
    for own, row in zip(found, everything(), strict=True):
        assert own.scores == pytest.approx(row.scores, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(("old", "new"), [("ann_0,1,", "ann_0,first,"), (",ann,", ",ann,high")])
def test_a_table_with_something_else_than_numbers_is_refused_with_its_line(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(scores_table(everything()).replace(old, new))
    with pytest.raises(InputError, match=r"scores\.csv: found line 2, which cannot be read"):
        read_scores(path)


def test_figures_out_of_fold_are_those_of_all_frames_together(run: CrossValidation) -> None:
    whole, metrics = summarise(everything()), gather(run).metrics
    assert (metrics["n_frames"], metrics["n_images"], metrics["n_groups"]) == (18, 6, 3)
    assert None not in numbers(whole).values()
    assert numbers(metrics) == pytest.approx(numbers(whole), rel=1e-6), "the table has seven digits"


def test_every_frame_counts_alike_however_many_its_sequence_has(run: CrossValidation) -> None:
    ious = [row.scores["iou"] for row in everything()]
    assert gather(run).metrics["metrics"]["mean_iou"]["estimate"] == pytest.approx(np.mean(ious), rel=1e-6)


def test_figures_of_each_fold_are_those_of_its_own_evaluation(run: CrossValidation) -> None:
    part = gather(run).metrics["cross_validation"]
    for fold, found in enumerate(part["folds"]):
        own = json.loads((run.results(fold) / "metrics.json").read_text())
        assert found["metrics"] == pytest.approx({k: v["estimate"] for k, v in own["metrics"].items()}, rel=1e-6)
    means = [found["metrics"]["mean_iou"] for found in part["folds"]]
    assert part["over_folds"]["mean_iou"] == {
        "mean": pytest.approx(np.mean(means)),
        "standard_deviation": pytest.approx(np.std(means, ddof=1)),
    }


def test_an_interval_lies_between_the_lowest_group_and_the_highest(run: CrossValidation) -> None:
    metrics = gather(run).metrics
    for name, value in metrics["metrics"].items():
        groups = [part["metrics"][name] for part in metrics["by_group"].values()]
        assert min(groups) - 1e-9 <= value["low"] <= value["estimate"] <= value["high"] <= max(groups) + 1e-9


def test_one_group_has_no_interval_and_the_texts_say_how_many_there_are(run: CrossValidation) -> None:
    alone = replace(run, output_dir=run.output_dir.parent / "alone")
    evaluate(alone, 0, frames_of("ann"))
    metrics = gather(alone).metrics
    assert metrics["n_groups"] == 1
    assert {(value["low"], value["high"]) for value in metrics["metrics"].values()} == {(None, None)}
    page = write_gathered(alone, gather(alone)).read_text()
    assert "of one group, which say nothing of how other groups would do: no 95 % interval" in page
    page = write_gathered(run, gather(run)).read_text()
    assert page.count("of only 3 groups: a 95 % interval") == 1, "under the figures, which alone have intervals"
    assert page.count("Each row is the mean over the frames of the groups of that fold.") == 1
    many = [replace(row, group=str(number)) for number, row in enumerate(everything())]
    assert "of 18 groups; 95 % intervals are a bootstrap" in group_note(summarise(many))


def test_the_table_of_all_folds_is_that_of_the_folds_with_their_number(run: CrossValidation) -> None:
    write_gathered(run, gather(run))
    tables = [list(csv.DictReader((run.results(fold) / "metrics_per_image.csv").open(newline=""))) for fold in range(3)]
    expected = [{**row, "fold": str(fold)} for fold, table in enumerate(tables) for row in table]
    assert list(csv.DictReader((run.output_dir / "metrics_per_image.csv").open(newline=""))) == expected


def test_the_report_shows_the_overlay_of_each_sequence_the_worst_first(run: CrossValidation) -> None:
    gathered = gather(run)
    page = write_gathered(run, gathered).read_text()
    for text in (
        "saw neither it nor its group",
        "Agreement with the truth",
        "Each fold",
        "lowest IoU 0.000 in frame 2",
    ):
        assert text in page
    means = {row.name: mean_scores(row.frames)["iou"] for row in gathered.rows}
    places = [page.rindex(f">{name}<") for name in sorted(means, key=lambda name: means[name])]
    assert len(places) == 6 and places == sorted(places)
    for row in gathered.rows:
        assert f"eval/{row.name}_overlay.png" in page
        picture = FRAMES.picture(row, run.results(gathered.fold_of[row.name]))
        assert (picture.count, picture.unit) == (len(row.frames), "frame")


def test_a_sequence_that_was_left_out_is_named_and_the_rest_counts(run: CrossValidation) -> None:
    evaluate(run, 1, [row for row in frames_of("ben") if row.image != "ben_1"], problems=("ben_1",))
    gathered = gather(run)
    assert [(problem.name, problem.reason) for problem in gathered.problems] == [("ben_1", "it is broken")]
    assert (gathered.metrics["n_frames"], gathered.metrics["n_images"]) == (13, 5)


def test_a_sequence_of_which_a_part_was_left_out_is_named_once_and_its_other_frames_count(run: CrossValidation) -> None:
    part = [row for row in frames_of("ben") if (row.image, row.frame) != ("ben_1", 5)]
    for fold, rows in ((1, part), (2, frames_of("cleo"))):  # the other fold, which trained on it, names it too
        evaluate(run, fold, rows, problems=("ben_1", "ben_1"))
    gathered = gather(run)
    assert [(problem.name, problem.reason) for problem in gathered.problems] == [("ben_1", "it is broken")]
    assert (gathered.metrics["n_frames"], gathered.metrics["n_images"]) == (17, 6)
    assert "ben_1: it is broken" in write_gathered(run, gathered).read_text()


def test_sequences_of_another_fold_are_refused(run: CrossValidation) -> None:
    evaluate(run, 0, [*frames_of("ann"), *frames_of("cleo")])
    with pytest.raises(InputError, match="results of cleo_0, cleo_1; expected the images of fold 0 alone"):
        gather(run)


def dataset(folder: Path, suffix: str = ".png") -> Path:
    """Two files of each group as users bring them: images, or stacks of three frames."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    lines = ["image,group"]
    for group in GROUPS:
        for number in range(2):
            pixels = rng.integers(0, 255, (3, 24, 24), np.uint8)
            for kind, values in (("images", pixels), ("masks", (pixels > 99).astype(np.uint8))):
                path = folder / kind / f"{group}_{number}{suffix}"
                if suffix == ".tif":
                    tifffile.imwrite(path, values, photometric="minisblack")
                else:
                    cv2.imwrite(str(path), values[0])
            lines.append(f"{group}_{number}{suffix},{group}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_as_many_folds_as_groups_test_each_group_by_itself_and_train_on_the_others(tmp_path: Path, suffix: str) -> None:
    plan = make_plan(dataset(tmp_path / "set", suffix), 3, load=FRAMES.load)
    assert plan.problems == [] and len(plan.records) == 6
    assert sorted({record["group"] for record in plan.of_fold(fold)}.pop() for fold in plan.folds) == list(GROUPS)
    run = CrossValidation(BUNDLE, tmp_path / "cv", plan)
    run.prepare()
    for fold in plan.folds:
        split = GroupSplit(run.datalist, fold, num_folds=3, look_for_copies=False)
        tested = {record["group"] for record in plan.of_fold(fold)}
        assert len(tested) == 1 and {record["group"] for record in split.evaluated} == tested
        assert {record["group"] for record in split.training} == set(GROUPS) - tested
        assert not split.stops, "nothing is left that could end a training early"
    with pytest.raises(InputError, match="3 groups for 4 folds"):
        make_plan(tmp_path / "set", 4, load=FRAMES.load)


def test_options_that_frames_do_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--modalities"):
        make_plan(tmp_path, 3, modalities="phase", load=FRAMES.load)
    run = CrossValidation(BUNDLE, tmp_path / "cv", Plan([], []), overrides={"hold_out": "group=ann"})
    with pytest.raises(InputError, match="--hold_out"):
        run.prepare()


def test_the_bundle_is_judged_by_its_frames() -> None:
    assert figures_of(BUNDLE) is FRAMES is FIGURES["frames"]


def test_the_command_plans_stacks_by_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(BUNDLE), "--dataset_dir", str(dataset(tmp_path / "set", ".tif")), "--output_dir", str(tmp_path / "cv")]
    module = script_module("cross_validate")
    assert module.cross_validate(*module.parse([*words, "--num_folds", "3", "--plan_only"])) == []
    assert capsys.readouterr().out.count("2 images of 1 patients or groups") == 3


def test_the_command_ends_with_status_1_when_a_part_of_a_sequence_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, module = dataset(tmp_path / "set"), script_module("cross_validate")
    plan = make_plan(data, 3, load=FRAMES.load)
    monkeypatch.setattr(module.CrossValidation, "run_fold", lambda *_: [])
    words = [str(BUNDLE), "--dataset_dir", str(data), "--output_dir", str(tmp_path / "cv"), "--num_folds", "3"]
    monkeypatch.setattr("sys.argv", ["cross_validate.py", *words])
    for problems, status in (((), 0), (("ben_1",), 1)):
        for fold in plan.folds:
            (group,) = {record["group"] for record in plan.of_fold(fold)}
            named = problems if group == "ben" else ()
            evaluate(CrossValidation(BUNDLE, tmp_path / "cv", plan), fold, frames_of(group), named)
        assert module.main() == status
        assert ("problem: ben_1: it is broken" in capsys.readouterr().err) == bool(status)


def test_the_command_prints_how_few_groups_there_are(run: CrossValidation, capsys: pytest.CaptureFixture[str]) -> None:
    gathered = gather(run)
    script_module("cross_validate").print_figures(gathered)
    printed = capsys.readouterr().out
    for text in ("boundary F1", "Hausdorff in px", "images or sequences", "by patient or group (3 of them):"):
        assert text in printed
    value = gathered.metrics["metrics"]["mean_hausdorff_px"]
    assert f"{value['estimate']:.3f}  ({value['low']:.3f} to {value['high']:.3f})" in printed
    alone = replace(run, output_dir=run.output_dir.parent / "alone")
    evaluate(alone, 0, frames_of("ann"))
    script_module("cross_validate").print_figures(gather(alone))
    assert "of one patient or group, so without intervals:" in capsys.readouterr().out
