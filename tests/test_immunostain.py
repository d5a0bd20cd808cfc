"""Generated immunohistochemistry: blue nuclei that can be seen, brown where it should be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.nuclei import immunostain as looks
from common.nuclei.immunostain import immunostain
from common.tissue.stain import combine_stains


def tissue(eosin: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """(96, 96, 3) H&E picture with nine nuclei, and its instance map."""
    instances = np.zeros((96, 96), np.int32)
    for index in range(9):
        cv2.circle(instances, (16 + 32 * (index % 3), 16 + 32 * (index // 3)), 9, index + 1, -1)
    stains = np.zeros((96, 96, 3), np.float32)
    stains[..., 0] = np.where(instances > 0, 1.2, 0.05)
    stains[..., 1] = eosin
    return combine_stains(stains), instances


def brownness(picture: np.ndarray) -> np.ndarray:
    """How much more blue light than red is missing: above 0 in brown, below it in blue."""
    density = -np.log(np.clip(picture, 1e-3, 1))
    return density[..., 2] - density[..., 0]


@pytest.mark.parametrize("fill", [0.0, 0.4, 1.0])
def test_any_picture_gives_one_in_range_and_is_left_as_it_was(fill: float) -> None:
    image = np.full((20, 31, 3), fill, np.float32)
    before = image.copy()
    for seed in range(30):
        for instances in (np.zeros((20, 31), np.int32), np.ones((20, 31), np.int32)):
            found = immunostain(image, instances, np.random.RandomState(seed))
            assert found.shape == image.shape
            assert found.dtype == np.float32
            assert np.isfinite(found).all()
            assert found.min() >= 0
            assert found.max() <= 1
    np.testing.assert_array_equal(image, before)


def test_the_random_state_alone_decides() -> None:
    image, instances = tissue()
    first, second, other = (immunostain(image, instances, np.random.RandomState(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_without_brown_nuclei_are_blue_on_a_pale_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.zeros((96, 96), np.float32)
    monkeypatch.setattr(looks, "_around", lambda *_: nothing)
    monkeypatch.setattr(looks, "_within_some", lambda *_: nothing)
    image, instances = tissue(eosin=1.0)
    for seed in range(20):
        found = immunostain(image, instances, np.random.RandomState(seed))
        inside, outside = found[instances > 0].mean(0), found[instances == 0].mean(0)
        assert inside[2] > inside[0]  # more blue than red
        assert (inside < outside).all()
        # Most of the eosin, which took two thirds of the green light, is gone.
        assert outside[1] > 0.7


def test_brown_around_nuclei_spares_them() -> None:
    image, instances = tissue()
    stains = np.zeros((96, 96, 3), np.float32)
    compared = 0
    for seed in range(20):
        brown = looks._around(stains, instances, np.random.RandomState(seed))
        assert brown.min() >= 0
        core = cv2.erode((instances > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        far = cv2.dilate((instances > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        # Patches lie anywhere, so compare within what is brown at all.
        covered = cv2.GaussianBlur(brown, (0, 0), 12) > 0.3 * brown.max()
        if (covered & core).sum() > 300 and (covered & far).sum() > 300:
            assert brown[covered & core].mean() < brown[covered & far].mean()
            compared += 1
    assert compared >= 10


def test_brown_within_nuclei_picks_some_of_them() -> None:
    _, instances = tissue()
    shares = []
    for seed in range(20):
        brown = looks._within_some(instances, np.random.RandomState(seed))
        means = np.array([brown[instances == index].mean() for index in range(1, 10)])
        shares.append((means > 0.25).mean())
        assert brown[cv2.dilate((instances > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0].max() < 0.2
    assert 0 < np.mean(shares) < 1


def test_brown_comes_to_most_pictures() -> None:
    image, instances = tissue()
    plain = [brownness(immunostain(image, instances, np.random.RandomState(seed))).max() > 0.15 for seed in range(60)]
    assert 0.5 < np.mean(plain) < 0.95
