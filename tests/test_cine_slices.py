"""Slices come at one pixel size and one range of grey values, and go back to their own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from dicoms import SPACING, write_mr

from common.cine.slices import (
    lv_target,
    normalise_slices,
    read_slice,
    resampled_shape,
    spacing_of,
)
from common.errors import InputError
from common.images.resize import resize


@pytest.fixture
def stored(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3000, (24, 36), dtype=np.uint16)


def test_dicom_and_picture_of_one_slice_are_the_same(tmp_path: Path, stored: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stored)
    dicom, picture = read_slice(write_mr(tmp_path / "a.dcm", stored)), read_slice(tmp_path / "a.tif")
    assert np.array_equal(dicom.pixels, stored) and np.array_equal(picture.pixels, stored)
    assert dicom.pixels.dtype == picture.pixels.dtype == np.float32
    assert dicom.spacing_mm == SPACING and picture.spacing_mm is None


def test_the_table_counts_before_the_file(tmp_path: Path, stored: np.ndarray) -> None:
    path = write_mr(tmp_path / "a.dcm", stored)
    assert read_slice(path, [1.25, 2.0]).spacing_mm == (1.25, 2.0)
    with pytest.raises(InputError, match=r"a\.dcm: found pixels of 1250 x 2 mm; expected between 0\.1 and 10 mm"):
        read_slice(path, [1250, 2.0])


def test_unknown_pixels_need_an_assumption(tmp_path: Path, stored: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stored)
    record, found = {"image": "a.tif"}, read_slice(tmp_path / "a.tif")
    assert spacing_of(record, found, 1.4) == (1.4, 1.4)
    with pytest.raises(InputError, match=r"a\.tif: found no pixel size"):
        spacing_of(record, found, None)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.01, -5.0), (30.0, 400.0)])
def test_grey_values_do_not_depend_on_the_scanner(stored: np.ndarray, gain: float, offset: float) -> None:
    stack = np.stack([stored, stored[::-1]]).astype(np.float32)
    found = normalise_slices(gain * stack + offset)
    np.testing.assert_allclose(found, normalise_slices(stack), atol=1e-4)
    assert np.percentile(found[0], 1) == pytest.approx(0, abs=1e-4)
    assert np.percentile(found[0], 99) == pytest.approx(1, abs=1e-4)


def test_a_flat_slice_is_nothing() -> None:
    found = normalise_slices(np.full((2, 5, 6), 7.0, np.float32))
    assert not found.any() and found.dtype == np.float32


@pytest.mark.parametrize("shape", [(256, 256), (180, 220), (64, 300)])
@pytest.mark.parametrize("spacing", [(1.25, 1.25), (1.5625, 1.3), (0.8, 2.1)])
def test_a_disc_keeps_its_size_in_mm_and_its_place(shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    rows, columns = np.indices(shape)
    # Centres of pixels, in mm from the corner.
    y, x = (rows + 0.5) * spacing[0], (columns + 0.5) * spacing[1]
    centre = (0.5 * shape[0] * spacing[0], 0.45 * shape[1] * spacing[1])
    disc = np.hypot(y - centre[0], x - centre[1]) < 18
    values = torch.from_numpy(disc.astype(np.float32))[None, None]
    wanted = resampled_shape(shape, spacing, 1.0)
    there = resize(values, wanted)[0, 0].numpy() > 0.5
    r, c = np.nonzero(there)
    step = [shape[0] * spacing[0] / wanted[0], shape[1] * spacing[1] / wanted[1]]
    assert there.sum() * step[0] * step[1] == pytest.approx(np.pi * 18**2, rel=0.03)
    assert ((r.mean() + 0.5) * step[0], (c.mean() + 0.5) * step[1]) == pytest.approx(centre, abs=0.3)
    back = resize(resize(values, wanted), shape)[0, 0].numpy() > 0.5
    assert 2 * (back & disc).sum() / (back.sum() + disc.sum()) > 0.96


def test_labels_stay_labels() -> None:
    labels = torch.randint(4, (3, 1, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = resize(labels, (60, 31), labels=True)
    assert found.dtype == torch.uint8 and found.shape == (3, 1, 60, 31)
    assert set(found.unique().tolist()) <= {0, 1, 2, 3}
    assert resize(labels, (40, 50), labels=True) is labels


def test_where_nobody_drew_the_epicardium_all_but_the_cavity_is_in_doubt() -> None:
    classes = np.array([[0, 1, 2]], np.uint8)
    assert lv_target(classes, True).tolist() == [[0, 1, 2]]
    assert lv_target(np.array([[0, 1, 0]], np.uint8), False).tolist() == [[3, 1, 3]]
