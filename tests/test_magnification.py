"""Whose word counts for the pixel size, and the scale that follows from it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from common.errors import InputError
from common.images import magnification
from common.images.magnification import assumption, resolve_mpp, scale_to
from common.nuclei.results import InstanceResults
from common.nuclei.transforms import Magnificationd

NAN = float("nan")


@pytest.fixture(autouse=True)
def _fresh_process() -> None:
    magnification._warn_assumed.cache_clear()


def test_what_the_user_gives_counts_before_the_file_and_the_file_before_the_assumption() -> None:
    assert resolve_mpp(0.5, 0.4, 0.25) == (0.4, "given")
    assert resolve_mpp(0.5, None, 0.25) == (0.5, "file")
    assert resolve_mpp(None, None, 0.25) == (0.25, "assumed")
    assert resolve_mpp(None, 0.4, 0.25) == (0.4, "given")


@pytest.mark.parametrize("size", [None, float("nan"), float("inf"), 0.0, -1.0, 0.01, 352.8])
def test_a_size_that_no_microscope_has_is_unknown(size: float | None) -> None:
    assert resolve_mpp(size, None, 0.25).origin == "assumed"


@pytest.mark.parametrize("given", [0, -0.25, 40, float("nan"), "forty"])
def test_a_given_size_that_cannot_be_is_refused(given: float) -> None:
    with pytest.raises(InputError, match=r"mpp: found .*; expected um per pixel from 0\.05 to 10"):
        resolve_mpp(0.25, given, 0.25)


def test_a_given_size_may_come_as_text_or_empty() -> None:
    assert resolve_mpp(0.25, "0.5", 0.25) == (0.5, "given")  # type: ignore[arg-type]
    assert resolve_mpp(0.5, "", 0.25) == (0.5, "file")  # type: ignore[arg-type]


def test_an_unknown_size_warns_once_and_says_what_is_assumed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            resolve_mpp(None, None, 0.25)
            resolve_mpp(0.5, None, 0.25)
    [message] = caplog.messages
    assert "unknown" in message
    assert "0.25 um per pixel (40x) is assumed" in message


def test_nearly_the_same_size_is_not_resampled() -> None:
    assert scale_to(0.2527, 0.25) == 1.0
    assert scale_to(0.2431, 0.25) == 1.0
    assert scale_to(0.5, 0.25) == 2.0
    assert scale_to(0.125, 0.25) == 0.5
    with pytest.raises(InputError, match=r"a\.tif: found 2 um per pixel; expected at most 1;"):
        scale_to(2.0, 0.25, "a.tif")


def test_what_is_assumed_is_one_line_that_names_images_where_others_tell() -> None:
    told = "pixel size", "0.25 um", "--mpp"
    assert assumption([], 3, *told) == []
    end = "pixel size: 0.25 um is assumed (--mpp can tell it)"
    assert assumption(["a", "b"], 2, *told) == [f"2 of 2 images do not tell their {end}"]
    assert assumption(["a"], 1, *told) == [f"the image does not tell its {end}"]
    assert assumption(list("abcde"), 9, *told) == [f"5 of 9 images (a, b, c and 2 more) do not tell their {end}"]


@pytest.mark.parametrize(
    ("sizes", "given", "assumed"), [((NAN, 0.5), None, 1), ((NAN, NAN), None, 2), ((NAN, 0.5), 0.4, 0)]
)
def test_an_assumed_pixel_size_stands_first_in_the_report_and_in_the_summary(
    tmp_path: Path, sizes: tuple[float, ...], given: float | None, assumed: int
) -> None:
    labels = np.zeros((1, 32, 40), np.int32)
    labels[0, 4:12, 5:15] = 1
    batches = []
    for number, size in enumerate(sizes):
        item = Magnificationd("scale", 0.25, given)({"pixel_size_um": size, "path": "a.png", "name": f"cells{number}"})
        batches.append([{**item, "source": (labels > 0).astype(np.uint8)}])
    engine = Engine(lambda engine, batch: [{"pred": torch.from_numpy(labels), "confidence": np.ones(1)}])
    InstanceResults(tmp_path).attach(engine)
    engine.run(batches)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["images_of_assumed_pixel_size"] == assumed
    end = "do not tell their pixel size: 0.25 um is assumed (--mpp can tell it)"
    names = " (cells0)" if assumed == 1 else ""
    assert summary["assumptions"] == ([f"{assumed} of 2 images{names} {end}"] if assumed else [])
    assert (end in (tmp_path / "report.html").read_text()) == bool(assumed)
