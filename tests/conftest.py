"""Fixtures for all tests: where the real images are, generated images with known truth."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images (``MEDBUNDLES_DATA``, default ``../shared/data``); skips the test where there is none."""
    folder = Path(os.environ.get("MEDBUNDLES_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images are not at {folder} (set MEDBUNDLES_DATA)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
