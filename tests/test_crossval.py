"""Cross-validation: one plan that holds, nothing done twice, nothing half done, and figures that add up."""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from common.crossval.out_of_fold import gather, over_folds, write_gathered
from common.crossval.processes import failure, parse_overrides, run_logged
from common.crossval.runs import CrossValidation, FoldFailed, Plan, make_plan
from common.datasets.datalist import write_datalist
from common.datasets.list_files import write_fold_lists
from common.datasets.splits import Split
from common.engine.checkpoints import file_hash
from common.errors import InputError
from common.metrics.instance_summary import ImageRow, summarise, write_metrics
from common.metrics.instances import score_image
from common.nuclei.synthetic import fluorescence_image
from common.outputs.labels import write_label_tiff

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLE = REPOSITORY / "bundles" / "microscopy_nuclei_instance_segmentation"
PATIENTS = ("ann", "ann", "ben", "ben", "cleo", "dora")


def write_images(folder: Path, shape: tuple[int, int] = (96, 80)) -> Path:
    """Six images of four patients as users bring them."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    lines = ["image,patient"]
    for number, patient in enumerate(PATIENTS):
        made = fluorescence_image(shape, 12, 14, np.random.default_rng(number))
        cv2.imwrite(str(folder / "images" / f"i{number}.png"), made.pixels)
        cv2.imwrite(str(folder / "masks" / f"i{number}.png"), made.instances.astype(np.uint16))
        lines.append(f"i{number},{patient}")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def run(images: Path, tmp_path: Path) -> CrossValidation:
    made = CrossValidation(BUNDLE, tmp_path / "cv", make_plan(images, 2), overrides={"max_epochs": "3"})
    made.prepare()
    return made


def fake_training(run: CrossValidation, fold: int, epoch: int = 3, signature: dict[str, int] | None = None) -> None:
    """What a training leaves after an epoch."""
    run.folder(fold).mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.tensor([fold, epoch])}, run.folder(fold) / "model.pt")
    signed = {"fold": fold, "num_folds": 2, "seed": 0, "max_epochs": 3, **(signature or {})}
    content = {"epoch": epoch, "signature": {name: str(value) for name, value in signed.items()}}
    torch.save(content, run.folder(fold) / "checkpoint.pt")


def prediction(truth: np.ndarray, fold: int) -> np.ndarray:
    """The truth without its first objects, more of them missing in later folds."""
    return np.where(truth <= 1 + 2 * fold, 0, truth).astype(np.int32)


def truth_of(record: dict[str, Any]) -> np.ndarray:
    return cv2.imread(record["label"], cv2.IMREAD_UNCHANGED).astype(np.int32)


def fake_evaluation(run: CrossValidation, fold: int, leave_out: str = "") -> list[ImageRow]:
    """What an evaluation leaves, with its own scores."""
    results, rows = run.results(fold), []
    for record in run.plan.of_fold(fold):
        if record["name"] == leave_out:
            continue
        truth = truth_of(record)
        write_label_tiff(results / f"{record['name']}_label.tif", prediction(truth, fold))
        cv2.imwrite(str(results / f"{record['name']}_overlay.png"), np.zeros((*truth.shape, 3), np.uint8))
        score = score_image(truth, prediction(truth, fold))
        rows.append(ImageRow(record["name"], record["group"], record["modality"], score))
    write_metrics(results, rows)
    problems = [{"name": leave_out, "reason": "it is broken"}] if leave_out else []
    summary = {"weights": {"sha256": file_hash(run.folder(fold) / "model.pt", 64)}, "problems": problems}
    (results / "summary.json").write_text(json.dumps(summary))
    return rows


@pytest.fixture
def finished(run: CrossValidation) -> CrossValidation:
    for fold in (0, 1):
        fake_training(run, fold)
        fake_evaluation(run, fold)
    return run


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_keeps_patients_together_and_its_data_list_says_the_same(run: CrossValidation, images: Path) -> None:
    entries = json.loads(run.datalist.read_text())["training"]
    assert len(entries) == len(PATIENTS)
    assert all(Path(entry["image"]).is_absolute() for entry in entries)
    homes = {(entry["group"], entry["fold"]) for entry in entries}
    assert sorted(group for group, _ in homes) == ["ann", "ben", "cleo", "dora"]
    assert make_plan(run.datalist) == run.plan == make_plan(images, 2)


def test_a_plan_comes_from_list_files_too(run: CrossValidation, images: Path, tmp_path: Path) -> None:
    write_fold_lists(tmp_path / "lists", run.plan.records)
    assert make_plan(images, lists=tmp_path / "lists", seed=5) == run.plan


def test_impossible_plans_are_refused(images: Path, run: CrossValidation) -> None:
    with pytest.raises(InputError, match="4 groups for 5 folds"):
        make_plan(images)
    with pytest.raises(InputError, match="found 3, but 2 folds"):
        make_plan(run.datalist, 3)


def test_the_same_plan_goes_on_and_another_one_is_refused(run: CrossValidation, images: Path) -> None:
    before = contents(run.output_dir)
    run.prepare()
    other = [{**record, "fold": 1 - record["fold"]} for record in run.plan.records]
    for records, message in (
        (other, "i0 has another fold"),
        (run.plan.records[:-1], "i5 is in it"),
        (run.plan.records[::-1], "another order"),
    ):
        with pytest.raises(InputError, match=message):
            CrossValidation(BUNDLE, run.output_dir, Plan(records, [0, 1]), 0, run.overrides).prepare()
    assert contents(run.output_dir) == before


def test_other_settings_are_refused_but_another_device_is_not(run: CrossValidation) -> None:
    more = {**run.overrides, "device": "cpu"}
    run.folder(0).mkdir()
    CrossValidation(BUNDLE, run.output_dir, run.plan, 0, more).prepare()
    with pytest.raises(InputError, match="other settings .*'max_epochs': '3'.* expected overrides .*'4'"):
        CrossValidation(BUNDLE, run.output_dir, run.plan, 0, {"max_epochs": "4"}).prepare()
    with pytest.raises(InputError, match="seed 0"):
        CrossValidation(BUNDLE, run.output_dir, run.plan, 1, run.overrides).prepare()


def test_settings_may_change_until_a_fold_is_started(run: CrossValidation) -> None:
    other = CrossValidation(BUNDLE, run.output_dir, run.plan, 0, {"max_epochs": "4"})
    other.prepare()
    other.folder(1).mkdir()
    other.prepare()
    with pytest.raises(InputError, match="other settings"):
        run.prepare()


def test_a_misspelt_override_is_refused_before_anything_is_written(run: CrossValidation, tmp_path: Path) -> None:
    for name, nearest in (("max_epoch", "max_epochs"), ("decode_settings#foregroud", "decode_settings#foreground")):
        with pytest.raises(InputError, match=f"did you mean {nearest}"):
            CrossValidation(BUNDLE, tmp_path / "new", run.plan, 0, {name: "1"}).prepare()
    assert not (tmp_path / "new").exists()


def test_sections_that_are_divided_anew_are_told(
    run: CrossValidation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [{"image": r["image"], "label": r["label"], "patient": r["group"]} for r in run.plan.records]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries[:4], "test": entries[4:]}))
    plan = make_plan(tmp_path / "list.json", 2)
    assert "training (4), test (2): all of them are divided anew" in caplog.text
    caplog.clear()
    write_datalist(tmp_path / "plan.json", plan.records)
    split = Split(tmp_path / "plan.json", fold=1)
    assert {record["name"] for record in split.validation} == {record["name"] for record in plan.of_fold(1)}
    assert not split.test and not caplog.text


def test_overrides_of_what_the_plan_decides_are_refused(run: CrossValidation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--fold: "):
        CrossValidation(BUNDLE, tmp_path / "new", run.plan, 0, {"fold": "1"}).prepare()
    assert not (tmp_path / "new").exists()


def test_overrides_are_read_in_both_spellings() -> None:
    words = ["--max_epochs", "20", "--train#crops#size=64", "--learning-rate", "-1"]
    assert parse_overrides(words) == {"max_epochs": "20", "train#crops#size": "64", "learning_rate": "-1"}
    for wrong in (["20"], ["--max_epochs"], ["--"], ["--a", "1", "b"]):
        with pytest.raises(InputError, match="pairs of --name value"):
            parse_overrides(wrong)


def test_a_training_counts_as_finished_only_behind_its_last_epoch_and_with_its_own_settings(
    run: CrossValidation,
) -> None:
    assert not run.is_trained(0)
    fake_training(run, 0)
    assert run.is_trained(0)
    fake_training(run, 0, epoch=2)
    assert not run.is_trained(0)
    for other in ({"seed": 1}, {"fold": 1}, {"num_folds": 5}, {"max_epochs": 2}):
        fake_training(run, 0, signature=other)
        assert not run.is_trained(0), other
    fake_training(run, 0)
    (run.folder(0) / "model.pt").unlink()
    assert not run.is_trained(0)


def test_an_evaluation_counts_only_for_the_weights_it_was_made_with(finished: CrossValidation) -> None:
    assert finished.is_evaluated(0)
    fake_training(finished, 0, epoch=1)
    assert not finished.is_evaluated(0)
    (finished.results(1) / "metrics.json").unlink()
    assert not finished.is_evaluated(1)


def test_what_is_finished_is_not_run_again(finished: CrossValidation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.crossval.runs.run_logged", lambda *_: pytest.fail("a process was started"))
    before, said = contents(finished.output_dir), list[str]()
    assert finished.run_fold(0, said.append) == []
    assert said == ["fold 0: trained already", "fold 0: evaluated already"]
    assert contents(finished.output_dir) == before


def python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


def test_a_child_that_fails_is_reported_with_status_and_last_lines(
    run: CrossValidation, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; [print('line', n) for n in range(40)]; sys.stdout.flush(); sys.exit('out of memory')"
    monkeypatch.setattr(CrossValidation, "train_command", lambda *_: python(script))
    with pytest.raises(
        FoldFailed, match=r"(?s)training of fold 0 ended with status 1.*train\.log.*line 39\n  out of me"
    ):
        run.run_fold(0, lambda _: None)
    assert "line 0" in (run.folder(0) / "train.log").read_text()


@pytest.mark.parametrize("explained", [True, False])
def test_trainings_and_evaluations_that_left_out_an_image_go_on_and_their_status_is_never_lost(
    run: CrossValidation, monkeypatch: pytest.MonkeyPatch, explained: bool
) -> None:
    name = run.plan.of_fold(0)[0]["name"]

    def child(command: list[str], log: Path) -> int:
        if command == ["train"]:
            fake_training(run, 0)
        else:
            fake_evaluation(run, 0, leave_out=name if explained else "")
        return 1

    monkeypatch.setattr("common.crossval.runs.run_logged", child)
    monkeypatch.setattr(CrossValidation, "train_command", lambda *_: ["train"])
    reasons = [problem.reason for problem in run.run_fold(0, lambda _: None)]
    assert "its training ended with status 1" in reasons[0]
    if explained:  # what was left out is named where the folds are gathered
        assert reasons[1:] == [] and [problem.name for problem in gather(run).problems] == [name]
    else:
        assert len(reasons) == 2 and "its evaluation ended with status 1" in reasons[1]


def test_an_evaluation_without_results_fails_even_with_status_nought(
    run: CrossValidation, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training(run, 0)
    monkeypatch.setattr(CrossValidation, "evaluate_command", lambda *_: python("print('done')"))
    with pytest.raises(FoldFailed, match="evaluation of fold 0 ended with status 0"):
        run.run_fold(0, lambda _: None)


def test_logs_are_added_to_and_signals_are_named(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "a.log"
    assert run_logged(python("print('first')"), log) == 0
    status = run_logged(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), log)
    assert "was ended by signal 9" in failure("it", status, log)
    assert "\nfirst\n" in log.read_text()
    assert log.read_text().count("$ ") == 2


def test_each_fold_trains_and_is_tested_by_the_plan_with_this_python(run: CrossValidation) -> None:
    train, evaluate = run.train_command(1), run.evaluate_command(1)
    assert train[:4] == evaluate[:4] == [sys.executable, "-m", "monai.bundle", "run"]
    for command in (train, evaluate):
        assert {f"--dataset_dir={run.datalist}", "--fold=1", "--num_folds=2", "--max_epochs=3"} < set(command)
    assert f"--ckpt_dir={run.folder(1)}" in train
    assert {f"--ckpt_path={run.folder(1) / 'model.pt'}", f"--output_dir={run.results(1)}"} < set(evaluate)


def test_figures_out_of_fold_are_those_of_all_images_together(finished: CrossValidation) -> None:
    rows = [row for fold in (0, 1) for row in fake_evaluation(finished, fold)]
    gathered = gather(finished)
    whole = summarise(rows)
    assert {name: gathered.metrics[name] for name in whole} == whole
    assert gathered.metrics["n_images"] == 6
    assert gathered.metrics["n_groups"] == 4
    assert 0.3 < whole["metrics"]["f1"]["estimate"] < 0.97, "some objects are missed"


def test_figures_of_each_fold_are_those_of_its_own_evaluation(finished: CrossValidation) -> None:
    folds = gather(finished).metrics["cross_validation"]["folds"]
    for fold, part in enumerate(folds):
        own = json.loads((finished.results(fold) / "metrics.json").read_text())
        assert part["fold"] == fold
        assert part["metrics"] == {name: value["estimate"] for name, value in own["metrics"].items()}
    assert folds[0]["metrics"]["mean_dice"] > folds[1]["metrics"]["mean_dice"]


def test_mean_and_deviation_over_folds_are_the_textbooks() -> None:
    values = [0.5, 0.75, 0.9]
    found = over_folds([{"aji": value, "none": None} for value in values])
    assert found["aji"]["mean"] == pytest.approx(statistics.mean(values))
    assert found["aji"]["standard_deviation"] == pytest.approx(statistics.stdev(values))
    assert found["none"] == {"mean": None, "standard_deviation": None}
    assert over_folds([{"aji": 0.5}])["aji"] == {"mean": 0.5, "standard_deviation": None}


def test_the_table_of_images_has_fold_and_patient(finished: CrossValidation) -> None:
    write_gathered(finished, gather(finished))
    with (finished.output_dir / "metrics_per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    planned = {record["name"]: (str(record["fold"]), record["group"]) for record in finished.plan.records}
    assert {row["image"]: (row["fold"], row["group"]) for row in rows} == planned
    assert all(0 <= float(row["aji"]) <= 1 for row in rows)


def test_the_report_shows_the_figures_and_the_worst_image_first(finished: CrossValidation) -> None:
    gathered = gather(finished)
    page = write_gathered(finished, gathered, worst=2).read_text()
    for part in gathered.metrics["cross_validation"]["folds"]:
        assert f"{part['metrics']['mean_aji']:.3f}" in page
    spread = gathered.metrics["cross_validation"]["over_folds"]["mean_dice"]["standard_deviation"]
    assert "standard deviation</td><td" in page and f"{spread:.3f}" in page
    pictures = re.findall(r'<article class="card"><a href="([^"]+)"><img src="data:', page)
    worst = sorted(gathered.rows, key=lambda row: (row.score.aji, row.name))[:2]
    assert pictures == [f"fold{gathered.fold_of[row.name]}/eval/{row.name}_overlay.png" for row in worst]
    assert json.loads((finished.output_dir / "metrics.json").read_text()) == gathered.metrics


def test_an_image_without_result_is_named_and_not_counted(finished: CrossValidation) -> None:
    (left_out, *_) = [record["name"] for record in finished.plan.of_fold(1)]
    fake_evaluation(finished, 1, leave_out=left_out)
    gathered = gather(finished)
    assert left_out not in {row.name for row in gathered.rows}, "the label file of an earlier evaluation is still there"
    assert [(problem.name, problem.reason) for problem in gathered.problems] == [(left_out, "it is broken")]
    assert "it is broken" in write_gathered(finished, gathered).read_text()


def test_results_of_another_fold_are_refused(finished: CrossValidation) -> None:
    (finished.results(0) / "metrics_per_image.csv").write_text("image\nstranger\n")
    with pytest.raises(InputError, match="results of stranger; expected the images of fold 0 alone"):
        gather(finished)


def test_part_of_the_folds_can_be_gathered_but_never_replaces_all(run: CrossValidation) -> None:
    with pytest.raises(InputError, match="no fold that is trained and evaluated"):
        gather(run)
    fake_training(run, 1)
    fake_evaluation(run, 1)
    assert "1 of 2 folds" in write_gathered(run, gather(run)).read_text()
    fake_training(run, 0)
    fake_evaluation(run, 0)
    write_gathered(run, gather(run))
    before = contents(run.output_dir)
    (run.results(0) / "summary.json").unlink()
    with pytest.raises(InputError, match="include fold 0"):
        write_gathered(run, gather(run))
    for name in ("metrics.json", "metrics_per_image.csv", "report.html"):
        assert (run.output_dir / name).read_bytes() == before[run.output_dir / name]


def test_the_help_shows_examples_and_what_is_written() -> None:
    shown = command("--help")
    assert shown.returncode == 0
    for text in ("python scripts/cross_validate.py ", "-- --max_epochs 20", "datalist.json", "exit status"):
        assert text in shown.stdout


def command(*words: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, on the CPU."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "CUDA_VISIBLE_DEVICES": ""}
    script = [sys.executable, str(REPOSITORY / "scripts" / "cross_validate.py"), *map(str, words)]
    return subprocess.run(script, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_trains_tests_and_reports_all_folds_and_does_nothing_twice(images: Path, tmp_path: Path) -> None:
    words = [BUNDLE, "--dataset_dir", images, "--output_dir", tmp_path / "cv", "--num_folds", "2", "--", "--max_epochs"]
    words += ["1", "--samples_per_epoch", "8", "--batch_size=4", "--num_workers", "0", "--train#crops#size", "64"]
    first = command(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    metrics = json.loads((tmp_path / "cv" / "metrics.json").read_text())
    assert (metrics["n_images"], metrics["n_groups"]) == (6, 4)
    for part in metrics["cross_validation"]["folds"]:
        own = json.loads((tmp_path / "cv" / f"fold{part['fold']}" / "eval" / "metrics.json").read_text())
        assert part["metrics"] == {name: value["estimate"] for name, value in own["metrics"].items()}
    before = contents(tmp_path / "cv")
    again = command(*words, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.count("already") == 4
    assert contents(tmp_path / "cv") == before
    other = command(*["3" if word == "2" else word for word in words], cwd=tmp_path)
    assert other.returncode == 1
    assert "another plan" in other.stderr
    assert "Traceback" not in other.stderr
