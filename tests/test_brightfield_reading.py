"""Stacks, movies and pictures come in as the frames that were put in, in parts or whole, and what is bad is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from common.brightfield.reading.records import read_frames, read_label
from common.brightfield.reading.sequences import sequence_records, sequences_of
from common.errors import InputError

FRAMES, ROWS, COLUMNS = 10, 30, 41
GREY = np.random.default_rng(0).integers(0, 60000, (FRAMES, ROWS, COLUMNS)).astype(np.uint16)
TWO = np.random.default_rng(1).integers(0, 255, (FRAMES, ROWS, COLUMNS, 2)).astype(np.uint8)
RGB = np.random.default_rng(2).integers(0, 255, (FRAMES, ROWS, COLUMNS, 3)).astype(np.uint8)


def write_pages(path: Path, **options: Any) -> None:
    with tifffile.TiffWriter(path) as writer:
        for page in GREY:
            writer.write(page, contiguous=False, metadata=None, **options)


def write_appended(path: Path) -> None:
    for page in GREY:
        tifffile.imwrite(path, page, append=True)


STACKS: dict[str, Callable[[Path], None]] = {
    "plain": lambda path: tifffile.imwrite(path, GREY),
    "compressed": lambda path: tifffile.imwrite(path, GREY, compression="zlib"),
    "big-endian": lambda path: tifffile.imwrite(path, GREY, byteorder=">"),
    "tiled": lambda path: tifffile.imwrite(path, GREY, tile=(16, 16), compression="zlib"),
    "ImageJ time": lambda path: tifffile.imwrite(path, GREY, imagej=True, metadata={"axes": "TYX"}),
    "ImageJ depth": lambda path: tifffile.imwrite(path, GREY, imagej=True, metadata={"axes": "ZYX"}),
    "OME": lambda path: tifffile.imwrite(path, GREY, ome=True, compression="zlib", metadata={"axes": "TYX"}),
    "pages without description": write_pages,
    "appended files": write_appended,
}


def in_parts(path: Path, size: int = 4, **options: Any) -> np.ndarray:
    """All frames of a file, read part by part."""
    records = sequence_records(path, frames_per_item=size)
    return np.concatenate([read_frames(record, **options).pixels for record in records])


def movie(folder: Path, names: list[str], frames: np.ndarray = GREY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, frames, strict=False):
        cv2.imwrite(str(folder / name), frame)
    return folder


@pytest.mark.parametrize("kind", STACKS)
def test_a_stack_read_in_parts_is_the_stack_that_was_written(kind: str, tmp_path: Path) -> None:
    STACKS[kind](tmp_path / "movie.tif")
    found = in_parts(tmp_path / "movie.tif")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, GREY)


def test_parts_say_which_frames_they_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", GREY)
    records = sequence_records(tmp_path / "movie.tif", frames_per_item=4)
    assert [(part["name"], part["first"], part["count"], part["of"]) for part in records] == [
        ("movie", 0, 4, 10),
        ("movie", 4, 4, 10),
        ("movie", 8, 2, 10),
    ]
    frames = read_frames(records[1])
    assert frames.numbers == (4, 5, 6, 7)
    assert frames.names == ("5", "6", "7", "8")


def test_a_volume_is_never_cut(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "volume.tif", GREY)
    [record] = sequence_records(tmp_path / "volume.tif", frames_per_item=4, spatial_dims=3)
    assert read_frames(record, spatial_dims=3).pixels.shape == GREY.shape


def test_lzw_needs_no_further_package(tmp_path: Path) -> None:
    pages = [Image.fromarray((page >> 8).astype(np.uint8)) for page in GREY]
    pages[0].save(tmp_path / "lzw.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    np.testing.assert_array_equal(in_parts(tmp_path / "lzw.tif"), GREY >> 8)


@pytest.mark.parametrize("order", ["TCYX", "CTYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels_come_last_whatever_their_order_in_the_file(
    order: str, compression: str | None, tmp_path: Path
) -> None:
    stored = np.moveaxis(TWO, 3, 1 if order == "TCYX" else 0)
    tifffile.imwrite(tmp_path / "two.ome.tif", stored, ome=True, compression=compression, metadata={"axes": order})
    np.testing.assert_array_equal(in_parts(tmp_path / "two.ome.tif", channels=2), TWO)


def test_scale_and_interval_come_from_the_header(tmp_path: Path) -> None:
    imagej = {"axes": "TYX", "unit": "um", "finterval": 600}
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(2, 2), metadata=imagej)
    ome = {"axes": "TYX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "TimeIncrement": 30}
    tifffile.imwrite(tmp_path / "b.ome.tif", GREY, ome=True, metadata={**ome, "TimeIncrementUnit": "min"})
    found = [read_frames({"image": str(tmp_path / name)}) for name in ("a.tif", "b.ome.tif")]
    assert [frames.pixel_size_um for frames in found] == pytest.approx([0.5, 0.65])
    assert [frames.seconds_per_frame for frames in found] == [600, 1800]


def test_colour_becomes_grey_and_grey_becomes_colour_and_both_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", RGB, photometric="rgb")
    np.testing.assert_array_equal(in_parts(tmp_path / "rgb.tif", channels=3), RGB)
    grey = read_frames({"image": str(tmp_path / "rgb.tif")})
    np.testing.assert_array_equal(grey.pixels, np.rint(RGB.mean(axis=3)).astype(np.uint8))
    assert grey.notes == ("colour was averaged to grey",)
    cv2.imwrite(str(tmp_path / "grey.png"), RGB[0, ..., 0])
    colour = read_frames({"image": str(tmp_path / "grey.png")}, channels=3)
    assert colour.pixels.shape == (1, ROWS, COLUMNS, 3)
    assert colour.notes == ("grey was repeated as colour",)


def test_alpha_is_dropped(tmp_path: Path) -> None:
    opaque = np.full((ROWS, COLUMNS), 255, np.uint8)
    grey = RGB[0, ..., 0]
    cv2.imwrite(str(tmp_path / "alpha.png"), np.stack([grey, grey, grey, opaque], axis=2))
    frames = read_frames({"image": str(tmp_path / "alpha.png")})
    np.testing.assert_array_equal(frames.pixels, grey[None])
    assert frames.notes == ()


def test_a_number_of_channels_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "two.tif", np.moveaxis(TWO, 3, 1), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(InputError, match="2 channels; expected 1"):
        read_frames({"image": str(tmp_path / "two.tif")})


def test_nan_becomes_the_median_of_its_frame_and_is_noted(tmp_path: Path) -> None:
    values = GREY.astype(np.float32)
    values[3, 2, 2], values[5] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "nan.tif", values)
    frames = read_frames({"image": str(tmp_path / "nan.tif")})
    assert np.isfinite(frames.pixels).all()
    others = np.delete(values[3].ravel(), 2 * COLUMNS + 2)
    assert frames.pixels[3, 2, 2] == np.median(others)
    assert [index for index, note in enumerate(frames.frame_notes) if note] == [3, 5]
    assert "1 NaN" in frames.frame_notes[3]
    assert "all pixels" in frames.frame_notes[5]


@pytest.mark.parametrize("kind", ["plain", "compressed"])
def test_a_truncated_stack_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    STACKS[kind](tmp_path / "movie.tif")
    data = (tmp_path / "movie.tif").read_bytes()
    (tmp_path / "movie.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"movie\.tif"):
        read_frames(sequence_records(tmp_path / "movie.tif")[0])


def test_time_and_depth_at_once_are_refused(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 20, 20), np.uint8)
    tifffile.imwrite(tmp_path / "both.tif", values, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="TZYX"):
        read_frames({"image": str(tmp_path / "both.tif")})


def test_time_in_the_names_makes_a_movie_in_the_order_of_time(tmp_path: Path) -> None:
    names = [f"wellA_t{number}.png" for number in range(10)] + [
        "wellB_t000_phase.png",
        "wellB_t001_phase.png",
        "note.png",
    ]
    movie(tmp_path, [*names, "wellA_t10.png"], np.concatenate([GREY, GREY]))
    records = {record["name"]: record for record in sequence_records(tmp_path)}
    assert sorted(records) == ["note", "wellA", "wellB_phase"]
    assert [Path(file).stem for file in records["wellA"]["image"]][-2:] == ["wellA_t9", "wellA_t10"]
    assert records["note"]["of"] == 1


def test_unrelated_pictures_stay_alone_and_the_switch_decides_otherwise(tmp_path: Path) -> None:
    movie(tmp_path, [f"gastruloid_{number}.png" for number in (1, 2, 10)])
    assert [record["of"] for record in sequence_records(tmp_path)] == [1, 1, 1]
    [record] = sequence_records(tmp_path, movies="true")
    assert [Path(file).stem for file in record["image"]] == ["gastruloid_1", "gastruloid_2", "gastruloid_10"]
    movie(tmp_path / "timed", ["a_t0.png", "a_t1.png"])
    assert [record["of"] for record in sequence_records(tmp_path / "timed", movies="false")] == [1, 1]
    with pytest.raises(InputError, match="movies"):
        sequence_records(tmp_path, movies="perhaps")


def test_a_subfolder_is_a_movie_where_its_names_are_numbers_and_its_pictures_of_one_size(tmp_path: Path) -> None:
    movie(tmp_path / "A", ["1.png", "2.png", "10.png"])
    movie(tmp_path / "B", ["x_1.png", "x_2.png"], [GREY[0], GREY[0, :20]])  # type: ignore[arg-type]
    movie(tmp_path / "C", ["left.png", "right.png"])
    found = [(record["name"], record["of"]) for record in sequence_records(tmp_path)]
    assert found == [("A", 3), ("x_1", 1), ("x_2", 1), ("left", 1), ("right", 1)]


def test_stacks_in_a_folder_are_sequences_of_their_own(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, GREY)
    assert [(record["name"], record["of"]) for record in sequence_records(tmp_path)] == [("a", 10), ("b", 10)]


def test_a_bad_frame_of_a_movie_is_left_out_and_named(tmp_path: Path) -> None:
    movie(tmp_path, [f"a_t{number}.png" for number in range(5)])
    (tmp_path / "a_t1.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "a_t3.png"), GREY[0, :20])
    [record] = sequence_records(tmp_path)
    frames = read_frames(record)
    assert frames.numbers == (0, 2, 4)
    assert [problem.name for problem in frames.problems] == ["a_t1", "a_t3"]
    np.testing.assert_array_equal(frames.pixels, GREY[[0, 2, 4]])
    with pytest.raises(InputError, match="a_t1"):  # a volume without one of its planes is another volume
        read_frames(record, spatial_dims=3)


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        sequence_records(tmp_path / "absent")
    with pytest.raises(InputError, match="no image"):
        sequence_records(tmp_path)
    (tmp_path / "broken.tif").write_bytes(b"II*\0 and nothing more")
    [record] = sequence_records(tmp_path)
    with pytest.raises(InputError, match=r"broken\.tif"):
        read_frames(record)


def test_labels_go_with_their_frames(tmp_path: Path) -> None:
    truth = (GREY > 30000).astype(np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", GREY)
    tifffile.imwrite(tmp_path / "truth.tif", truth * 255)
    record = {"name": "movie", "image": str(tmp_path / "movie.tif"), "label": str(tmp_path / "truth.tif"), "group": "a"}
    parts = sequences_of([record], frames_per_item=4)
    assert {part["group"] for part in parts} == {"a"}
    found = [read_label(part, read_frames(part)) for part in parts]
    np.testing.assert_array_equal(np.concatenate(found), truth)


def test_labels_of_a_movie_in_files_skip_the_frames_that_were_left_out(tmp_path: Path) -> None:
    movie(tmp_path / "images", [f"{number}.png" for number in range(4)])
    movie(tmp_path / "masks", [f"{number}.png" for number in range(4)], (GREY > 30000).astype(np.uint8) * 255)
    (tmp_path / "images" / "2.png").write_bytes(b"")
    files = {key: [str(tmp_path / key / f"{n}.png") for n in range(4)] for key in ("images", "masks")}
    record = {"name": "m", "image": files["images"], "label": files["masks"], "group": "m"}
    [part] = sequences_of([record])
    np.testing.assert_array_equal(read_label(part, read_frames(part)), GREY[[0, 1, 3]] > 30000)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0, 255], [0, 1]),
        ([0, 1], [0, 1]),
        ([0, 2], [0, 2]),
        ([0, 0], [0, 0]),
    ],
)
def test_masks_of_two_values_are_class_one_and_other_values_classes(
    stored: list[int], expected: list[int], tmp_path: Path
) -> None:
    where = GREY[0] > 30000
    cv2.imwrite(str(tmp_path / "a.png"), GREY[0])
    cv2.imwrite(str(tmp_path / "mask.png"), np.where(where, stored[1], stored[0]).astype(np.uint8))
    record = {"image": str(tmp_path / "a.png"), "label": str(tmp_path / "mask.png")}
    label = read_label(record, read_frames(record))
    np.testing.assert_array_equal(label[0], np.where(where, expected[1], expected[0]))


@pytest.mark.parametrize("mask", [np.zeros((20, 20), np.uint8), np.full((ROWS, COLUMNS), 999, np.uint16)])
def test_a_mask_of_another_size_or_of_ids_is_refused_by_name(mask: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREY[0])
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    record = {"image": str(tmp_path / "a.png"), "label": str(tmp_path / "mask.png")}
    with pytest.raises(InputError, match=r"mask\.png"):
        read_label(record, read_frames(record))


@pytest.mark.data
def test_every_real_frame_and_its_mask_can_be_read(real_data: Path) -> None:
    records = sequence_records(real_data / "gastruloid")
    assert len(records) == 68
    for record in records[::8]:
        frames = read_frames(record)
        assert read_label(record, frames).max() == 1
    loose = sequence_records(real_data / "spheroid_unlabelled")
    assert len(loose) == 60
    assert {record["of"] for record in loose} == {1}
