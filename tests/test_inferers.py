"""The inference engine: tiles equal the whole, sizes and axes are kept, objects of any size are found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch
from torch import nn

from common.errors import InputError
from common.images.windows import fitting_window, window_ramps, window_starts
from common.inferers import AutocastInferer, MagnificationInferer, SizeAdaptiveInferer, TiledInferer
from common.nuclei.instances import decode
from common.nuclei.targets import normalised_distance


class Logit(nn.Module):
    """Pointwise network: after the sigmoid its maps are the first two channels of the image. Notes what it was shown."""

    def __init__(self, smallest: int = 1) -> None:
        super().__init__()
        self.smallest = smallest
        self.shown: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(tuple(images.shape))
        if images.shape[-1] < self.smallest:
            return torch.full_like(images[:, :2], -9.0)
        return torch.logit(images[:, :2].clamp(0.002, 0.998))


def small_field_network(side: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 2, side, padding=side // 2).eval()


def picture(rows: int, columns: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).uniform(0.01, 0.99, (batch, 3, rows, columns)).astype(np.float32)
    )


def discs(rows: int, columns: int, diameter: int, gap: float = 1.6) -> tuple[torch.Tensor, int]:
    """An image whose first channels are the foreground and the distance of discs on a grid, and their number."""
    labels = np.zeros((rows, columns), np.int32)
    step = int(diameter * gap)
    for row in range(step // 2, rows - diameter // 2, step):
        for column in range(step // 2, columns - diameter // 2, step):
            cv2.circle(labels, (column, row), diameter // 2, int(labels.max()) + 1, -1)
    maps = [(labels > 0).astype(np.float32), normalised_distance(labels), np.zeros_like(labels, np.float32)]
    return torch.from_numpy(np.stack(maps))[None], int(labels.max())


# windows


@pytest.mark.parametrize(
    ("window", "overlap"), [(1, 0), (3, 0), (4, 1), (32, 0), (32, 7), (32, 15), (64, 31), (512, 96)]
)
def test_windows_cover_everything_and_share_what_was_asked(window: int, overlap: int) -> None:
    for length in [*range(1, 6 * window, max(1, window // 13)), 2 * window - overlap, 2 * window - 1, 2 * window]:
        starts = window_starts(length, window, overlap)
        size = min(window, length)
        assert starts[0] == 0
        assert starts[-1] + size == length
        assert all(after - before <= window - overlap for before, after in zip(starts, starts[1:], strict=False))
        assert starts == sorted(set(starts))


@pytest.mark.parametrize(
    ("window", "overlap"), [(1, 0), (3, 0), (4, 1), (32, 0), (32, 7), (32, 15), (64, 31), (512, 96)]
)
def test_ramps_sum_to_one_at_every_length(window: int, overlap: int) -> None:
    for length in [*range(1, 6 * window, max(1, window // 13)), 2 * window - overlap + 1, 2 * window - 1, 2 * window]:
        size = min(window, length)
        starts = window_starts(length, size, min(overlap, max(size // 2 - 1, 0)))
        total = np.zeros(length)
        for start, ramp in zip(starts, window_ramps(starts, size), strict=True):
            assert ramp.shape == (size,)
            assert ramp.dtype == np.float32
            assert (ramp >= 0).all()
            total[start : start + size] += ramp
        np.testing.assert_allclose(total, 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("largest", "overlap", "step"),
    [(32, 0, 1), (32, 7, 4), (64, 31, 32), (512, 96, 32), (512, 96, 27.3), (170, 32, 10.7)],
)
def test_a_fitting_window_needs_no_more_windows_and_shares_what_was_asked(
    largest: int, overlap: int, step: float
) -> None:
    for length in [*range(1, 6 * largest, max(1, largest // 17)), largest + 1, 2 * largest - overlap]:
        window = fitting_window(length, largest, overlap, step)
        assert window <= min(largest, length)
        starts = window_starts(length, window, overlap)
        assert len(starts) == len(window_starts(length, largest, overlap))
        assert all(after - before <= window - overlap for before, after in zip(starts, starts[1:], strict=False))


def test_windows_shrink_to_what_covers_the_image() -> None:
    seen: list[tuple[int, ...]] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(windows.shape[-2:]))
        return windows[:, :1]

    TiledInferer(patch_size=512, overlap=96, batch_size=1, amp=False)(picture(1000, 520), network)
    assert seen == [(416, 320)] * 6
    seen.clear()
    # At twice the size an image of 300 is one of 600 to the network.
    TiledInferer(patch_size=512, overlap=96, batch_size=1, amp=False)(picture(300, 300), network, scale=2.0)
    assert seen == [(352, 352)] * 4


# the tiled engine


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (250, 70), (129, 65), (33, 300), (127, 120)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_tiled_equals_whole_for_a_pointwise_network(size: tuple[int, int], batch_size: int) -> None:
    image = picture(*size)
    inferer = TiledInferer(patch_size=64, overlap=24, batch_size=batch_size, amp=False)
    network = Logit()
    found = inferer(image, network)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, image[:, :2].clamp(0.002, 0.998), atol=1e-5, rtol=0)
    assert max(shape[0] for shape in network.shown) <= batch_size
    assert all(max(shape[2:]) <= 64 for shape in network.shown)


@pytest.mark.parametrize("size", [(128, 192), (224, 96)])
def test_tiled_equals_whole_for_a_small_receptive_field(size: tuple[int, int]) -> None:
    image, network = picture(*size), small_field_network()
    whole = TiledInferer(patch_size=256, amp=False)(image, network)
    with torch.no_grad():
        torch.testing.assert_close(whole, network(image).sigmoid(), atol=1e-5, rtol=0)
    tiled = TiledInferer(patch_size=64, overlap=24, amp=False)(image, network)
    # The rim of a window lacks its neighbours: it counts by half a step of the ramp.
    assert (tiled - whole).abs().max() < 0.5 / 24
    assert ((tiled - whole).abs() > 1e-5).float().mean() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (33, 70)])
@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.3, 1.7])
def test_images_below_the_divisor_keep_their_size(size: tuple[int, int], tta: bool, scale: float) -> None:
    network = Logit()
    found = TiledInferer(patch_size=64, overlap=16, tta=tta, amp=False)(picture(*size), network, scale=scale)
    assert found.shape == (1, 2, *size)
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1 + 1e-5).all()
    assert all(rows % 32 == 0 and columns % 32 == 0 for _, _, rows, columns in network.shown)


def test_rows_and_columns_are_not_swapped() -> None:
    image = torch.zeros(1, 3, 40, 150)
    image[0, 0, 5:10, 100:140] = 1
    for tta in (False, True):
        found = TiledInferer(patch_size=64, overlap=16, tta=tta, amp=False)(image, Logit())
        assert torch.equal(found[0, 0] > 0.5, image[0, 0] > 0.5)


@pytest.mark.parametrize("scale", [0.3, 0.77, 2.0])
@pytest.mark.parametrize("size", [(60, 90), (150, 41)])
def test_a_smooth_image_survives_rescaling(scale: float, size: tuple[int, int]) -> None:
    rows, columns = np.indices(size)
    smooth = 0.5 + 0.2 * np.sin(rows / 17) + 0.2 * np.cos(columns / 23)
    image = torch.from_numpy(np.stack([smooth] * 3).astype(np.float32))[None]
    network = Logit()
    found = TiledInferer(patch_size=64, overlap=16, amp=False)(image, network, scale=scale)
    assert (found - image[:, :2]).abs().max() < 0.04
    assert all(max(shape[2:]) <= 64 for shape in network.shown)


@pytest.mark.parametrize("quarter_turns", [False, True])
def test_averaging_over_flips_changes_nothing_for_a_pointwise_network(quarter_turns: bool) -> None:
    image, network = picture(70, 110), Logit()
    inferer = TiledInferer(patch_size=64, overlap=16, amp=False, tta=True, quarter_turns=quarter_turns)
    torch.testing.assert_close(inferer(image, network), image[:, :2].clamp(0.002, 0.998), atol=1e-5, rtol=0)


@pytest.mark.parametrize("quarter_turns", [False, True])
def test_averaging_is_the_mean_over_the_symmetries_of_the_square(quarter_turns: bool) -> None:
    image, network = picture(64, 96), small_field_network(5)
    inferer = TiledInferer(patch_size=96, overlap=16, amp=False, tta=True, quarter_turns=quarter_turns)
    views = []
    with torch.no_grad():
        for turns in range(4):
            for flip in (False, True):
                view = torch.rot90(image.flip(-1) if flip else image, turns, (-2, -1))
                back = torch.rot90(network(view).sigmoid(), -turns, (-2, -1))
                if quarter_turns or turns % 2 == 0:
                    views.append(back.flip(-1) if flip else back)
    torch.testing.assert_close(inferer(image, network), torch.stack(views).mean(0), atol=1e-5, rtol=0)


def test_images_of_a_batch_do_not_mix() -> None:
    images = picture(80, 90, batch=3)
    inferer = TiledInferer(patch_size=64, overlap=16, amp=False)
    together = inferer(images, small_field_network())
    for item in range(3):
        torch.testing.assert_close(together[item : item + 1], inferer(images[item : item + 1], small_field_network()))


def test_the_input_is_left_as_it_was_and_time_is_counted() -> None:
    image = picture(70, 70)
    before = image.clone()
    inferer = TiledInferer(patch_size=64, overlap=16, amp=False)
    inferer(image, small_field_network())
    first = inferer.network_seconds
    inferer(image, small_field_network())
    assert torch.equal(image, before)
    assert 0 < first < inferer.network_seconds


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"patch_size": 100, "overlap": 9}, "--patch_size: found 100"),
        ({"patch_size": 0}, "--patch_size"),
        ({"patch_size": 64, "overlap": 32}, "--overlap: found 32; expected less than half of patch_size, which is 64"),
        ({"patch_size": 64, "overlap": -1}, "--overlap"),
        ({"overlap": "wide"}, "--overlap"),
        ({"batch_size": 0}, "--batch_size"),
    ],
)
def test_unfit_windows_are_refused_by_the_name_of_their_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        TiledInferer(**options)


@pytest.mark.parametrize("diameter", [0, -3, "large", None, float("nan")])
def test_a_diameter_that_cannot_be_is_refused(diameter: Any) -> None:
    tiled = TiledInferer(patch_size=64, overlap=16)
    for inferer in (SizeAdaptiveInferer, MagnificationInferer):
        with pytest.raises(InputError, match="--diameter: found .*expected a number above 0"):
            inferer(tiled, diameter=diameter)
    with pytest.raises(InputError, match="--smallest_diameter"):
        MagnificationInferer(tiled, smallest_diameter=-1)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("tta", [False, True])
def test_slices_of_a_stack_share_a_call_and_come_out_as_each_by_itself(activation: str, tta: bool) -> None:
    stack, network = picture(40, 48, batch=5), small_field_network()
    options = {"patch_size": 64, "overlap": 16, "amp": False, "activation": activation, "tta": tta}
    whole = TiledInferer(batch_size=5, **options)(stack, network)
    single = torch.cat([TiledInferer(**options)(stack[i : i + 1], network) for i in range(5)])
    torch.testing.assert_close(whole, single, atol=1e-5, rtol=1e-5)
    shown = Logit()
    TiledInferer(batch_size=5, patch_size=64, overlap=16, amp=False)(stack, shown)
    assert [size[0] for size in shown.shown] == [5]


def test_classes_sum_to_one_across_seams() -> None:
    image, network = picture(150, 130), small_field_network()
    found = TiledInferer(patch_size=64, overlap=24, amp=False, activation="softmax")(image, network)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 150, 130), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="expected one of sigmoid, softmax"):
        TiledInferer(activation="relu")


@pytest.mark.parametrize("amp", [False, True])
def test_the_plain_inferer_gives_single_precision_logits(amp: bool) -> None:
    image, network = picture(32, 40, batch=2), small_field_network()
    found = AutocastInferer(amp)(image, network)
    assert found.dtype == torch.float32
    assert found.requires_grad  # training goes through it
    torch.testing.assert_close(found, network(image), atol=0.02 if amp else 1e-6, rtol=0)


# the size of the objects


def adaptive(**options: object) -> SizeAdaptiveInferer:
    return SizeAdaptiveInferer(TiledInferer(patch_size=128, overlap=32, amp=False), **{"diameter": 24.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "diameter"),
    [((150, 190), 12), ((150, 190), 24), ((150, 190), 48), ((200, 250), 80), ((300, 270), 12), ((300, 270), 40)],
)  # the last two are probed by parts
def test_objects_are_shown_to_the_network_at_their_size_in_training(size: tuple[int, int], diameter: int) -> None:
    image, count = discs(*size, diameter)
    result = adaptive()(image, Logit())
    assert isinstance(result, MetaTensor)
    assert result.shape == (1, 2, *size)
    found = decollate_batch(result)[0]
    assert float(found.meta["object_diameter"]) == pytest.approx(diameter, rel=0.12)
    assert float(found.meta["network_scale"]) == pytest.approx(24 / diameter, rel=0.15)
    foreground, distance = found.numpy()
    decoded = decode(foreground, distance, float(found.meta["object_diameter"]), adaptive().probe.settings)
    assert len(decoded.confidence) == count
    disagreement = ((foreground > 0.5) != (image[0, 0].numpy() > 0.5)).mean()
    assert disagreement < 0.05


def test_objects_of_about_the_right_size_need_one_pass() -> None:
    network = Logit()
    image, _ = discs(120, 120, 25)
    result = adaptive()(image, network)
    assert len(network.shown) == 1
    assert float(result.meta["network_scale"]) == 1.0
    torch.testing.assert_close(result.as_tensor(), image[:, :2].clamp(0.002, 0.998), atol=1e-5, rtol=0)


def test_where_nothing_is_found_other_scales_are_tried() -> None:
    network = Logit(smallest=192)  # blind to the image at its own scale
    image, _ = discs(100, 100, 12)
    inferer = SizeAdaptiveInferer(TiledInferer(patch_size=256, overlap=32, amp=False), diameter=24.0)
    result = inferer(image, network)
    assert float(result.meta["network_scale"]) == pytest.approx(2.0, rel=0.15)
    assert float(result.meta["object_diameter"]) == pytest.approx(12, rel=0.12)
    assert (result[0, 0] > 0.5).any()


@pytest.mark.parametrize("size", [(90, 60), (400, 300), (1, 1)])
def test_an_empty_image_gives_empty_maps_at_its_own_scale(size: tuple[int, int]) -> None:
    result = adaptive(diameter=30.0)(torch.zeros(1, 3, *size), Logit())
    assert result.shape == (1, 2, *size)
    assert not (result > 0.5).any()
    assert float(result.meta["network_scale"]) == 1.0
    assert float(result.meta["object_diameter"]) == 30.0


def test_the_scale_stays_in_its_range() -> None:
    image, _ = discs(200, 200, 100)
    result = adaptive(scale_range=(0.5, 2.0))(image, Logit())
    assert float(result.meta["network_scale"]) == 0.5
    assert float(result.meta["object_diameter"]) == pytest.approx(100, rel=0.1)


def test_large_images_are_probed_in_few_places() -> None:
    network = Logit()
    image, _ = discs(600, 700, 24)
    adaptive()._estimate(image, network)
    assert network.shown == [(1, 3, 128, 128)] * 4


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("diameter", [12, 48])
def test_objects_in_a_corner_of_a_large_image_tell_the_size(corner: tuple[int, int], diameter: int) -> None:
    image = torch.zeros(1, 3, 900, 1000)
    part, _ = discs(130, 130, diameter)
    row, column = corner[0] * 770, corner[1] * 870
    image[..., row : row + 130, column : column + 130] = part
    result = adaptive()(image, Logit())
    assert float(result.meta["object_diameter"]) == pytest.approx(diameter, rel=0.15)


def test_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="one image at a time"):
        adaptive()(torch.zeros(2, 3, 32, 32), Logit())


def test_metadata_of_the_input_does_no_harm() -> None:
    image, _ = discs(120, 100, 24)
    plain = adaptive()(image, Logit())
    carried = adaptive()(MetaTensor(image, meta={"name": "a"}), Logit())
    torch.testing.assert_close(plain.as_tensor(), carried.as_tensor())
    tiled = TiledInferer(patch_size=64, overlap=16, amp=False)(MetaTensor(image), Logit())
    torch.testing.assert_close(torch.as_tensor(tiled), plain.as_tensor(), atol=1e-5, rtol=0)


# the magnification


def at_magnification(**options: object) -> MagnificationInferer:
    return MagnificationInferer(TiledInferer(patch_size=64, overlap=16, amp=False), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2.0, 0.5, 1.0])
def test_images_are_seen_at_the_magnification_of_the_training(scale: float) -> None:
    network = Logit()
    result = at_magnification(diameter=30.0)(picture(32, 32), network, scale=torch.tensor([scale]))
    assert result.shape == (1, 2, 32, 32)
    assert network.shown[0][-2:] == (max(32, int(32 * scale)),) * 2
    assert float(result.meta["network_scale"]) == pytest.approx(scale)
    assert float(result.meta["object_diameter"]) == pytest.approx(30 / scale)


def test_windows_without_possible_objects_are_not_predicted_and_the_others_do_not_change() -> None:
    image = picture(64, 300)
    possible = torch.zeros(1, 1, 64, 300, dtype=torch.bool)
    possible[..., 10:20, 5:60] = True
    network, whole = Logit(), Logit()
    found = at_magnification()(image, network, possible=possible)
    expected = at_magnification()(image, whole)
    assert sum(shape[0] for shape in network.shown) == 2 < sum(shape[0] for shape in whole.shown)
    torch.testing.assert_close(
        found.as_tensor()[possible.expand_as(found)], expected.as_tensor()[possible.expand_as(found)]
    )
    assert found[..., 120:].eq(0).all()


def test_an_image_without_possible_objects_gives_maps_all_the_same() -> None:
    found = at_magnification()(picture(64, 70), Logit(), possible=torch.zeros(1, 1, 64, 70, dtype=torch.bool))
    assert found.shape == (1, 2, 64, 70)


@pytest.mark.parametrize(
    ("size", "diameter", "scale"),
    [((150, 190), 12, 24 / 12), ((150, 190), 24, 1.0), ((150, 190), 40, 1.0), ((300, 270), 12, 24 / 12)],
)
def test_small_objects_alone_are_enlarged(size: tuple[int, int], diameter: int, scale: float) -> None:
    image, _ = discs(*size, diameter)
    inferer = MagnificationInferer(TiledInferer(patch_size=128, overlap=32, amp=False), 24.0, smallest_diameter=18.0)
    result = inferer(image, Logit())
    assert float(result.meta["network_scale"]) == pytest.approx(scale, rel=0.15)
    assert float(result.meta["object_diameter"]) == pytest.approx(diameter, rel=0.12)
    assert ((result[0, 0].numpy() > 0.5) != (image[0, 0].numpy() > 0.5)).mean() < 0.05


def test_the_probe_looks_at_what_varies_whether_or_not_the_rest_is_skipped() -> None:
    image, _ = discs(700, 700, 12)
    possible = torch.zeros(1, 1, 700, 700, dtype=torch.bool)
    possible[..., 500:, 500:] = True
    image = image * possible
    inferer = MagnificationInferer(TiledInferer(patch_size=64, overlap=16, amp=False), 24.0, smallest_diameter=18.0)
    skipped, whole = inferer(image, Logit(), possible=possible), inferer(image, Logit())
    assert float(skipped.meta["network_scale"]) == pytest.approx(2.0, rel=0.15)
    assert float(skipped.meta["network_scale"]) == float(whole.meta["network_scale"])
    assert ((skipped > 0.5) == (whole > 0.5)).float().mean() > 0.999


def test_nothing_found_leaves_the_magnification_alone() -> None:
    inferer = MagnificationInferer(TiledInferer(patch_size=64, overlap=16, amp=False), 24.0, smallest_diameter=18.0)
    result = inferer(torch.zeros(1, 3, 80, 90), Logit(), scale=0.5)
    assert float(result.meta["network_scale"]) == 0.5
    assert float(result.meta["object_diameter"]) == 48.0
