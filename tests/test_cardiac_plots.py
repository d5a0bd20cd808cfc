"""Plots show every number that they are given; pictures show the contours where they are."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cine.function import VolumeCurve, heart_function
from common.cine.plots import bland_altman_plot, volume_curve
from common.cine.scores.challenge import bland_altman
from common.cine.tiles import ENDOCARDIUM, EPICARDIUM, TRUTH, cine_pictures, tiles
from common.errors import InputError
from common.report.animation import encode_animation, write_animation

SVG = "{http://www.w3.org/2000/svg}"
VOLUMES = np.array([120.0, 110, 80, 60, 52, 60, 85, 100, 112, 118])


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(svg).iter(f"{SVG}text")]


def function_of(volumes: np.ndarray, times: np.ndarray | None = None, muscle: float = 90.0):  # type: ignore[no-untyped-def]
    return heart_function(VolumeCurve(volumes, np.where(np.isnan(volumes), np.nan, muscle), np.full(10, 8), times))


def stack(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(3 phases, 4 slices, 60, 80): a bright disc in a dark ring on noise, empty in slice 3."""
    rows, columns = np.mgrid[0:60, 0:80]
    distance = np.hypot(rows - 30, columns - 45)
    maps = np.zeros((3, 4, 60, 80), np.uint8)
    for phase in range(3):
        maps[phase, :3] = np.where(distance <= 10 - 2 * phase, 1, np.where(distance <= 15, 2, 0))
    return 100 + 50 * (maps == 1) + rng.normal(0, 5, maps.shape), maps


def test_the_curve_has_a_point_per_phase_and_marks_both_ends_of_systole() -> None:
    svg = volume_curve(function_of(VOLUMES))
    circles = list(parsed(svg).iter(f"{SVG}circle"))
    marks = [element for element in circles if element.get("class") == "mark"]
    assert len(circles) - len(marks) == 2 * len(VOLUMES)
    assert {"ED 120 ml", "ES 52 ml", "phase; volume in ml", "cavity", "wall"} <= set(texts(svg))
    places = [(float(element.get("cx", 0)), float(element.get("cy", 0))) for element in marks]
    assert places[0][0] < places[1][0]  # diastole first
    assert places[0][1] < places[1][1]  # and higher up
    lowest = max(float(element.get("cy", 0)) for element in circles if element.get("fill") == "#0f8a7e")
    assert places[1][1] == lowest


def test_the_curve_is_over_time_only_where_all_times_are_known() -> None:
    times = np.arange(10) * 41.5
    assert "time after the R wave in ms; volume in ml" in texts(volume_curve(function_of(VOLUMES, times)))
    times[4] = np.nan
    assert "phase; volume in ml" in texts(volume_curve(function_of(VOLUMES, times)))


def test_unknown_phases_and_an_unknown_myocardium_have_no_points() -> None:
    volumes = VOLUMES.copy()
    volumes[[2, 7]] = np.nan
    svg = volume_curve(function_of(volumes, muscle=0.0))
    points = [element for element in parsed(svg).iter(f"{SVG}circle") if element.get("class") != "mark"]
    assert len(points) == 8
    assert "wall" not in texts(svg)
    assert "nan" not in svg
    assert volume_curve(function_of(np.array([80.0] + [np.nan] * 9))) == ""


def test_the_agreement_plot_has_a_dot_per_pair_inside_its_frame(rng: np.random.Generator) -> None:
    truth = rng.normal(55, 10, 14)
    agreement = bland_altman(truth + rng.normal(-2, 3, 14), truth, resamples=50)
    svg = bland_altman_plot(agreement, "ejection fraction in percent <EF>")
    root = parsed(svg)
    dots = list(root.iter(f"{SVG}circle"))
    assert len(dots) == 14
    assert all(44 <= float(dot.get("cx", 0)) <= 596 and 14 <= float(dot.get("cy", 0)) <= 252 for dot in dots)
    assert len([line for line in root.iter(f"{SVG}line") if line.get("class") == "level"]) == 3
    assert len(list(root.iter(f"{SVG}rect"))) == 3
    assert f"bias {agreement.bias.estimate:.2f}" in texts(svg)
    assert any("<EF>" in text and "n = 14" in text for text in texts(svg))


def test_an_agreement_without_spread_is_drawn_too() -> None:
    svg = bland_altman_plot(bland_altman([50.0, 50.0], [50.0, 50.0], resamples=5), "volume in ml")
    assert len(list(parsed(svg).iter(f"{SVG}circle"))) == 2
    assert "nan" not in svg


def test_tiles_hold_all_slices_of_the_chosen_phases(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    picture = tiles(images, maps, [0, 2], ["ED", "ES"], zoom=2, margin=5)
    height, width = 2 * (31 + 10), 2 * (31 + 10)  # the box around the ring, with its margin
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * (18 + height + 2), 4 * (width + 2) + 2, 3)
    wrapped = tiles(images, maps, [0, 2], zoom=2, margin=5, columns=3)
    assert wrapped.shape == (2 * (18 + 2 * (height + 2)), 3 * (width + 2) + 2, 3)


