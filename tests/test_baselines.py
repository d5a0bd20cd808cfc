"""The floor without learning finds what any method has to find, and fails where it is said to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.datasets.labels import read_instances
from common.images.reading import read_image
from common.metrics.instances import score_image, total
from common.nuclei.baselines import BaselineSettings, nuclei_without_learning
from common.tissue.stain import combine_stains


def tissue(rng: np.random.Generator, shape: tuple[int, int] = (150, 190)) -> tuple[np.ndarray, np.ndarray]:
    """RGB and truth: round nuclei of haematoxylin in eosin, some touching, uneven staining, noise of the camera."""
    truth = np.zeros(shape, np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    places = [(row, column) for row in range(18, 140, 38) for column in range(18, 180, 38)]
    places += [(row, column + 17) for row, column in places[::3]]
    for identity, (row, column) in enumerate(places, start=1):
        truth[np.hypot(rows - row, columns - column) <= rng.uniform(8, 10)] = identity
    stains = np.zeros((*shape, 3), np.float32)
    stains[..., 1] = 0.35 + 0.1 * np.sin(rows / 30)
    stains[truth > 0, 0], stains[truth > 0, 1] = 1.1, 0.2
    rgb = combine_stains(cv2.GaussianBlur(stains, (0, 0), 1.0)) * 245 + rng.normal(0, 4, (*shape, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8), truth


def test_synthetic_nuclei_are_found_and_parted(rng: np.random.Generator) -> None:
    rgb, truth = tissue(rng)
    found = nuclei_without_learning(rgb)
    assert found.dtype == np.int32
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    score = score_image(truth, found)
    assert score.dice > 0.9
    assert score.f1 > 0.95


def test_lamp_and_number_type_change_little(rng: np.random.Generator) -> None:
    rgb, _ = tissue(rng)
    usual = nuclei_without_learning(rgb)
    for other in (rgb.astype(np.uint16) * 257, (rgb / 255).astype(np.float32), np.rint(rgb * 0.7).astype(np.uint8)):
        assert score_image(usual, nuclei_without_learning(other)).dice > 0.99


def test_lengths_follow_the_pixel_size(rng: np.random.Generator) -> None:
    rgb, truth = tissue(rng)
    half = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    coarse = score_image(truth[::2, ::2], nuclei_without_learning(half, pixel_size_um=0.5))
    assert coarse.f1 > 0.9
    wrong = score_image(truth[::2, ::2], nuclei_without_learning(half, pixel_size_um=0.25))
    assert wrong.f1 < coarse.f1


def test_small_objects_go_and_the_others_are_numbered_anew(rng: np.random.Generator) -> None:
    rgb, _ = tissue(rng)
    every = nuclei_without_learning(rgb, BaselineSettings(min_area=0))
    areas = np.bincount(every.ravel())[1:]
    limit = int(np.median(areas))
    large = nuclei_without_learning(rgb, BaselineSettings(min_area=limit))
    assert np.array_equal(np.bincount(large.ravel())[1:], areas[areas >= limit])
    assert not nuclei_without_learning(rgb, BaselineSettings(min_area=10**6)).any()


def test_empty_slides_have_no_nuclei_and_grey_images_are_refused() -> None:
    for value in (0, 128, 255):
        assert not nuclei_without_learning(np.full((40, 50, 3), value, np.uint8)).any()
    for shape in ((40, 50), (40, 50, 1), (40, 50, 4)):
        with pytest.raises(ValueError, match="stained tissue"):
            nuclei_without_learning(np.zeros(shape, np.uint8))


@pytest.mark.data
def test_real_tissue_reaches_the_floor(real_data: Path) -> None:
    scores = []
    for path in sorted((real_data / "tnbc" / "images").glob("*.png"))[:4]:
        truth = read_instances({"image": path, "label": real_data / "tnbc" / "masks" / path.name})
        scores.append(score_image(truth, nuclei_without_learning(read_image(path).pixels)))
    assert total(scores).dice > 0.7
