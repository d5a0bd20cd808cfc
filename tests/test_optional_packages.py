"""What needs no DICOM and no NIfTI works without the packages for them."""

from __future__ import annotations

import subprocess
import sys

from running import REPOSITORY

BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydicom", "nibabel", "highdicom", "itk"):
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
"""
MODULES = (
    "datasets.records, datasets.splits, nuclei.training, nuclei.transforms, nuclei.results, nuclei.threshold_handler, "
    "engine.numbered, crossval.out_of_fold, report.html"
)


def test_nuclei_need_no_medical_packages() -> None:
    imports = "import " + ", ".join(f"common.{name.strip()}" for name in MODULES.split(","))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + imports], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
