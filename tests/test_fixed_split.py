"""A fixed split: one validation part, the same hold-out as folds have, nobody in two places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair
from cellsearch.data.plan import Plan
from cellsearch.data.rare import apply_rare
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.errors import ConfigError, RunError, SplitError
from cellsearch.run.config import RunConfig

from split_cases import held, noise

WORDS = "70/10/20"


def draw(dataset: CellDataset, split: str = WORDS, **options: object) -> Splits:
    return draw_splits(dataset, split=split, **({"duplicates": ()} | options))  # type: ignore[arg-type]


def test_shares_of_every_class_are_those_asked_for() -> None:
    dataset = noise((200, 100, 40))
    splits = draw(dataset)
    assert splits.k == 1
    assert held(dataset, splits.training(0)) == [140, 70, 28]
    assert held(dataset, splits.validation(0)) == [20, 10, 4]
    assert held(dataset, splits.holdout) == [40, 20, 8]
    assert len(splits.development) == 272
    parts = np.concatenate([splits.training(0), splits.validation(0), splits.holdout])
    assert sorted(parts) == list(range(len(dataset)))
    assert splits.not_estimable == ()


def test_the_hold_out_is_that_of_folds_with_the_same_seed() -> None:
    dataset = noise((200, 100, 40))
    folds = draw_splits(dataset, folds=5, holdout=0.2, seed=4, duplicates=())
    assert np.array_equal(draw(dataset, seed=4).holdout, folds.holdout)
    assert not np.array_equal(draw(dataset, seed=5).holdout, folds.holdout)
    assert draw(dataset, seed=4).sha256 == draw(dataset, seed=4).sha256


@pytest.mark.parametrize("counts", [(3, 3), (50, 4, 3)])
def test_three_cells_of_a_class_are_enough(counts: tuple[int, ...]) -> None:
    dataset = noise(counts)
    splits = draw(dataset, "90/5/5")
    for part in (splits.training(0), splits.validation(0), splits.holdout):
        assert min(held(dataset, part)) >= 1


def test_two_cells_are_too_few_and_may_be_kept_dropped_or_merged() -> None:
    dataset = noise((50, 20, 2))
    with pytest.raises(SplitError, match=r"a split of 70/10/20 needs 3 cells.*mitosis 2") as told:
        draw(dataset)
    assert "folds=" not in str(told.value)
    kept = draw(dataset, rare="keep")
    assert kept.not_estimable == ("mitosis",)
    assert held(dataset, kept.training(0))[2] == 2
    assert held(dataset, kept.validation(0))[2] == held(dataset, kept.holdout)[2] == 0
    arguments = {"folds": 1, "split": WORDS, "duplicates": ()}
    assert apply_rare(dataset, rare="drop", **arguments).classes == ("G1", "S")  # type: ignore[arg-type]
    merged = apply_rare(dataset, rare="merge=S", **arguments)  # type: ignore[arg-type]
    assert merged.counts.tolist() == [50, 22]


def test_duplicates_stay_together() -> None:
    dataset = noise((60, 30))
    duplicates = [DuplicatePair(cell, cell + 20, "exact", 0.0) for cell in range(20)]
    splits = draw(dataset, "50/25/25", duplicates=duplicates)
    for part in (splits.training(0), splits.validation(0), splits.holdout):
        assert any(pair.a in part for pair in duplicates)
        for pair in duplicates:
            assert (pair.a in part) == (pair.b in part)


def test_a_kept_cell_does_not_train_against_its_duplicate_in_validation() -> None:
    dataset = noise((60, 30, 2))
    places = set()
    for seed in range(12):
        splits = draw(
            dataset,
            "40/30/30",
            rare="keep",
            seed=seed,
            duplicates=[DuplicatePair(0, 90, "exact", 0)],
        )
        if 0 in splits.validation(0):
            places.add("validation")
            assert 90 not in splits.training(0)
        elif 0 in splits.holdout:
            places.add("holdout")
            assert 90 in splits.left_out
        else:
            places.add("training")
            assert 90 in splits.training(0)
    assert places == {"validation", "holdout", "training"}


def test_groups_stay_whole_and_near_the_shares() -> None:
    rng = np.random.default_rng(1)
    groups = [f"donor-{n}" for n in rng.integers(0, 24, 600)]
    dataset = noise((400, 200), groups=groups)
    splits = draw(dataset)
    names = [
        set(dataset.groups[part])  # type: ignore[index]
        for part in (splits.training(0), splits.validation(0), splits.holdout)
    ]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert set.union(*names) == set(groups)
    for part, share in ((splits.training(0), 0.7), (splits.validation(0), 0.1)):
        for k, count in enumerate((400, 200)):
            assert held(dataset, part)[k] / count == pytest.approx(share, abs=0.06)


def test_too_few_groups_are_refused_in_plain_words() -> None:
    groups = ["a", "b"] * 20
    with pytest.raises(SplitError, match="needs 3 groups of each class"):
        draw(noise((20, 20), groups=groups))
    # Two of the four groups share a part, so two of the classes are in two parts alone.
    members = [[g for g in "abcd" if g != missing] * 2 for missing in "abcd"]
    dataset = noise((6, 6, 6, 6), groups=[g for of_class in members for g in of_class])
    with pytest.raises(SplitError, match="training, validation and hold-out a cell of each class"):
        draw(dataset)


def test_the_file_holds_it_and_a_fold_alone_is_refused(tmp_path: Path) -> None:
    dataset = noise((60, 30, 2))
    splits = draw(dataset, rare="keep")
    path = splits.save(tmp_path / "splits.json")
    again = Splits.load(path, dataset)
    assert again.sha256 == splits.sha256
    assert again.training(0).tolist() == splits.training(0).tolist()
    values = json.loads(path.read_text())
    values["train_only"] |= {"indices": [], "ids": [], "tied": []}
    path.write_text(json.dumps(values))
    with pytest.raises(SplitError, match=r"\$\.train_only\.indices: one fold needs"):
        Splits.load(path, dataset)


def test_what_is_printed_is_true() -> None:
    dataset = noise((200, 100, 40))
    assert draw(dataset).describe() == (
        "hold-out 68 cells, locked; fixed split, 238 train and 34 validate"
    )
    folds = draw_splits(dataset, folds=4, duplicates=())
    assert folds.describe() == "hold-out 68 cells, locked; 4 folds of the other 272"


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ("70/30", "training/validation/hold-out"),
        ("70/0/30", "each above 0"),
        ("70/10/10", "add up to 100, not 90"),
        ("a/b/c", "training/validation/hold-out"),
        ("nan/10/20", "each above 0"),
    ],
)
def test_what_is_no_split_is_refused(split: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        draw(noise((60, 30)), split)
    with pytest.raises(RunError, match=told) as error:
        RunConfig.of(dataset="demo", split=split)
    assert len(str(error.value).split("; ")) == 1


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"folds": 5}, "folds: leave it out"),
        ({"holdout": 0.3}, "holdout: leave it out"),
        ({"final": "folds"}, "final: folds needs"),
    ],
)
def test_a_split_refuses_what_contradicts_it(other: dict[str, object], told: str) -> None:
    with pytest.raises(RunError, match=told) as error:
        RunConfig.of(dataset="demo", split=WORDS, **other)
    assert "\n" not in str(error.value)


def test_the_config_knows_folds_and_hold_out_and_survives_its_file() -> None:
    config = RunConfig.of(dataset="demo", split="70.0/ 10/20")
    assert (config.split, config.folds, config.holdout) == (WORDS, 1, pytest.approx(0.2))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert Plan.fixed("60.5/19.5/20").split == "60.5/19.5/20"
    plain = RunConfig.of(dataset="demo")
    assert (plain.split, plain.folds, plain.holdout) == (None, None, 0.2)
    with pytest.raises(RunError, match="folds: expected 2 or more"):
        RunConfig.of(dataset="demo", folds=1)
