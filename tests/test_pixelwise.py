"""The patch network that is compared with sees the patch around each pixel, and its time is that of all pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.nuclei.pixelwise import PATCH, PatchNetwork, time_pixelwise


def test_the_network_is_as_small_as_the_original() -> None:
    network = PatchNetwork()
    assert network(torch.zeros(2, 3, PATCH, PATCH)).shape == (2, 2)
    # 5x5 convolutions to 32, 32 and 64 channels, then 64 * 4 * 4 to 64 to 2, each with biases.
    assert sum(p.numel() for p in network.parameters()) == 2432 + 25632 + 51264 + 65600 + 130


@pytest.mark.parametrize(("stride", "patches"), [(1, 40 * 50), (4, 10 * 13), (7, 6 * 8)])
def test_every_pixel_of_the_grid_counts(stride: int, patches: int, rng: np.random.Generator) -> None:
    image = rng.integers(0, 255, (40, 50, 3), np.uint8)
    timed = time_pixelwise(image, stride, measure=60, batch=20)
    assert (timed.patches, timed.measured) == (patches, min(60, patches))
    assert timed.seconds > 0


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 4)])
def test_what_is_no_colour_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows, columns, 3"):
        time_pixelwise(np.zeros(shape, np.uint8))
