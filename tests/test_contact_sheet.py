"""The contact sheet shows the patches that were drawn, by kind, and leaves one file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.nuclei.synthetic import stained_image
from common.outputs.png import write_png
from common.report.contact_sheet import draw_sheet
from common.tissue.sampling import SamplingSettings, Sites, cut_patch, find_sites

NONE = np.zeros((0, 2), np.int32)


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray, Sites]:
    made = stained_image((200, 250), 15, 24.0, np.random.default_rng(3))
    settings = SamplingSettings(max_positives=40, background_distance=10)
    return made.pixels, made.instances, find_sites(made.instances, made.pixels, settings)


def test_one_picture_is_left_and_nothing_else(picture: tuple[np.ndarray, np.ndarray, Sites], tmp_path: Path) -> None:
    image, instances, sites = picture
    write_png(tmp_path / "sheet.png", draw_sheet(image, sites, instances, per_kind=10, columns=5))
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    found = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    np.testing.assert_array_equal(found, draw_sheet(image, sites, instances, per_kind=10, columns=5))
    # Three captions, two strips each, five patches side by side.
    assert found.shape == (3 * (24 + 2 * 68), 5 * 68 + 4, 3)


def test_a_patch_is_shown_as_it_is_with_its_site_framed(picture: tuple[np.ndarray, np.ndarray, Sites]) -> None:
    image, _, sites = picture
    one = Sites(sites.positive[:1], NONE, NONE, sites.ratio, 50.0)
    sheet = draw_sheet(image, one, size=16, zoom=3, columns=1)
    shown = sheet[24 : 24 + 48, 4 : 4 + 48]
    truth = cut_patch(image, *one.positive[0], 16).repeat(3, axis=0).repeat(3, axis=1)
    differ = (shown != truth).any(axis=2)
    assert 0 < differ.sum() <= 4 * 9
    assert differ[21:30, 21:30].sum() == differ.sum()


def test_outlines_are_drawn_where_instances_are_given(picture: tuple[np.ndarray, np.ndarray, Sites]) -> None:
    image, instances, sites = picture
    before = image.copy()
    assert not np.array_equal(draw_sheet(image, sites), draw_sheet(image, sites, instances))
    np.testing.assert_array_equal(image, before)


def test_kinds_without_sites_have_captions_alone(picture: tuple[np.ndarray, np.ndarray, Sites]) -> None:
    sheet = draw_sheet(picture[0], Sites(NONE, NONE, NONE, (1.0, 1.0, 0.3), 50.0))
    assert sheet.shape[0] == 3 * 24


def test_sixteen_bits_are_stretched(picture: tuple[np.ndarray, np.ndarray, Sites]) -> None:
    image, _, sites = picture
    sheet = draw_sheet(image.astype(np.uint16) * 16, sites)
    assert sheet.dtype == np.uint8
    assert sheet.max() == 255