def test_contours_lie_on_the_pixels_at_the_edge_of_their_region(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    picture = tiles(images, maps, [0], zoom=1, margin=5)[18:-2]
    for part in range(4):
        tile = picture[:, 2 + part * 43 : 2 + part * 43 + 41]
        labels = maps[0, part, 10:51, 25:66]
        inner, outer = ((tile == colour).all(axis=2) for colour in (ENDOCARDIUM, EPICARDIUM))
        assert (labels[inner] == 1).all()
        assert (labels[outer] == 2).all()
        assert inner.any() == outer.any() == (part < 3)
    only_cavity = tiles(images, np.where(maps == 1, 1, 0), [0])
    assert not (only_cavity == EPICARDIUM).all(axis=2).any()


def test_the_contrast_is_the_same_in_all_frames(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    images[1] *= 0.5
    picture = tiles(images, maps, [0, 1], zoom=1, margin=5)
    half = len(picture) // 2
    assert picture[half + 18 :].mean() < 0.7 * picture[18:half].mean()
    assert np.isfinite(tiles(np.where(images > 150, np.nan, images), maps, [0])).all()


def test_truth_is_drawn_below_the_prediction(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    truth = np.roll(np.where(maps == 1, 1, 0), 3, axis=3)
    picture = tiles(images, maps, [0], zoom=1, margin=5, truth=truth)[18:-2]
    width = len(np.flatnonzero(truth[0].any(axis=(0, 1)) | maps[0].any(axis=(0, 1)))) + 10
    for part in range(4):
        tile = picture[:, 2 + part * (width + 2) : 2 + part * (width + 2) + width]
        drawn = truth[0, part, 10:51, 25 : 25 + width]
        blue = (tile == TRUTH).all(axis=2)
        assert drawn[blue].all()
        assert blue.any() == (part < 3)
    assert np.array_equal(tiles(images, maps, [0], truth=maps), tiles(images, maps, [0]))


def test_the_curve_counts_phases_as_they_are_called() -> None:
    circles = parsed(volume_curve(function_of(VOLUMES), phase_numbers=range(11, 21))).iter(f"{SVG}circle")
    titles = ["".join(element.itertext()) for element in circles]
    assert any(title.startswith("cavity at 11:") for title in titles)
    assert not any(title.startswith("cavity at 1:") for title in titles)


def test_a_stack_without_labels_shows_whole_images(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    picture = tiles(images, np.zeros_like(maps), [0], zoom=1)
    assert picture.shape == (18 + 60 + 2, 4 * 82 + 2, 3)


def test_shapes_that_do_not_agree_are_refused(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    with pytest.raises(ValueError, match="images and maps"):
        tiles(images[0], maps, [0])
    with pytest.raises(ValueError, match="names"):
        tiles(images, maps, [0, 1], ["one"])
    with pytest.raises(ValueError, match="0 phases"):
        tiles(images, maps, [])


@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_an_animation_holds_every_picture(tmp_path: Path, rng: np.random.Generator, ending: str) -> None:
    images, maps = stack(rng)
    pictures = [tiles(images, maps, [phase]) for phase in range(3)]
    path = tmp_path / f"heart{ending}"
    write_animation(path, pictures, ms_per_picture=40)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with Image.open(path) as animation:
        assert animation.n_frames == 3
        assert animation.info["loop"] == 0
        assert animation.info["duration"] == 40
        for index, picture in enumerate(pictures):
            animation.seek(index)
            shown = np.asarray(animation.convert("RGB"))
            if ending == ".png":
                assert np.array_equal(shown, picture)
            else:
                assert np.abs(shown.astype(int) - picture).mean() < 4


def test_a_failed_animation_leaves_the_old_one(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "heart.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="one size"):
        write_animation(path, [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)])
    with pytest.raises(ValueError, match="one size"):
        encode_animation([])
    with pytest.raises(InputError, match=r"\.jpg"):
        write_animation(tmp_path / "heart.jpg", [np.zeros((4, 4, 3), np.uint8)])
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["heart.png"]


def test_a_gif_keeps_the_colours_of_the_contours_exactly(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    (picture,) = [tiles(images, maps, [0])]
    with Image.open(io.BytesIO(encode_animation([picture], ".gif"))) as animation:
        shown = np.asarray(animation.convert("RGB"))
    for colour in (ENDOCARDIUM, EPICARDIUM):
        assert np.array_equal((shown == colour).all(axis=2), (picture == colour).all(axis=2))


def test_pictures_of_many_colours_can_be_a_gif_too(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(encode_animation([picture, picture[::-1]], ".gif"))) as animation:
        assert animation.n_frames == 2
        assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - picture).mean() < 40


def test_pictures_of_a_cine_show_each_phase_at_one_contrast(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    images[1] *= 0.5
    pictures = cine_pictures(images, maps)
    assert len(pictures) == 3
    assert len({picture.shape for picture in pictures}) == 1
    assert np.array_equal(np.concatenate(pictures), tiles(images, maps, range(3), columns=4))
    assert pictures[1][18:].mean() < 0.7 * pictures[0][18:].mean()


def test_of_many_or_large_slices_those_of_the_heart_are_shown_evenly(rng: np.random.Generator) -> None:
    images, maps = stack(rng)
    many, labels = (np.repeat(array[:, [0, 3]], (15, 9), axis=1) for array in (images, maps))
    assert np.array_equal(cine_pictures(many, labels)[0], cine_pictures(many[:, :12], labels[:, :12])[0])
    large = np.kron(maps, np.ones((1, 1, 20, 20), np.uint8))
    picture = cine_pictures(np.zeros(large.shape, np.uint8), large)[0]
    assert picture.shape[0] * picture.shape[1] < 1_000_000


def test_one_picture_is_an_animation_too() -> None:
    picture = np.full((4, 6, 3), 7, np.uint8)
    with Image.open(io.BytesIO(encode_animation([picture]))) as animation:
        assert np.array_equal(np.asarray(animation), picture)
