"""Folds never split a group, are stratified, and depend on nothing but the set of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.datasets.folds import (
    assign_folds,
    check_folds,
    check_no_shared_group,
    read_datalist,
    split,
    with_folds,
    write_datalist,
)
from common.errors import InputError


def _random_groups(seed: int) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(seed)
    groups = [f"g{number}" for number in random.integers(0, 40, 150)]
    strata = [str(kind) for kind in random.choice(["a", "b", "c"], 150, p=[0.8, 0.15, 0.05])]
    return groups, strata


@pytest.mark.parametrize("seed", range(40))
def test_a_group_is_never_split_and_no_fold_is_empty(seed: int) -> None:
    groups, strata = _random_groups(seed)
    for kinds in (strata, None):
        folds = assign_folds(groups, kinds, num_folds=5, seed=seed)
        assert folds.shape == (150,)
        assert set(folds) == set(range(5))
        assert all(
            len({fold for fold, own in zip(folds, groups, strict=True) if own == group}) == 1 for group in groups
        )


@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_single_images_are_spread_evenly_within_one_per_stratum(num_folds: int) -> None:
    strata = ["common"] * 101 + ["rare"] * 23 + ["single"]
    folds = assign_folds(range(len(strata)), strata, num_folds)
    for kind in ("common", "rare"):
        counts = np.bincount(folds[[own == kind for own in strata]], minlength=num_folds)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(folds)
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_unequal_size_are_spread_almost_evenly(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 9, 60)
    groups = np.repeat(np.arange(60), sizes)
    strata = np.repeat(random.integers(0, 2, 60), sizes)
    folds = assign_folds(groups.tolist(), strata.tolist(), seed=seed)
    for kind in (0, 1):
        counts = np.bincount(folds[strata == kind], minlength=5)
        assert counts.max() - counts.min() <= 8, "at most the largest group apart"
    counts = np.bincount(folds, minlength=5)
    assert counts.max() - counts.min() <= 8


def test_folds_do_not_depend_on_the_order_of_images() -> None:
    groups, strata = _random_groups(0)
    order = np.random.default_rng(1).permutation(150)
    shuffled = assign_folds([groups[i] for i in order], [strata[i] for i in order], seed=3)
    assert np.array_equal(shuffled, assign_folds(groups, strata, seed=3)[order])


def test_the_seed_decides() -> None:
    groups, strata = _random_groups(0)
    assert np.array_equal(assign_folds(groups, strata, seed=1), assign_folds(groups, strata, seed=1))
    assert not np.array_equal(assign_folds(groups, strata, seed=1), assign_folds(groups, strata, seed=2))


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(InputError, match="3 groups for 5 folds"):
        assign_folds(["a", "b", "c", "c", "c", "c"])
    with pytest.raises(InputError, match="at least 2 folds"):
        assign_folds(["a", "b"], num_folds=1)
    with pytest.raises(InputError, match="1 strata for 2 images"):
        assign_folds(["a", "b"], ["x"], num_folds=2)


def _records(count: int = 30) -> list[dict[str, Any]]:
    return [
        {"name": f"i{n}", "image": f"/i{n}.png", "label": None, "group": f"p{n // 3}", "modality": "ab"[n % 2]}
        for n in range(count)
    ]


def test_every_image_is_validated_once_over_all_folds() -> None:
    validated = []
    for fold in range(5):
        training, validation = split(_records(), fold, num_folds=5)
        assert len(training) + len(validation) == 30
        check_no_shared_group(training, validation)
        validated += [record["name"] for record in validation]
    assert sorted(validated) == sorted(record["name"] for record in _records())


@pytest.mark.parametrize("fold", [None, -1])
def test_no_fold_trains_on_everything(fold: int | None) -> None:
    assert split(_records(), fold) == (_records(), [])


def test_own_folds_count_if_all_images_have_one() -> None:
    own = [{**record, "fold": index // 15} for index, record in enumerate(_records())]
    assert [record["name"] for record in split(own, 1)[1]] == [f"i{n}" for n in range(15, 30)]
    del own[0]["fold"]
    with pytest.raises(InputError, match="no fold for i0; .* or for none"):
        split(own, 1)


@pytest.mark.parametrize("fold", range(4))
def test_the_plan_of_all_folds_is_what_each_training_would_divide_for_itself(fold: int) -> None:
    planned = with_folds(_records(), num_folds=4, seed=7)
    validation = split(_records(), fold, num_folds=4, seed=7)[1]
    assert [record["name"] for record in planned if record["fold"] == fold] == [r["name"] for r in validation]
    assert with_folds(planned, num_folds=2, seed=1) == planned, "own folds stay"


@pytest.mark.parametrize("first", [0, 1])
def test_a_plan_that_holds_gives_its_folds(first: int) -> None:
    planned = [{**r, "fold": r["fold"] + first} for r in with_folds(_records(), 5)]
    assert check_folds(planned) == list(range(first, first + 5))


def test_a_plan_with_a_patient_in_two_folds_names_patient_and_folds() -> None:
    leaking = [{**record, "fold": 2 if index == 4 else index // 15} for index, record in enumerate(_records())]
    leaking = [{**r, "fold": 1 if r["name"] == "i9" else r["fold"]} for r in leaking]
    with pytest.raises(InputError, match=r"several folds: p1 \(in folds 0 and 2\), p3 \(in folds 0 and 1\)"):
        check_folds(leaking)


def test_plans_that_test_nothing_in_a_fold_are_refused() -> None:
    def plan(*folds: int | None) -> list[dict[str, Any]]:
        return [{"name": f"i{n}", "fold": fold} for n, fold in enumerate(folds)]

    with pytest.raises(InputError, match="no image in fold 1, 2"):
        check_folds(plan(0, 3, 0))
    with pytest.raises(InputError, match="no image in fold 1;"):
        check_folds(plan(2, 3))
    with pytest.raises(InputError, match="all 2 images in one fold"):
        check_folds(plan(1, 1))
    with pytest.raises(InputError, match="no fold for i1"):
        check_folds(plan(0, None, 1))


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="from 0 to 4"):
        split(_records(), 5)
    with pytest.raises(InputError, match="from 0 to 4"):
        split(_records(), -2)
    with pytest.raises(InputError, match="no image for validation"):
        split([{**record, "fold": 0} for record in _records()], 2)
    with pytest.raises(InputError, match="no image for training"):
        split([{**record, "fold": 0} for record in _records()], 0)


def test_a_patient_on_both_sides_is_named() -> None:
    leaking = [{**record, "fold": index % 2} for index, record in enumerate(_records(6))]
    with pytest.raises(InputError, match="p0, p1 in training and validation"):
        split(leaking, 0)


def test_a_data_list_survives_writing_and_reading(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "m1.png", "m2.png", "b.xml"):
        (tmp_path / name).write_bytes(b"x")
    records = [
        {
            "name": "a",
            "image": str(tmp_path / "a.png"),
            "label": [str(tmp_path / "m1.png"), str(tmp_path / "m2.png")],
            "group": "p",
            "modality": "fluorescence",
            "fold": 3,
        },
        {"name": "b", "image": str(tmp_path / "b.png"), "label": str(tmp_path / "b.xml"), "group": "b"},
        {"name": "c", "image": str(tmp_path / "a.png"), "label": None, "group": "b"},
    ]
    write_datalist(tmp_path / "list.json", records)
    assert read_datalist(tmp_path / "list.json") == records
    assert str(tmp_path) not in (tmp_path / "list.json").read_text(), "the folder can be moved"
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "elsewhere").mkdir()
    write_datalist(tmp_path / "elsewhere" / "list.json", records)
    assert read_datalist(tmp_path / "elsewhere" / "list.json") == records
