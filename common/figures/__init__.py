"""Which figures a kind of bundle is judged by in a cross-validation: how they are read, summed up and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..datasets.datalist import read_json
from ..errors import InputError
from .base import Figures, Plot
from .cardiac import CARDIAC
from .classes import CLASSES
from .frames import FRAMES
from .instances import INSTANCES

__all__ = ["CARDIAC", "CLASSES", "FIGURES", "FRAMES", "INSTANCES", "Figures", "Plot", "figures_of"]

FIGURES: Mapping[str, Figures] = {"instances": INSTANCES, "cardiac": CARDIAC, "classes": CLASSES, "frames": FRAMES}
"""Kinds of figures by the name that a bundle's ``metadata.json`` gives."""


def figures_of(bundle: Path) -> Figures:
    """The figures that a bundle's ``metadata.json`` names under ``figures``; without it those of instances.

    The bundle says it itself, as a folder is copied, renamed and exported, and what its evaluation writes is its own.

    Raises:
        InputError: a name that is none of :data:`FIGURES`.
    """
    path = Path(bundle) / "configs" / "metadata.json"
    name = read_json(path).get("figures", "instances")
    if name not in FIGURES:
        raise InputError(path, f'"figures": {name!r}', f"one of {', '.join(FIGURES)}")
    return FIGURES[name]
