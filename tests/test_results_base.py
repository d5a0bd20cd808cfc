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

from common.engine.results import RunResults, as_array, check_writable, report_details
from common.errors import InputError, Problem
from common.nuclei.results import InstanceResults


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
    assert summary == handler.summary
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
