"""What all handlers of results share: items of both kinds of engine, problems, the end of a run that fails."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from common.engine import results
from common.engine.results import RunResults, as_array, check_writable, report_details, report_problems
from common.errors import InputError, Problem
from common.nuclei.results import InstanceResults
from common.outputs.files import write_text


class Names(RunResults[str]):
    """Keeps the names of what it is given; refuses those that begin with "bad", breaks at "broken"."""

    def __init__(self, output_dir: Path, **options: Any) -> None:
        super().__init__(output_dir, **options)
        self.items: list[Mapping[str, Any]] = []
        self.summary: dict[str, Any] = {}

    def _write(self, item: Mapping[str, Any]) -> str:
        self.items.append(item)
        name = str(item["name"])
        if name.startswith("bad"):
            raise InputError(name, "nothing", "something")
        if name == "broken":
            raise ZeroDivisionError
        time.sleep(0.01)
        return name

    def _complete(self, seconds: Mapping[str, float]) -> None:
        self.summary = self._run_summary(seconds)
        self._write_summary(self.summary)


def run(handler: RunResults[Any], batches: list[Any], outputs: list[Any]) -> Engine:
    def step(engine: Engine, batch: Any) -> Any:
        engine.inferer.network_seconds += 0.5  # type: ignore[attr-defined]
        return outputs[engine.state.iteration - 1]

    engine = Engine(step)
    engine.inferer = SimpleNamespace(network_seconds=2.0)  # type: ignore[attr-defined]
    handler.attach(engine)
    engine.run(batches)
    return engine


def test_an_item_is_the_same_from_a_list_and_as_a_whole_batch(tmp_path: Path) -> None:
    batch, output = {"name": "a", "source": 1, "image": 2, "seconds_read": 0.5}, {"pred": 3, "image": 2}
    single, listed = Names(tmp_path / "1"), Names(tmp_path / "2")
    run(single, [batch], [output])
    run(listed, [[batch]], [[output]])
    assert single.items == listed.items == [{"name": "a", "source": 1, "seconds_read": 0.5, "pred": 3}]


def test_items_are_written_in_order_and_what_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    early = [Problem("before", "left out")]
    handler = Names(tmp_path, problems=early, max_pending=1)
    run(handler, [{"name": name} for name in ("a", "bad", "b", "c")], [{}] * 4)
    assert handler.written == ["a", "b", "c"]
    assert [problem.name for problem in handler.problems] == ["before", "bad"]
    with pytest.raises(SystemExit, match="1"):
        handler.exit()
    run(handler, [{"name": "a"}], [{}])  # a second run begins anew
    assert handler.written == ["a"]
    assert handler.problems == early


def test_a_run_without_problems_ends_well(tmp_path: Path) -> None:
    handler = Names(tmp_path)
    run(handler, [{"name": "a"}], [{}])
    assert handler.problems == []
    handler.exit()  # raises nothing


def test_an_error_of_the_program_ends_the_run_and_the_writer(tmp_path: Path) -> None:
    handler = Names(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run(handler, [{"name": "broken"}], [{}])
    assert handler._pool is None
    with pytest.raises(KeyError):
        run(handler, [{}], [{}])
    assert handler._pool is None
    assert not (tmp_path / "summary.json").exists()


def test_the_summary_tells_time_weights_settings_and_versions(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    handler = Names(tmp_path / "out", weights=weights, settings={"tta": False})
    run(handler, [{"name": "a", "seconds_read": 0.25}, {"name": "b"}], [{"seconds_decode": 0.5}] * 2)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == {**handler.summary, "files": ["report.html", "summary.json"]}
    seconds = summary["seconds"]
    assert (seconds["read"], seconds["network"], seconds["decode"]) == (0.25, 1.0, 1.0)
    assert 0.02 <= seconds["write"] <= seconds["wall"]
    assert summary["network_share_of_wall_time"] == pytest.approx(1.0 / seconds["wall"], rel=0.2)
    assert summary["weights"]["file"] == "model.pt"
    assert len(summary["weights"]["sha256"]) == 64
    assert summary["settings"] == {"tta": False}
    assert {"medbundles", "monai", "torch", "numpy", "python"} == set(summary["versions"])
    assert set(report_details(summary)) == {"settings", "weights", "seconds", "versions"}
    assert "weights" not in report_details({**summary, "weights": None})


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can be written"):
        check_writable(tmp_path / "file" / "out")
    handler = Names(tmp_path / "file" / "out")
    with pytest.raises(InputError, match="can be written"):
        run(handler, [{"name": "a"}], [{}])
    assert handler.items == []


class Texts(RunResults[str]):
    """A text of each item and a table of all; refuses what begins with "bad"."""

    def _write(self, item: Mapping[str, Any]) -> str:
        name = str(item["name"])
        if name.startswith("bad"):
            raise InputError(name, "nothing", "something")
        write_text(self.output_dir / f"{name}.txt", name)
        write_text(self.output_dir / "each" / name / "part.txt", name)
        return name

    def _complete(self, seconds: Mapping[str, float]) -> None:
        write_text(self.output_dir / "table.csv", "\n".join(self.written))
        self._write_summary(self._run_summary(seconds))
        write_text(self.output_dir / "report.html", "page")


def texts(folder: Path, *names: str, **settings: Any) -> Texts:
    handler = Texts(folder, settings=settings)
    run(handler, [{"name": name} for name in names], [{}] * len(names))
    return handler


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_summary_lists_all_files_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not of the run")
    texts(tmp_path, "a", "b")
    listed = json.loads((tmp_path / "summary.json").read_text())["files"]
    assert {*listed, "mine.txt"} == set(contents(tmp_path))


def test_the_same_run_again_replaces_its_results_and_leaves_none_of_the_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.txt").write_text("not of the run")
    texts(tmp_path, "a", "b", dataset_dir="in", tta=False)
    assert "earlier run" not in caplog.text
    texts(tmp_path, "b", "c", dataset_dir=str(Path("in").absolute()), tta=True)
    assert "earlier run" in caplog.text
    own = {"b.txt", "c.txt", "each/b/part.txt", "each/c/part.txt", "table.csv", "summary.json", "report.html"}
    assert set(contents(tmp_path)) == {*own, "mine.txt"}
    assert not (tmp_path / "each" / "a").exists()
    assert (tmp_path / "table.csv").read_text() == "b\nc"


@pytest.mark.parametrize("other", [{"dataset_dir": "other"}, {"dataset_dir": "in", "fold": 1}, {}])
def test_the_results_of_another_run_are_left_alone(tmp_path: Path, other: dict[str, Any]) -> None:
    texts(tmp_path, "a", dataset_dir="in")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="results of another run"):
        texts(tmp_path, "b", **other)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["summary.json", "report.html"])
@pytest.mark.parametrize("content", ["{}", "not JSON", "[1]"])
def test_what_only_has_the_name_of_a_result_is_left_alone(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"a {name} that is not of such a run"):
        texts(tmp_path, "a")
    assert contents(tmp_path) == {name: content.encode()}


def test_where_nothing_could_be_written_the_earlier_results_stay(tmp_path: Path) -> None:
    texts(tmp_path, "a", dataset_dir="in")
    before = contents(tmp_path)
    handler = texts(tmp_path, "bad", dataset_dir="in")
    assert contents(tmp_path) == before
    with pytest.raises(SystemExit):
        handler.exit()
    texts(tmp_path / "new", "bad")
    assert json.loads((tmp_path / "new" / "summary.json").read_text())["problems"]


def test_a_summary_names_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    out = tmp_path / "out"
    texts(out, "a")
    summary = json.loads((out / "summary.json").read_text())
    (out / "summary.json").write_text(json.dumps({**summary, "files": ["../precious.txt", str(precious)]}))
    texts(out, "a")
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    "record",
    [
        {"image": "in/a.png"},
        {"image": "elsewhere/a.png", "label": "in/a_label.tif"},
        {"image": ["elsewhere/a.png", "in/b.png"], "label": None},
        {"image": "elsewhere", "frames": [{"image": "elsewhere/a.png", "label": {"cavity": "b"}}, {"image": "in/a"}]},
        {"image": "in"},  # a study
        {"image": "."},
    ],
)
def test_the_folder_of_what_is_read_is_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "a_label.tif").write_text("truth")

    def absolute(value: Any) -> Any:
        if isinstance(value, str):
            return str(tmp_path / value)
        return [absolute(v) for v in value] if isinstance(value, list) else value

    made = {key: absolute(value) if key != "frames" else value for key, value in record.items()}
    made["frames"] = [{**frame, "image": absolute(frame["image"])} for frame in record.get("frames", ())]
    for name, refused in (("in", True), ("link", True), ("out", False)):
        handler = Texts(tmp_path / name)
        engine = Engine(lambda engine, batch: {})
        engine.data_loader = SimpleNamespace(dataset=SimpleNamespace(data=[made]))  # type: ignore[attr-defined]
        handler.attach(engine)
        if refused:
            with pytest.raises(InputError, match="another output_dir"):
                engine.run([{"name": "a"}])
        else:
            engine.run([{"name": "a"}])
    assert contents(tmp_path / "in") == {"a_label.tif": b"truth"}


def test_switches_of_the_command_line_are_booleans_in_the_summary(tmp_path: Path) -> None:
    given = {"tta": "false", "consistent": "TRUE", "skip_white": "no", "dataset_dir": "true", "rule": "mean", "size": 1}
    settings = texts(tmp_path, "a", **given).settings
    booleans = {"tta": False, "consistent": True, "skip_white": False}
    assert settings == {**given, **booleans}
    assert json.loads((tmp_path / "summary.json").read_text())["settings"] == settings


def test_tensors_and_arrays_are_arrays() -> None:
    assert as_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    assert as_array([1, 2]).tolist() == [1, 2]


def test_instances_go_through_the_same_handler(tmp_path: Path) -> None:
    labels = np.zeros((1, 32, 40), np.int32)
    labels[0, 4:12, 5:15] = 1
    labels[0, 20:28, 22:30] = 2
    source = np.where(labels > 0, 200, 20).astype(np.uint8)
    batch = {"name": "cells", "source": source, "pixel_size_um": 0.5, "label": labels, "group": "one", "image": None}
    handler = InstanceResults(tmp_path, max_pending=1)
    run(handler, [[batch]], [[{"pred": torch.from_numpy(labels), "confidence": np.ones(2)}]])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["images"], summary["objects"], summary["images_without_objects"]) == (1, 2, [])
    assert summary["metrics"]["mean_dice"]["estimate"] == 1
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("cells_label.tif", "cells.geojson", "cells_overlay.png", "measurements.csv", "submission.csv"),
        *("summary.json", "report.html", "metrics.json", "metrics_per_image.csv"),
    }


def test_coco_annotations_are_of_the_files_that_were_read(tmp_path: Path) -> None:
    labels = np.zeros((1, 32, 40), np.int32)
    labels[0, 4:12, 5:15] = 1
    labels[0, 20:28, 22:30] = 2
    batch = {"name": "cells", "source": (labels > 0).astype(np.uint8), "pixel_size_um": 0.5}
    handler = InstanceResults(tmp_path, coco="true")
    engine = Engine(lambda engine, batch: [{"pred": torch.from_numpy(labels), "confidence": np.array([0.5, 1.0])}])
    records = [{"name": "cells", "image": "/in/cells.tif", "label": None}]
    engine.data_loader = SimpleNamespace(dataset=SimpleNamespace(data=records))  # type: ignore[attr-defined]
    handler.attach(engine)
    engine.run([[batch]])
    found = json.loads((tmp_path / "coco.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "cells.tif", "height": 32, "width": 40}]
    assert [(a["image_id"], a["bbox"], a["score"]) for a in found["annotations"]] == [
        (1, [5, 4, 10, 8], 0.5),
        (1, [22, 20, 8, 8], 1.0),
    ]
    assert "coco.json" in json.loads((tmp_path / "summary.json").read_text())["files"]


@pytest.mark.parametrize(("seen", "said"), [(None, 0), ("0 of 10", 0), ("1 of 10", 1), ("10 of 10", 1)])
def test_a_report_says_first_that_the_weights_know_the_images(tmp_path: Path, seen: str | None, said: int) -> None:
    handler = Names(tmp_path, settings={"seen_in_training": seen}, problems=[Problem("a", "not there")])
    run(handler, [[{"name": "b"}]], [[{"pred": 0}]])
    lines = report_problems(handler.summary)
    assert lines[-1] == "a: not there"
    assert len(lines) == 1 + said
    assert all(seen is not None and line.startswith(seen) for line in lines[:said])


def test_large_items_wait_for_being_written_by_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "HELD_BYTES", 100)
    for size, most in ((10, 3), (200, 1)):
        handler = Names(tmp_path / str(size))
        waiting = []
        take = handler._take
        monkeypatch.setattr(
            handler, "_take", lambda take=take, h=handler, w=waiting: (w.append(len(h._pending)), take())
        )
        batches = [[{"name": f"{i}", "source": np.zeros(size, np.uint8)}] for i in range(8)]
        run(handler, batches, [[{"pred": 0}]] * 8)
        assert len(handler.written) == 8
        assert max(waiting) == most + 1  # with the one that is being written
