"""Cross-validation of the left ventricle: folds read back from their tables say together what all rows say."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hearts import stack, worse
from running import REPOSITORY, script_module

from common.cine.scores.summary import score_stack, summarise_cardiac, volumes_of, write_cardiac_metrics
from common.crossval.out_of_fold import gather, over_folds, write_gathered
from common.crossval.runs import CrossValidation, Plan
from common.engine.checkpoints import file_hash
from common.errors import InputError
from common.figures import CARDIAC, INSTANCES, figures_of

PATIENTS = {"ann": 0, "ben": 0, "cleo": 1, "dora": 1}


def bundle_of(folder: Path, **metadata: Any) -> Path:
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


def item_of(patient: str) -> dict[str, Any]:
    return worse(patient, list(PATIENTS).index(patient))


def records_of(patient: str) -> list[dict[str, Any]]:
    names = [row.image for row in score_stack(item_of(patient))]
    return [{"name": name, "group": patient, "fold": PATIENTS[patient]} for name in names]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    """Both folds trained and evaluated."""
    folder = tmp_path_factory.mktemp("finished")
    records = [record for patient in PATIENTS for record in records_of(patient)]
    made = CrossValidation(bundle_of(folder / "hearts", figures="cardiac"), folder / "cv", Plan(records, [0, 1]))
    for fold in (0, 1):
        evaluate(made, fold, [item_of(patient) for patient in PATIENTS if PATIENTS[patient] == fold])
    return made


@pytest.fixture
def run(finished: CrossValidation, tmp_path: Path) -> CrossValidation:
    """A copy that a test may change."""
    shutil.copytree(finished.output_dir, tmp_path / "cv")
    return replace(finished, output_dir=tmp_path / "cv")


def evaluate(run: CrossValidation, fold: int, items: list[dict[str, Any]], problems: tuple[str, ...] = ()) -> None:
    """What the evaluation of a fold leaves."""
    weights, results = run.folder(fold) / "model.pt", run.results(fold)
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(bytes([fold]))
    rows = [row for item in items for row in score_stack(item)]
    write_cardiac_metrics(results, rows, [found for item in items if (found := volumes_of(item)) is not None])
    named = [{"name": name, "reason": "it is broken"} for name in problems]
    summary = {"weights": {"sha256": file_hash(weights, 64)}, "problems": named}
    (results / "summary.json").write_text(json.dumps(summary))


def test_figures_out_of_fold_are_those_of_all_rows_together(run: CrossValidation) -> None:
    items = [item_of(patient) for patient in PATIENTS]
    rows = [row for item in items for row in score_stack(item)]
    whole = summarise_cardiac(rows, [found for item in items if (found := volumes_of(item)) is not None])
    metrics = gather(run).metrics
    assert {name: metrics[name] for name in whole} == whole
    assert metrics["n_groups"] == 4
    assert 0.5 < whole["metrics"]["mean_dice"]["estimate"] < 0.97
    for fold, part in enumerate(metrics["cross_validation"]["folds"]):
        own = json.loads((run.results(fold) / "metrics.json").read_text())
        assert part["metrics"] == {name: value["estimate"] for name, value in own["metrics"].items()}


def test_the_tables_of_all_folds_are_those_of_the_folds_with_their_number(run: CrossValidation) -> None:
    gathered = gather(run)
    write_gathered(run, gathered)
    for name in ("metrics_per_image.csv", "metrics_per_patient.csv"):
        tables = [list(csv.DictReader((path / name).open(newline=""))) for path in (run.results(0), run.results(1))]
        expected = [{**row, "fold": str(fold)} for fold, table in enumerate(tables) for row in table]
        assert list(csv.DictReader((run.output_dir / name).open(newline=""))) == expected
    assert gathered.fold_of == {record["name"]: record["fold"] for record in run.plan.records}


def test_the_report_holds_contours_volumes_folds_and_the_worst_stack_first(run: CrossValidation) -> None:
    gathered = gather(run)
    page = write_gathered(run, gathered).read_text()
    for text in ("Contours against the truth", "Volumes against the truth", "Each fold", "Stacks with the lowest dice"):
        assert text in page
    assert 'class="pair"' in page
    assert (run.output_dir / "bland_altman.svg").read_text() in page
    dice = {
        row.name: np.mean([frame.endocardium.dice for frame in row.frames if frame.endocardium is not None])
        for row in gathered.rows
    }
    places = [page.rindex(f">{name}<") for name in sorted(dice, key=lambda name: float(dice[name]))]
    assert places == sorted(places)


def test_a_frame_that_was_left_out_is_named_and_the_rest_counts(run: CrossValidation) -> None:
    item = item_of("ben")
    item["drawn"][1, 0] = False
    evaluate(run, 0, [item_of("ann"), item], problems=("ben-1-0",))
    gathered = gather(run)
    assert [(problem.name, problem.reason) for problem in gathered.problems] == [("ben-1-0", "it is broken")]
    assert gathered.metrics["n_images"] == len(run.plan.records) - 1
    evaluate(run, 0, [item_of("ann"), item])
    (unexplained,) = gather(run).problems
    assert unexplained.name == "ben-1-0"
    assert "no result in" in unexplained.reason


def test_frames_of_another_fold_are_refused(run: CrossValidation) -> None:
    evaluate(run, 0, [item_of("ann"), item_of("cleo")])
    with pytest.raises(InputError, match="results of cleo-1-0.*expected the images of fold 0 alone"):
        gather(run)


def test_a_fold_without_its_table_of_volumes_is_refused(run: CrossValidation) -> None:
    (run.results(1) / "metrics_per_patient.csv").unlink()
    with pytest.raises(InputError, match=r"metrics_per_patient\.csv: found no such file"):
        gather(run)


def test_figures_that_only_some_folds_have_are_averaged_over_these(run: CrossValidation) -> None:
    assert over_folds([{"a": 1.0}, {"a": 2.0, "b": 3.0}])["b"] == {"mean": 3.0, "standard_deviation": None}
    items = [stack("cleo"), stack("dora")]
    for item in items:
        item["myocardium_known"][:] = False
    run = CrossValidation(
        run.bundle,
        run.output_dir,
        Plan(
            [r for r in run.plan.records if r["fold"] == 0]
            + [{"name": row.image, "group": row.group, "fold": 1} for item in items for row in score_stack(item)],
            [0, 1],
        ),
    )
    evaluate(run, 1, items)
    part = gather(run).metrics["cross_validation"]
    first = part["folds"][0]["metrics"]["epicardium_mean_dice"]
    assert part["over_folds"]["epicardium_mean_dice"] == {"mean": first, "standard_deviation": None}
    assert "epicardium_mean_dice" not in part["folds"][1]["metrics"]
    write_gathered(run, gather(run))


def test_names_that_no_file_can_have_are_found_by_the_names_of_their_files(run: CrossValidation) -> None:
    records = [{**r, "name": r["name"].replace("ann-", "ann#1/")} for r in run.plan.records]
    item = item_of("ann")
    item["stems"] = [[stem.replace("ann-", "ann_1_") for stem in row] for row in item["stems"]]
    odd = CrossValidation(run.bundle, run.output_dir, Plan(records, [0, 1]))
    evaluate(odd, 0, [item, item_of("ben")])
    gathered = gather(odd)
    assert gathered.problems == []
    assert gathered.metrics["n_images"] == len(records)


def test_a_bundle_names_its_figures_itself(tmp_path: Path) -> None:
    assert figures_of(bundle_of(tmp_path / "renamed", figures="cardiac")) is CARDIAC
    assert figures_of(bundle_of(tmp_path / "plain")) is INSTANCES
    for name in ("microscopy_nuclei_instance_segmentation", "pathology_nuclei_segmentation"):
        assert figures_of(REPOSITORY / "bundles" / name) is INSTANCES
    with pytest.raises(InputError, match="'lungs'; expected one of instances, cardiac"):
        figures_of(bundle_of(tmp_path / "other", figures="lungs"))


def test_the_command_prints_the_figures_of_the_bundle(run: CrossValidation, capsys: pytest.CaptureFixture[str]) -> None:
    gathered = gather(run)
    script_module("cross_validate").print_figures(gathered)
    printed = capsys.readouterr().out
    head, *lines = printed.splitlines()
    assert head.split()[:3] == ["fold", "frames", "patients"]
    assert "bias of EF in %" in head
    value = gathered.metrics["metrics"]["epicardium_mean_dice"]
    text = f"{value['estimate']:.3f}  ({value['low']:.3f} to {value['high']:.3f})"
    assert any("epicardium Dice" in line and text in line for line in lines)
