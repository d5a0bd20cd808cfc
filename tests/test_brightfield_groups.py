"""Groups never lie in two parts of a split, copies are found however they are turned, a training ends when it should."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from common.brightfield.reading.copies import find_copies
from common.brightfield.reading.groups import GroupSplit, divide, thinned
from common.brightfield.training.stopping import BestAndStop, LossCurve
from common.errors import InputError


def records(**counts: int) -> list[dict[str, str]]:
    return [{"name": f"{group}{n}", "group": group} for group, count in counts.items() for n in range(count)]


def groups(part: list[dict[str, str]]) -> set[str]:
    return {record["group"] for record in part}


@pytest.mark.parametrize("seed", range(5))
def test_no_group_lies_in_two_parts(seed: int) -> None:
    whole = records(**{f"g{n}": 1 + (n * 7) % 5 for n in range(20)})
    parts = divide(whole, seed=seed)
    assert sum(map(len, parts)) == len(whole)
    assert not groups(parts[0]) & groups(parts[1]) and not (groups(parts[0]) | groups(parts[1])) & groups(parts[2])
    shares = [len(part) / len(whole) for part in parts]
    np.testing.assert_allclose(shares, (0.7, 0.2, 0.1), atol=0.06)


def test_few_groups_fill_the_parts_in_their_order() -> None:
    assert [len(part) for part in divide(records(a=9))] == [9, 0, 0]
    assert [groups(part) for part in divide(records(a=9, b=4))] == [{"a"}, {"b"}, set()]
    assert [groups(part) for part in divide(records(a=9, b=4, c=2))] == [{"a"}, {"b"}, {"c"}]


def test_the_order_of_records_changes_nothing() -> None:
    whole = records(a=5, b=3, c=4, d=2)
    names = [sorted(record["name"] for record in part) for part in divide(whole)]
    assert names == [sorted(record["name"] for record in part) for part in divide(whole[::-1])]


@pytest.mark.parametrize("ratios", [(0.7, 0.2), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_ratios_that_are_none_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="ratios"):
        divide(records(a=3), ratios)


def test_thinning_takes_from_all_groups_evenly() -> None:
    kept = thinned(records(a=50, b=5, c=20), 30)
    counts = {name: sum(record["group"] == name for record in kept) for name in "abc"}
    assert counts == {"a": 13, "b": 5, "c": 12}
    assert thinned(kept, None) == kept and thinned(kept, 99) == kept


def picture(rng: np.random.Generator, side: int = 80) -> np.ndarray:
    grains = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 4)
    return cv2.normalize(grains, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def dataset(folder: Path, pictures: dict[str, np.ndarray], table: dict[str, str]) -> Path:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name, pixels in pictures.items():
        cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), (pixels > 128).astype(np.uint8) * 255)
    rows = "".join(f"{name}.png,{group},drawn by hand\n" for name, group in table.items())
    (folder / "images.csv").write_text("image,group,mask_source\n" + rows)
    return folder


def test_copies_are_found_turned_by_any_angle_and_mirrored(tmp_path: Path, rng: np.random.Generator) -> None:
    first, second = picture(rng), picture(rng)
    matrix = cv2.getRotationMatrix2D((39.5, 39.5), 37, 1)
    pictures = {
        "a": first,
        "a_turned": cv2.warpAffine(first, matrix, (80, 80), borderMode=cv2.BORDER_REFLECT),
        "a_mirrored": first[:, ::-1],
        "b": second,
        "c": picture(rng),
    }
    data = dataset(tmp_path / "d", pictures, dict.fromkeys(pictures, "g"))
    found = find_copies([{"name": name, "image": str(data / "images" / f"{name}.png")} for name in pictures])
    assert {frozenset(pair[:2]) for pair in found.pairs} == {
        frozenset(pair) for pair in (("a", "a_turned"), ("a", "a_mirrored"), ("a_turned", "a_mirrored"))
    }


def test_groups_come_from_the_table_and_copies_across_parts_are_reported(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    first = picture(rng)
    pictures = {"a": first, "b": np.rot90(first), "c": picture(rng), "d": picture(rng)}
    data = dataset(tmp_path / "d", pictures, {"a": "x", "b": "y", "c": "x", "d": "z"})
    split = GroupSplit(data, hold_out="group=y")
    assert [record["name"] for record in split.validation] == ["b"] and not split.stops
    assert "a and b" in caplog.text
    split.write(tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["groups"] == {"training": ["x", "z"], "validation": ["y"], "test": []}
    assert content["copies"][0][:2] == ["a", "b"]
    assert GroupSplit(data).stops


def test_no_fold_can_be_said_on_a_command_line(tmp_path: Path, rng: np.random.Generator) -> None:
    names = ("a", "b", "c", "d", "e")
    data = dataset(tmp_path / "d", {name: picture(rng, 32) for name in names}, {name: name for name in names})
    whole = GroupSplit(data, look_for_copies=False)
    for word in ("none", "None", None):
        told = GroupSplit(data, word, look_for_copies=False)
        assert told.fold is None and told.test == whole.test != []
    assert GroupSplit(data, "1", look_for_copies=False).fold == 1
    with pytest.raises(InputError, match="fold: found 'one'"):
        GroupSplit(data, "one", look_for_copies=False)


def test_an_evaluation_knows_the_frames_of_the_training_by_their_group(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a", "b", "c", "d")
    table = {"a": "x", "b": "x", "c": "y", "d": "z"}
    data = dataset(tmp_path / "d", {name: picture(rng, 32) for name in names}, table)
    split = GroupSplit(data, look_for_copies=False)
    split.write(tmp_path / "run" / "split.json")
    weights = tmp_path / "run" / "model.pt"
    assert split.seen_by(weights) == f"0 of {len(split.test)}" and not caplog.text
    whole = GroupSplit(data, -1, look_for_copies=False)
    assert whole.seen_by(weights) == f"{len(split.training)} of 4"
    assert "training part" in caplog.text


def engine(values: list[float], network: torch.nn.Module, patience: int) -> tuple[Engine, BestAndStop]:
    """A training whose weights are the number of the epoch, and a validation after each."""
    trainer, validator = Engine(lambda *_: None), Engine(lambda *_: None)
    stopping = BestAndStop(network, validator, patience)

    def epoch(trainer: Engine) -> None:
        network.load_state_dict({"weight": torch.full((1, 1), float(trainer.state.epoch))})
        validator.state.key_metric_name = "dice"  # type: ignore[attr-defined]
        validator.state.metrics = {"dice": values[trainer.state.epoch - 1]}
        validator.fire_event(Events.COMPLETED)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, epoch)
    stopping.attach(trainer)
    trainer.run([0], max_epochs=len(values))
    return trainer, stopping


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "kept"),
    [
        ([0.1, 0.5, 0.4, 0.3, 0.9], 2, 4, 2.0),
        ([0.1, 0.5, 0.4, 0.6, 0.5], 2, 5, 4.0),
        ([0.9, 0.1, 0.1, 0.1], 0, 4, 4.0),
    ],
    ids=["stops", "goes on", "off"],
)
def test_a_training_ends_with_its_best_weights(values: list[float], patience: int, epochs: int, kept: float) -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    trainer, _ = engine(values, network, patience)
    assert trainer.state.epoch == epochs and network.weight.item() == kept


def test_the_curve_is_drawn_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("epoch,seconds,loss\n1,2.0,0.9\n")
    curve = LossCurve(tmp_path / "loss.svg", log)
    curve.draw()
    assert not (tmp_path / "loss.svg").exists()
    log.write_text("epoch,seconds,loss\n1,2.0,0.9\n2,2.0,0.5\n3,2.0,0.4\n")
    curve.draw()
    assert (tmp_path / "loss.svg").read_text().count("<circle") == 3
