"""The two pictures hold what their names say, also for other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.outputs.class_pictures import write_class_pictures


@pytest.fixture
def maps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Instance map and probability of an image that is not square."""
    labels = np.zeros((17, 29), np.int32)
    labels[2:8, 3:9], labels[8:12, 3:20] = 1, 256  # an id whose lowest byte is 0
    return labels, rng.random(labels.shape).astype(np.float32)


def test_class_is_binary_and_says_where_objects_are(maps: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path, _ = write_class_pictures(tmp_path, "tissue.v1", *maps)
    assert path == tmp_path / "tissue.v1_class.png"
    with Image.open(path) as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), np.where(maps[0] > 0, 255, 0))


def test_red_is_no_nucleus_and_green_is_nucleus(maps: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    _, path = write_class_pictures(tmp_path, "tissue", *maps)
    assert path == tmp_path / "tissue_prob.png"
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        red, green, blue = np.moveaxis(np.asarray(picture).astype(int), 2, 0)
    assert np.abs(green / 255 - maps[1]).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(red + green, np.full(maps[1].shape, 255))
    assert not blue.any()


def test_bytes_floats_and_values_beyond_the_range_agree(maps: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    wild = maps[1].copy()
    wild[0, :3] = (-0.5, 1.5, np.nan)
    write_class_pictures(tmp_path, "wild", maps[0], wild)
    tame = np.rint(np.nan_to_num(wild).clip(0, 1) * 255).astype(np.uint8)
    write_class_pictures(tmp_path, "tame", maps[0] > 0, tame)
    for kind in ("class", "prob"):
        assert (tmp_path / f"wild_{kind}.png").read_bytes() == (tmp_path / f"tame_{kind}.png").read_bytes()


def test_pictures_replace_older_ones_and_leave_nothing_else(
    maps: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    write_class_pictures(tmp_path / "new", "a", np.zeros_like(maps[0]), np.zeros_like(maps[1]))
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    write_class_pictures(tmp_path / "new", "a", *maps)
    after = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert set(before) == set(after) == {"a_class.png", "a_prob.png"}
    assert all(before[name] != after[name] for name in before)


def test_maps_that_do_not_fit_and_folders_that_cannot_be_made_are_refused(
    maps: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    for labels, foreground in ((maps[0].T, maps[1]), (maps[0][None], maps[1][None])):
        with pytest.raises(ValueError, match="rows, columns"):
            write_class_pictures(tmp_path, "a", labels, foreground)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_class_pictures(tmp_path / "file", "a", *maps)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
