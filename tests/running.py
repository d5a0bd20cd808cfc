"""Bundles run as a user runs them: each in a process of its own, for two in one would share a package named scripts."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from common.images.reading import read_stored

REPOSITORY = Path(__file__).resolve().parents[1]


def script_module(name: str) -> ModuleType:
    """``scripts/<name>.py`` as a module, for tests of its functions."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", REPOSITORY / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


def short_training(epochs: int) -> dict[str, object]:
    """Overrides for a training on small generated images."""
    small = {"samples_per_epoch": 64, "batch_size": 8, "num_workers": 0, "train#crops#size": 64}
    return {"max_epochs": epochs, "val_interval": epochs, **small}


@dataclass(frozen=True)
class Results:
    """What a run left: its folder and what it printed."""

    folder: Path
    printed: str

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def json(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text())

    def labels(self, name: str) -> np.ndarray:
        return read_stored(self.folder / f"{name}_label.tif")[0]


def command(bundle: Path, configs: list[str], **overrides: object) -> list[str]:
    """``python -m monai.bundle run`` with config files and overrides."""
    files = [str(bundle / "configs" / name) for name in configs]
    given = [part for key, value in overrides.items() for part in (f"--{key}", str(value))]
    config = files[0] if len(files) == 1 else str(files)
    base = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, "--bundle_root", str(bundle)]
    return base + given


def environment(**more: str) -> dict[str, str]:
    """On the CPU, and without the repository on the path."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RANK", "WORLD_SIZE")}
    return {"OMP_NUM_THREADS": "1", **own, "CUDA_VISIBLE_DEVICES": "", **more}


def run(arguments: list[str], folder: Path, cwd: Path, **variables: str) -> Results:
    """Run to the end; a run that fails shows what it printed."""
    done = subprocess.run(arguments, cwd=cwd, env=environment(**variables), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Results(folder, done.stdout + done.stderr)
