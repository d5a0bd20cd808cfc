"""Overlays show the outlines and nothing else; the page holds everything and lets nothing in."""

from __future__ import annotations

import base64
import doctest
import importlib
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from common.images.boundaries import boundary_mask
from common.metrics.instance_summary import ImageRow, summarise
from common.metrics.instances import score_image
from common.outputs.png import write_png
from common.report.html import (
    ReportImage,
    ReportSection,
    ReportTable,
    embedded_picture,
    folded_table,
    metrics_table,
    write_report,
)
from common.report.moving import Animations
from common.report.overlays import ON_BRIGHT, ON_DARK, overlay, thumbnail
from common.report.svg import histogram, ticks

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Texts, links and pictures of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.sources += [value or "" for name, value in attrs if name == "src"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def dark_image(labels: np.ndarray) -> np.ndarray:
    return np.where(labels > 0, 200, 20).astype(np.uint8)


def discs(size: int = 600) -> np.ndarray:
    rows, columns = np.mgrid[0:size, 0:size]
    inside = (rows % 60 - 30) ** 2 + (columns % 60 - 30) ** 2 < 15**2
    return np.where(inside, rows // 60 * 100 + columns // 60 + 1, 0)


@pytest.mark.parametrize("name", ["common.report.svg", "common.images.boundaries"])
def test_examples_in_the_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_boundaries_equal_those_of_scikit_image(rng: np.random.Generator) -> None:
    for _ in range(20):
        labels = rng.integers(0, 3, size=(7, 9)).repeat(3, axis=0).repeat(4, axis=1)
        assert np.array_equal(boundary_mask(labels), find_boundaries(labels, connectivity=1, mode="inner"))


def test_only_outlines_are_coloured_and_small_images_are_doubled() -> None:
    labels = discs(120)
    picture = overlay(dark_image(labels), labels)
    assert picture.shape == (240, 240, 3)
    outline = boundary_mask(labels.repeat(2, axis=0).repeat(2, axis=1))
    assert np.array_equal((picture == ON_DARK.alone).all(axis=2), outline)
    grey = picture[~outline]
    assert (grey == grey[:, :1]).all()
    assert set(np.unique(grey)) == {0, 255}  # the contrast is stretched


def test_large_enough_images_keep_their_size_and_huge_ones_are_reduced() -> None:
    labels = discs()
    assert overlay(dark_image(labels), labels).shape == (600, 600, 3)
    assert overlay(dark_image(labels)[:300], labels[:300], longest=400).shape == (200, 400, 3)
    assert overlay(dark_image(labels)[:100, :90], labels[:100, :90], longest=400).shape == (200, 180, 3)
    for dtype in (np.uint8, np.uint16, np.int16, np.float32, np.float64):
        wide = np.zeros((300, 8192), np.int32)
        wide[100:200, 1000:2000] = 1
        picture = overlay(np.where(wide, 100, 7).astype(dtype), wide)
        assert picture.shape == (150, 4096, 3)
        assert (picture[50, 500:1000] == ON_DARK.alone).all()


def test_truth_prediction_and_agreement_have_their_colours() -> None:
    truth, predicted = np.zeros((600, 600), int), np.zeros((600, 600), int)
    truth[100:200, 100:200], predicted[100:200, 100:190] = 5, 2
    for image, colours in ((dark_image(truth), ON_DARK), (255 - dark_image(truth), ON_BRIGHT)):
        picture = overlay(image, predicted, truth)
        assert tuple(picture[150, 100]) == colours.both
        assert tuple(picture[150, 189]) == colours.prediction
        assert tuple(picture[150, 199]) == colours.truth
    assert tuple(overlay(image, predicted)[150, 100]) == ON_BRIGHT.alone
    assert tuple(overlay(image, predicted, colour=(1, 2, 3))[150, 100]) == (1, 2, 3)


def test_overlay_takes_every_kind_of_image_and_leaves_it_alone(rng: np.random.Generator) -> None:
    labels = discs(120)
    grey = rng.random((120, 120)) ** 4
    for image in (
        grey,
        grey[:, :, None],
        (grey * 4000).astype(np.uint16)[:, :, None].repeat(3, axis=2),
        np.where(labels > 0, grey, np.nan),
    ):
        before = image.copy()
        picture = overlay(image, labels)
        assert picture.dtype == np.uint8
        assert (picture == ON_DARK.alone).all(axis=2).any()
        assert np.array_equal(image, before, equal_nan=image.dtype.kind == "f")
    assert (overlay(np.zeros((120, 120)), labels) == ON_BRIGHT.alone).all(axis=2).any()  # constant: nothing shines
    with pytest.raises(ValueError, match="do not agree"):
        overlay(grey, labels[:50])
    with pytest.raises(ValueError, match="channels"):
        overlay(np.zeros((120, 120, 4)), labels)


def test_png_gives_back_the_picture(tmp_path: Path, rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, size=(13, 17, 3), dtype=np.uint8)
    write_png(tmp_path / "ä b.png", picture)
    read = cv2.imdecode(np.fromfile(tmp_path / "ä b.png", np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(read[:, :, ::-1], picture)
    with pytest.raises(ValueError, match="uint8"):
        write_png(tmp_path / "a.png", picture.astype(float))


def test_thumbnail_keeps_colours_and_limits_the_side() -> None:
    picture = np.zeros((300, 900, 3), np.uint8)
    picture[:] = (200, 30, 60)
    data = base64.b64decode(thumbnail(picture, side=300).removeprefix("data:image/jpeg;base64,"))
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert read.shape == (100, 300, 3)
    assert np.abs(read.astype(int) - (200, 30, 60)).max() <= 4


def test_histogram_counts_every_value_once(rng: np.random.Generator) -> None:
    values = [*rng.gamma(4, 5, size=500), np.nan, 1e6]
    picture = ElementTree.fromstring(histogram(values, "area <px>"))
    counted = sum(int(title.text.rsplit(": ", 1)[1]) for title in picture.iter("title"))
    assert "n = 501, " in picture.attrib["aria-label"]
    beyond = int(picture.attrib["aria-label"].split("n = 501, ")[1].split(" ")[0])
    assert counted + beyond == 501
    assert histogram([np.nan], "nothing") == ""
    assert "median 3" in histogram([3, 3], "same")
    assert "median 0" in histogram([0], "zero")


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (0, 43), (-7, 3), (0.001, 0.0123), (0, 123456)):
        marks = ticks(low, high)
        assert 3 <= len(marks) <= 8
        assert low <= marks[0] < marks[-1] <= high


def report(tmp_path: Path, **changes: object) -> Page:
    truth = discs(120)
    write_png(tmp_path / "a & b_overlay.png", overlay(dark_image(truth), truth))
    score = score_image(truth, truth)
    rows = [ImageRow(str(i), str(i), modality, score) for i, modality in enumerate("ffb")]
    arguments = {
        "title": "Nuclei <script>alert(1)</script> for $5",
        "summary": {"totals": {"images": 2, "seconds": 1.25}, "settings": {"overlap": 0.25}, "device": "cpu"},
        "images": [
            ReportImage('a & b "<i>"', tmp_path / "a & b_overlay.png", 1234, metrics={"f1": 0.875}),
            ReportImage("empty", None, 0, note="nothing <found>"),
        ],
        "tables": [metrics_table(summarise(rows, resamples=20)), ReportTable("T", ["x"], [["<u>"], [None]])],
        "problems": ["c<d>.tif: found nothing"],
        "histograms": {"diameter (px)": [1.0, 2.0, 2.0]},
    }
    write_report(tmp_path / "report.html", **{**arguments, **changes})
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = report(tmp_path)
    assert page.links == ["a%20%26%20b_overlay.png"] * 2
    assert len(page.sources) == 1
    assert page.sources[0].startswith("data:image/jpeg;base64,")
    text = (tmp_path / "report.html").read_text()
    assert "http" not in text
    assert str(tmp_path) not in text


def test_page_escapes_what_users_name(tmp_path: Path) -> None:
    page = report(tmp_path)
    assert page.tags.count("script") == 1
    assert not {"u", "found", "d"} & set(page.tags)
    assert "Nuclei <script>alert(1)</script> for $5" in page.texts
    assert 'a & b "<i>"' in page.texts
    assert "c<d>.tif: found nothing" in page.texts
    assert "<u>" in page.texts
    assert any("nothing <found>" in text for text in page.texts)


def test_page_shows_totals_problems_and_numbers(tmp_path: Path) -> None:
    page = report(tmp_path)
    assert "One thing to know first" in page.texts
    for text in ("2", "1.250", "1,234", "0.875", "f", "b", "Settings and versions", "overlap", "device"):
        assert text in page.texts, text
    assert page.tags.count("svg") == 1
    assert any("95 % interval" in text for text in page.texts)
    plain = report(tmp_path, problems=[], histograms=None, tables=[], images=[], summary={})
    assert not {"svg", "table", "article", "details", "section"} & set(plain.tags)


def test_only_so_many_pictures_are_embedded_but_all_images_listed(tmp_path: Path) -> None:
    small = thumbnail(np.zeros((4, 4, 3), np.uint8))
    images = [ReportImage(f"image {i}", None, i, thumbnail=small) for i in range(5)]
    page = report(tmp_path, images=images, thumbnails=3)
    assert len(page.sources) == 3
    assert "The first 3 of 5 images." in page.texts
    assert page.texts.count("image 4") == 1


def test_one_modality_is_not_listed_twice() -> None:
    rows = [ImageRow(str(i), str(i), "f", score_image(discs(60), discs(60))) for i in range(2)]
    assert [row[0] for row in metrics_table(summarise(rows, resamples=5)).rows] == ["all"]


@pytest.mark.data
def test_real_images_get_the_palette_of_their_background(real_data: Path) -> None:
    """Fluorescence (BBBC039) is dark, H&E (TNBC) is bright."""
    folder = real_data / "bbbc039" / "images"
    if not folder.is_dir():
        pytest.skip(f"no images in {folder}")
    bright = sorted((real_data / "tnbc" / "images").glob("*.png"))[:3]
    for paths, palette in ((sorted(folder.glob("*.png"))[:3], ON_DARK), (bright, ON_BRIGHT)):
        assert paths
        for path in paths:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            labels = np.zeros(image.shape[:2], np.int32)
            labels[10:30, 10:30] = 1
            assert (overlay(image, labels) == palette.alone).all(axis=2).any()


def test_sections_hold_what_they_are_given(tmp_path: Path) -> None:
    table = folded_table(ReportTable("All <values>", ["phase", "ml"], [[1, 80.5], [2, None]], "a note"))
    gif = embedded_picture(b"GIF89a", 'a "beat"', "heart one.gif", "image/gif")
    still = embedded_picture("data:image/jpeg;base64,AA", "still")
    sections = [
        ReportSection("Heart <1>", f"<svg><text>curve</text></svg>{gif}{still}"),
        ReportSection("Numbers", table),
    ]
    write_report(tmp_path / "report.html", "Title", {}, [], sections=sections)
    page = Page((tmp_path / "report.html").read_text())
    assert page.links == ["heart%20one.gif"]
    assert base64.b64decode(page.sources[0].removeprefix("data:image/gif;base64,")) == b"GIF89a"
    assert page.sources[1:] == ["data:image/jpeg;base64,AA"]
    assert {"Heart <1>", "Numbers", "curve", "All <values>", "80.5", "a note"} <= set(page.texts)
    assert folded_table(ReportTable("Empty", ["phase"], [])) == ""


def test_animations_are_embedded_while_there_is_room_and_linked_beyond(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.gif", "b #2.gif", "c.gif")]
    for file, size in zip(files, (60, 50, 40), strict=True):
        file.write_bytes(bytes(size))
    animations = Animations()
    animations.room = 100
    pages = [Page(animations.shown(file, "cells <1>", "Movie")) for file in files]
    assert [len(page.sources) for page in pages] == [1, 0, 1]
    assert [page.links for page in pages] == [["a.gif"], ["b%20%232.gif"], ["c.gif"]]
    assert pages[1].texts == ["Movie"]
    assert animations.room == 0
    assert animations.shown(None, "cells") == ""
