"""Stain separation and its inverse."""

from __future__ import annotations

import numpy as np
import pytest

from common.tissue.stain import STAINS, combine_stains, exchange_stain, jitter_stains, separate_stains


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(1 / 256, 1.2, (20, 30, 3)).astype(np.float32)


def test_combining_is_the_inverse_of_separating(picture: np.ndarray) -> None:
    found = combine_stains(separate_stains(picture))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, picture, atol=2e-5)


def test_separating_is_the_inverse_of_combining(rng: np.random.Generator) -> None:
    stains = rng.uniform(-0.2, 1.5, (20, 30, 3)).astype(np.float32)
    np.testing.assert_allclose(separate_stains(combine_stains(stains)), stains, atol=2e-5)


@pytest.mark.parametrize("stain", range(3))
def test_a_pure_stain_has_no_part_of_the_others(stain: int) -> None:
    amount = np.linspace(0, 2, 15, dtype=np.float32)
    colours = np.exp(-amount[:, None] * STAINS[stain])[None]
    found = separate_stains(colours)[0]
    np.testing.assert_allclose(found[:, stain], amount, atol=1e-4)
    assert np.abs(np.delete(found, stain, axis=1)).max() < 1e-4


def test_white_holds_no_stain_and_black_is_finite() -> None:
    assert np.abs(separate_stains(np.ones((1, 1, 3), np.float32))).max() < 1e-6
    assert np.isfinite(separate_stains(np.array([[[0.0, -1.0, 0.0]]], np.float32))).all()


def test_jitter_by_nothing_changes_nothing(picture: np.ndarray) -> None:
    found = jitter_stains(picture, np.ones(3), np.zeros(3))
    np.testing.assert_allclose(found, np.clip(picture, 0, 1), atol=2e-5)
    assert found.dtype == np.float32


def test_more_stain_is_darker_and_stays_in_range(picture: np.ndarray) -> None:
    darker = jitter_stains(picture, np.ones(3), np.full(3, 0.2))
    assert (darker <= np.clip(picture, 0, 1) + 1e-6).all()
    wild = jitter_stains(picture, np.array([3.0, 0.1, 2.0]), np.array([-2.0, 1.0, -1.0]))
    assert wild.min() >= 0
    assert wild.max() <= 1


def test_an_exchanged_stain_takes_its_new_colour_and_leaves_the_others(rng: np.random.Generator) -> None:
    amounts = rng.uniform(0.1, 0.6, (20, 30, 3)).astype(np.float32)
    brown = exchange_stain(combine_stains(amounts), 1, 3 * STAINS[2])
    # Eosin has become DAB: amounts add up.
    expected = amounts * np.array([1, 0, 1], np.float32) + amounts[..., 1:2] * np.array([0, 0, 1], np.float32)
    np.testing.assert_allclose(separate_stains(brown), expected, atol=1e-4)
    np.testing.assert_allclose(exchange_stain(brown, 0, STAINS[0]), brown, atol=1e-5)


def test_an_exchanged_stain_can_become_stronger(rng: np.random.Generator) -> None:
    amounts = rng.uniform(0.05, 0.3, (5, 6, 3)).astype(np.float32)
    brown = exchange_stain(combine_stains(amounts), 1, STAINS[2], gain=2.5)
    expected = np.stack([amounts[..., 0], np.zeros((5, 6)), amounts[..., 2] + 2.5 * amounts[..., 1]], axis=2)
    np.testing.assert_allclose(separate_stains(brown), expected, atol=1e-4)
