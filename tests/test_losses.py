"""The loss of instance maps: what weighs nothing does not matter, the truth costs nothing."""

from __future__ import annotations

import pytest
import torch

from common.engine.losses import InstanceMapLoss, PartialClassLoss


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits (2, 2, 12, 14) and a target whose last channel is 0 for about a third of the pixels, 1 or 4 else."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 12, 14, generator=draw)
    foreground = (torch.rand(2, 1, 12, 14, generator=draw) > 0.5).float()
    distance = torch.rand(2, 1, 12, 14, generator=draw) * foreground
    weight = torch.tensor([0.0, 1.0, 4.0])[torch.randint(3, (2, 1, 12, 14), generator=draw)]
    return logits, torch.cat([foreground, distance, weight], 1)


@pytest.mark.parametrize("junk", [-50.0, 50.0])
def test_pixels_of_no_weight_do_not_matter(batch: tuple[torch.Tensor, torch.Tensor], junk: float) -> None:
    logits, target = batch
    unknown = (target[:, -1:] == 0).expand(-1, 2, -1, -1)
    changed = target.clone()
    changed[:, :2][unknown] = 1 - changed[:, :2][unknown]
    loss = InstanceMapLoss()
    expected = loss(logits, target)
    torch.testing.assert_close(loss(logits.masked_fill(unknown, junk), target), expected)
    torch.testing.assert_close(loss(logits, changed), expected)
    assert not torch.isclose(loss(logits.masked_fill(~unknown, junk), target), expected)


def test_they_get_no_gradient(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    logits.requires_grad_()
    InstanceMapLoss()(logits, target).backward()
    known = (target[:, -1:] > 0).expand(-1, 2, -1, -1)
    assert logits.grad is not None
    assert not logits.grad[~known].any()
    assert (logits.grad[known] != 0).all()


def test_the_truth_costs_nothing_and_its_opposite_much(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    target = batch[1]
    target[:, 1] = target[:, 0]  # a soft target has an entropy of its own
    sure = 40 * (target[:, :2] - 0.5)
    assert InstanceMapLoss()(sure, target) < 1e-4
    assert InstanceMapLoss()(-sure, target) > 10


def test_soft_targets_are_best_met_exactly(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    target = batch[1]
    exact = torch.logit(target[:, :2].clamp(1e-4, 1 - 1e-4))
    loss = InstanceMapLoss(dice_weight=0.0)
    assert loss(exact, target) < loss(exact + 0.3, target)
    assert loss(exact, target) < loss(exact - 0.3, target)


def test_it_is_the_weighted_mean_of_entropies_and_the_dice_of_each_image(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    logits, target = batch
    weight, p = target[:, 2], torch.sigmoid(logits)
    entropy = [-(t * q.log() + (1 - t) * (1 - q).log()) for t, q in ((target[:, m], p[:, m]) for m in (0, 1))]
    expected = sum(w * (e * weight).sum() / weight.sum() for w, e in zip((2.0, 0.5), entropy, strict=True))
    for item in range(2):
        seen = weight[item] > 0
        a, b = p[item, 0][seen], target[item, 0][seen]
        expected = expected + 0.7 / 2 * (1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1))
    found = InstanceMapLoss(weights=(2.0, 0.5), dice_weight=0.7)(logits, target)
    torch.testing.assert_close(found, torch.as_tensor(expected))


def test_nothing_known_costs_nothing(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    target[:, -1] = 0
    assert InstanceMapLoss()(logits, target) == 0


def test_low_precision_logits_are_computed_in_single(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    found = InstanceMapLoss()(logits.bfloat16(), target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, InstanceMapLoss()(logits.bfloat16().float(), target))


# classes, some of them in doubt


@pytest.fixture
def classes() -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits (4, 3, 10, 12) and classes 0 to 2."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, 10, 12, generator=draw), torch.randint(3, (4, 1, 10, 12), generator=draw)


def in_doubt(target: torch.Tensor) -> torch.Tensor:
    """Background and class 2 are not told apart."""
    return torch.where((target == 0) | (target == 2), 3, target)


def test_without_doubt_it_is_cross_entropy_plus_dice(classes: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = classes
    entropy = torch.nn.functional.cross_entropy(logits, target[:, 0])
    onehot = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1)
    probability = logits.softmax(1)
    dice = 1 - (2 * (probability * onehot).sum((2, 3)) + 1) / ((probability + onehot).sum((2, 3)) + 1)
    torch.testing.assert_close(PartialClassLoss()(logits, target), entropy + dice[:, 1:].mean())
    weighted = torch.nn.functional.cross_entropy(logits, target[:, 0], torch.tensor([1.0, 3.0, 2.0]))
    found = PartialClassLoss(dice_weight=0.0, class_weights=(1.0, 3.0, 2.0))(logits, target)
    torch.testing.assert_close(found, weighted)


def test_images_in_doubt_say_nothing_about_how_the_doubt_is_shared(classes: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = classes
    doubtful = in_doubt(target)
    logs = logits.log_softmax(1)
    both = torch.logaddexp(logs[:, 0], logs[:, 2])
    # Move probability from background to class 2, their sum being kept.
    share = torch.rand(both.shape, generator=torch.Generator().manual_seed(2)).clamp(0.01, 0.99)
    moved = torch.stack([both + share.log(), logs[:, 1], both + (1 - share).log()], 1)
    loss = PartialClassLoss()
    torch.testing.assert_close(loss(moved, doubtful), loss(logits, doubtful))
    assert not torch.isclose(loss(moved, target), loss(logits, target))


def test_a_perfect_prediction_costs_nothing_in_doubt_or_not(classes: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, target = classes
    logits = 60.0 * torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    loss = PartialClassLoss()
    mixed = torch.cat([target[:2], in_doubt(target[2:])])
    for truth in (target, in_doubt(target), mixed):
        assert float(loss(logits, truth)) == pytest.approx(0, abs=1e-5)
    assert float(loss(-logits, mixed)) > 1


def test_the_dice_of_a_class_in_doubt_is_that_of_the_sure_images(classes: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = classes
    mixed = torch.cat([target[:2], in_doubt(target[2:])])
    cavity = PartialClassLoss._dice(logits.softmax(1)[:, 1], target[:, 0] == 1, None)
    wall = PartialClassLoss._dice(logits[:2].softmax(1)[:, 2], target[:2, 0] == 2, None)
    assert cavity is not None and wall is not None
    difference = PartialClassLoss(dice_weight=1.0)(logits, mixed) - PartialClassLoss(dice_weight=0.0)(logits, mixed)
    torch.testing.assert_close(difference, (cavity + wall) / 2)


def test_a_small_object_counts_like_a_large_one() -> None:
    target = torch.zeros(2, 1, 20, 20, dtype=torch.int64)
    target[0, 0, 2:18, 2:18] = 1
    target[1, 0, 9:11, 9:11] = 1
    costs = []
    for missed in (0, 1):
        found = target.clone()
        found[missed] = 0
        logits = 60.0 * torch.nn.functional.one_hot(found[:, 0], 3).movedim(-1, 1).float()
        whole = PartialClassLoss(dice_weight=1.0)(logits, target) - PartialClassLoss(dice_weight=0.0)(logits, target)
        costs.append(float(whole))
    assert costs[0] == pytest.approx(costs[1], rel=0.25)


def test_as_many_weights_as_classes() -> None:
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        PartialClassLoss(class_weights=(1.0, 2.0))
