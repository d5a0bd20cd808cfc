"""The gastruloid bundle's configs learn images in 2D and 3D, of one channel and of several, with one class and many."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from brightfield_combinations import COMBINATIONS
from running import REPOSITORY, environment

BUNDLE = REPOSITORY / "bundles" / "brightfield_gastruloid_segmentation"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_short_training_finds_the_classes_of_images_that_it_did_not_see(name: str, tmp_path: Path) -> None:
    script = Path(__file__).parent / "brightfield_combinations.py"
    # In a process of its own: every bundle has a package named scripts.
    done = subprocess.run(
        [sys.executable, str(script), str(BUNDLE), str(tmp_path), name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(lines[0].removeprefix("RESULT "))
    assert found["val_mean_iou"] >= 0.9, found
