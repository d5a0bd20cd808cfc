"""What the patches of one image say of its class: votes, mean probability, and by how much the best class leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

RULES = ("vote", "mean")
"""How patches become the probability of an image: shares of their votes, or the mean of their probabilities."""


@dataclass(frozen=True, eq=False)
class PatchVotes:
    """Class probabilities of the patches of one image. White patches (no tissue) never vote.

    Attributes:
        corners: (patches, 2) int64, row and column of the upper left corner, in pixels of the network.
        size: side of a patch, likewise.
        probabilities: (patches, classes) float32; 0 for white patches, which the network did not see.
        tissue: (patches,) bool, false for white patches.

    Raises:
        ValueError: shapes that do not agree.

    Example:
        >>> votes = PatchVotes(np.array([[0, 0], [0, 8]]), 8, np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([True, True]))
        >>> votes.votes.tolist(), votes.predicted("mean"), round(votes.margin("mean"), 3)
        ([2, 0], 0, 0.5)
    """

    corners: np.ndarray
    size: int
    probabilities: np.ndarray
    tissue: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.corners.shape, self.probabilities.shape, self.tissue.shape
        count = len(self.tissue)
        if shapes != ((count, 2), (count, *self.probabilities.shape[1:]), (count,)) or self.probabilities.ndim != 2:
            raise ValueError(f"corners, probabilities and tissue of {count} patches have the shapes {shapes}")

    @classmethod
    def from_tensors(cls, found: Mapping[str, Any]) -> PatchVotes:
        """What :class:`..inferers.PatchInferer` gives."""
        probabilities = found["probabilities"].detach().cpu().float().numpy()
        corners, tissue = (torch.as_tensor(found[name]).cpu().numpy() for name in ("corners", "tissue"))
        return cls(corners.astype(np.int64), int(found["size"]), probabilities, tissue.astype(bool))

    @property
    def votes(self) -> np.ndarray:
        """(classes,) int64: patches whose largest probability is that of the class; of equal ones the first."""
        choices = self.probabilities[self.tissue].argmax(axis=1)
        return np.bincount(choices, minlength=self.probabilities.shape[1])

    @property
    def mean_probability(self) -> np.ndarray:
        """(classes,) float64, sums to 1; equal for all classes where nothing votes."""
        return _shares(self.probabilities[self.tissue].sum(axis=0, dtype=np.float64))

    def image_probability(self, rule: str = "mean") -> np.ndarray:
        """(classes,) float64, sums to 1; equal for all classes where nothing votes.

        Args:
            rule: one of :data:`RULES`.

        Raises:
            ValueError: another rule.
        """
        if rule not in RULES:
            raise ValueError(f"rule {rule!r}; expected one of {', '.join(RULES)}")
        return _shares(self.votes.astype(np.float64)) if rule == "vote" else self.mean_probability

    def predicted(self, rule: str = "mean") -> int:
        """Index of the image's class, -1 where nothing votes. Equal votes are decided by the mean probability."""
        if not self.tissue.any():
            return -1
        return int(np.lexsort((self.mean_probability, self.image_probability(rule)))[-1])

    def margin(self, rule: str = "mean") -> float:
        """By how much the best class leads the second, 0 to 1."""
        return lead(self.image_probability(rule))


def lead(probabilities: np.ndarray) -> float:
    """Difference of the two largest values; of a single class its value.

    >>> round(lead(np.array([0.2, 0.7, 0.1])), 6)
    0.5
    """
    ordered = np.sort(probabilities)[::-1]
    return float(ordered[0] - ordered[1]) if len(ordered) > 1 else float(ordered[0])


def _shares(values: np.ndarray) -> np.ndarray:
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1 / max(len(values), 1))
