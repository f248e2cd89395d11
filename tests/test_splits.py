"""Splits: nobody in two places, every class everywhere, duplicates and groups whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import DuplicatePair
from cellsearch.data.rare import apply_rare
from cellsearch.data.splits import Splits, SplitsFile, draw_splits
from cellsearch.errors import ConfigError, MismatchError, SplitError

from split_cases import held, noise


def draw(dataset: CellDataset, **options: object) -> Splits:
    return draw_splits(dataset, duplicates=(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("counts", "folds"), [((60, 30, 6), 5), ((40, 11), 10), ((9, 3), 2)])
def test_every_part_holds_every_class_and_no_cell_is_in_two(
    counts: tuple[int, ...], folds: int
) -> None:
    dataset = noise(counts)
    splits = draw(dataset, folds=folds)
    everyone = np.concatenate([splits.holdout, *splits.folds])
    assert sorted(everyone) == list(range(len(dataset)))
    assert splits.k == folds
    for part in (splits.holdout, *splits.folds):
        assert min(held(dataset, part)) >= 1
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    for fold in range(folds):
        outside = np.concatenate([splits.training(fold), splits.validation(fold), splits.holdout])
        assert sorted(outside) == list(range(len(dataset)))
    assert np.array_equal(splits.development, np.setdiff1d(np.arange(len(dataset)), splits.holdout))


def test_parts_are_stratified() -> None:
    dataset = noise((100, 50, 25))
    splits = draw(dataset, folds=4, holdout=0.2)
    assert held(dataset, splits.holdout) == [20, 10, 5]
    assert [held(dataset, fold) for fold in splits.folds] == [[20, 10, 5]] * 4


def test_same_seed_same_splits_other_seed_others() -> None:
    dataset = noise((60, 30, 12))
    assert draw(dataset, seed=3).sha256 == draw(dataset, seed=3).sha256
    assert draw(dataset, seed=3).sha256 != draw(dataset, seed=4).sha256
    assert set(draw(dataset, seed=3).holdout) != set(draw(dataset, seed=4).holdout)


def test_too_small_a_class_is_refused_with_counts_and_choices() -> None:
    dataset = noise((60, 30, 5, 4))
    with pytest.raises(SplitError) as refusal:
        draw(dataset, folds=5)
    message = str(refusal.value)
    assert "need 6 cells of each class" in message
    assert "mitosis 5, rare 4" in message
    assert "folds=3 (the most that works" in message
    assert 'rare="keep"' in message
    assert 'rare="drop"' in message
    assert 'rare="merge=NAME"' in message
    assert draw(dataset, folds=3).k == 3
    with pytest.raises(SplitError):
        draw(dataset, folds=4)


def test_no_number_of_folds_is_offered_where_none_works() -> None:
    with pytest.raises(SplitError) as refusal:
        draw(noise((60, 2)), folds=5)
    assert "folds=" not in str(refusal.value)


def test_kept_cells_train_in_every_fold_and_are_never_judged() -> None:
    dataset = noise((60, 30, 12, 5, 1))
    splits = draw(dataset, folds=5, rare="keep")
    kept = np.flatnonzero(dataset.labels >= 3)
    assert splits.not_estimable == ("rare", "rarer")
    assert np.array_equal(splits.train_only, kept)
    for fold in range(5):
        assert np.isin(kept, splits.training(fold)).all()
        assert not np.isin(kept, splits.validation(fold)).any()
    assert not np.isin(kept, splits.holdout).any()
    assert np.isin(kept, splits.development).all()


def test_keeping_needs_two_estimable_classes() -> None:
    with pytest.raises(SplitError, match="two classes"):
        draw(noise((60, 3)), rare="keep")


def test_drop_and_merge_change_the_classes() -> None:
    dataset = noise((60, 30, 12, 5, 1))
    dropped = apply_rare(dataset, rare="drop", folds=5, duplicates=())
    assert dropped.classes == ("G1", "S", "mitosis")
    assert dropped.counts.tolist() == [60, 30, 12]
    merged = apply_rare(dataset, rare="merge=other", folds=5, duplicates=())
    assert merged.classes == ("G1", "S", "mitosis", "other")
    assert merged.counts.tolist() == [60, 30, 12, 6]
    joined = apply_rare(dataset, rare="merge=mitosis", folds=5, duplicates=())
    assert joined.classes == ("G1", "S", "mitosis")
    assert joined.counts.tolist() == [60, 30, 18]
    assert apply_rare(dataset, rare="keep", folds=5) is dataset
    assert apply_rare(dropped, rare="drop", folds=5) is dropped
    assert draw(merged, folds=5).k == 5


def test_a_merge_that_is_too_small_still_is_refused() -> None:
    with pytest.raises(SplitError, match="rare, rarer have 5 cells together"):
        apply_rare(noise((60, 30, 12, 4, 1)), rare="merge=other", folds=5, duplicates=())


def test_dropping_all_but_one_class_is_refused() -> None:
    with pytest.raises(SplitError, match="two are needed"):
        apply_rare(noise((60, 3)), rare="drop", folds=5, duplicates=())


@pytest.mark.parametrize("rare", ["merge=", "merge", "keeep", "drop=x"])
def test_an_unknown_way_with_rare_classes_is_refused(rare: str) -> None:
    with pytest.raises(ConfigError, match="rare: expected keep, drop, merge=NAME"):
        apply_rare(noise((60, 30)), rare=rare, folds=5)


@pytest.mark.parametrize(("name", "value"), [("folds", 1), ("holdout", 0.0), ("holdout", 1.0)])
def test_numbers_out_of_bounds_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        draw(noise((60, 30)), **{name: value})


def test_duplicates_found_or_given_never_straddle() -> None:
    plain = noise((30, 30, 20))
    images = plain.images.copy()
    chains = [(0, 1), (1, 2), (35, 36), (62, 63), (10, 70)]
    for a, b in chains:
        images[b] = images[a]
    dataset = CellDataset.from_arrays(images, plain.labels, classes=plain.classes)
    given = [DuplicatePair(a, b, "exact", 0.0) for a, b in chains]
    torn = 0
    for seed in range(6):
        found = draw_splits(dataset, folds=3, seed=seed)
        assert found.sha256 == draw_splits(dataset, folds=3, seed=seed, duplicates=given).sha256
        place = np.full(len(dataset), -1)
        for k, part in enumerate((found.holdout, *found.folds)):
            place[part] = k
        assert all(place[a] == place[b] for a, b in chains)
        blind = draw(dataset, folds=3, seed=seed)
        for k, part in enumerate((blind.holdout, *blind.folds)):
            place[part] = k
        torn += any(place[a] != place[b] for a, b in chains)
    assert torn, "the same draw without duplicates tears none: this test shows nothing"


def test_duplicates_count_once_toward_what_a_class_needs() -> None:
    dataset = noise((60, 6))
    duplicates = [DuplicatePair(60, 61, "near", 3.0)]
    with pytest.raises(SplitError, match="S 5"):
        draw_splits(dataset, folds=5, duplicates=duplicates)
    assert apply_rare(
        noise((60, 40, 6)), rare="drop", folds=5, duplicates=[DuplicatePair(100, 101, "near", 1.0)]
    )


def test_a_kept_cell_with_a_duplicate_elsewhere_trains_only_where_it_may() -> None:
    dataset = noise((60, 40, 3))
    duplicates = [
        DuplicatePair(0, 100, "exact", 0.0),
        DuplicatePair(1, 101, "exact", 0.0),
        DuplicatePair(61, 102, "exact", 0.0),
    ]
    left_out = tied = 0
    for seed in range(12):
        splits = draw_splits(dataset, folds=4, seed=seed, rare="keep", duplicates=duplicates)
        for pair in duplicates:
            if pair.a in splits.holdout:
                left_out += 1
                assert pair.b in splits.left_out
                assert pair.b not in splits.development
            else:
                tied += 1
                for fold in range(splits.k):
                    validates = pair.a in splits.validation(fold)
                    assert (pair.b in splits.training(fold)) is not validates
                assert pair.b in splits.development
    assert left_out
    assert tied


def grouped(seed: int = 0, donors: int = 14) -> CellDataset:
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(3, 300, p=[0.6, 0.3, 0.1]))
    dataset = noise(tuple(np.bincount(labels).tolist()))
    groups = [f"donor-{donor}" for donor in rng.integers(0, donors, 300)]
    return CellDataset.from_arrays(
        dataset.images, dataset.labels, classes=dataset.classes, groups=groups
    )


@pytest.mark.parametrize("seed", range(4))
def test_groups_never_straddle_even_when_duplicates_join_them(seed: int) -> None:
    dataset = grouped(seed)
    assert dataset.groups is not None
    first = np.flatnonzero(dataset.groups == "donor-0")[0]
    other = np.flatnonzero(dataset.groups == "donor-1")[0]
    duplicate = DuplicatePair(int(min(first, other)), int(max(first, other)), "near", 1.0)
    splits = draw_splits(dataset, folds=4, seed=seed, duplicates=[duplicate])
    place = np.full(len(dataset), -1)
    for k, part in enumerate((splits.holdout, *splits.folds)):
        place[part] = k
        assert min(held(dataset, part)) >= 1
    assert place.min() >= 0
    for name in np.unique(dataset.groups):
        assert len(np.unique(place[dataset.groups == name])) == 1
    assert place[first] == place[other]
    assert 0.08 < len(splits.holdout) / len(dataset) < 0.35


def test_too_few_groups_are_counted_as_groups() -> None:
    groups = [f"plate-{cell % 4}" for cell in range(90)]
    dataset = noise((60, 30), groups=groups)
    with pytest.raises(SplitError) as refusal:
        draw(dataset, folds=5)
    message = str(refusal.value)
    assert "need 6 groups of each class; too few: G1 4, S 4" in message
    assert "folds=3 (the most that works" in message
    assert draw(dataset, folds=3).k == 3


def test_groups_that_hold_one_class_each_are_refused() -> None:
    groups = [f"plate-{cell // 30}" for cell in range(90)]
    with pytest.raises(SplitError, match="G1 2, S 1"):
        draw(noise((60, 30), groups=groups), folds=2)


def test_groups_that_cannot_be_arranged_are_refused_in_plain_words() -> None:
    # Three groups of two classes each: enough of each class for 2 parts, never for 3 parts.
    labels = np.repeat([0, 1, 1, 2, 2, 0, 0, 1, 2], 4)
    groups = np.repeat(["a", "a", "b", "b", "c", "c", "d", "d", "e"], 4)
    order = np.argsort(labels, kind="stable")
    dataset = noise((12, 12, 12), groups=groups[order].tolist())
    with pytest.raises(SplitError, match="keeps groups"):
        draw(dataset, folds=2)


def test_cells_without_label_are_refused() -> None:
    dataset = noise((30, 30))
    labels = np.where(np.arange(60) < 2, -1, dataset.labels)
    unlabelled = CellDataset.from_arrays(dataset.images, labels, classes=dataset.classes)
    with pytest.raises(SplitError, match="2 of 60 cells have no label"):
        draw(unlabelled)


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    dataset = noise((60, 30, 12, 3))
    splits = draw_splits(
        dataset, rare="keep", seed=7, duplicates=[DuplicatePair(0, 102, "exact", 0.0)]
    )
    path = splits.save(tmp_path / "splits.json")
    again = Splits.load(path, dataset)
    assert again.sha256 == splits.sha256 == again.digest()
    assert np.array_equal(again.holdout, splits.holdout)
    assert [each.tolist() for each in again.folds] == [each.tolist() for each in splits.folds]
    assert again.tied.tolist() == splits.tied.tolist()
    assert again.left_out.tolist() == splits.left_out.tolist()
    assert (again.not_estimable, again.seed) == (("rare",), 7)
    assert [again.training(k).tolist() for k in range(5)] == [
        splits.training(k).tolist() for k in range(5)
    ]
    values = json.loads(path.read_text())
    assert values["holdout"]["ids"] == dataset.ids[splits.holdout].tolist()
    assert values["folds"][1]["indices"] == splits.folds[1].tolist()
    assert values["holdout"]["cells"] == {"G1": 12, "S": 6, "mitosis": 2, "rare": 0}
    assert [child.name for child in tmp_path.iterdir()] == ["splits.json"]


def test_another_data_set_is_refused_with_the_difference(tmp_path: Path) -> None:
    dataset = noise((60, 30))
    path = draw(dataset).save(tmp_path / "splits.json")
    with pytest.raises(MismatchError, match="S 30 cells then, 31 now"):
        Splits.load(path, noise((60, 31)))
    with pytest.raises(MismatchError, match="same counts, but other pixels"):
        Splits.load(path, noise((60, 30), seed=1))


def broken(values: dict, how: str) -> None:
    folds, holdout = values["folds"], values["holdout"]
    if how == "overlap":
        folds[1]["indices"].append(holdout["indices"][0])
        folds[1]["ids"].append(holdout["ids"][0])
    elif how == "beyond":
        folds[0]["indices"][0] = 900
    elif how == "type":
        folds[0]["indices"][2] = "seven"
        values["seed"] = "x"
    elif how == "missing":
        del values["holdout"]
    elif how == "ids":
        holdout["ids"][0] = "someone else"
    elif how == "lost":
        folds[0]["indices"].pop()
        folds[0]["ids"].pop()
    elif how == "moved":
        for key in ("indices", "ids"):
            folds[0][key][0], folds[1][key][0] = folds[1][key][0], folds[0][key][0]
    elif how == "extra":
        values["fold"] = []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("overlap", r"\$\.folds\[1\]\.indices\[\d+\]: cell \d+ is in \$\.holdout already"),
        ("beyond", r"\$\.folds\[0\]\.indices: cells are numbered 0 to 89, got 900"),
        ("type", r"\$\.seed: .*got 'x'.*\$\.folds\[0\]\.indices\[2\]: .*got 'seven'"),
        ("missing", r"\$\.holdout: field required"),
        ("ids", r"\$\.holdout\.ids: not the ids"),
        ("lost", r"89 cells are listed, the data set has 90"),
        ("moved", r"\$\.sha256: .* was changed after it was drawn"),
        ("extra", r"\$\.fold: "),
    ],
)
def test_a_broken_file_is_refused_where_it_is_broken(tmp_path: Path, how: str, told: str) -> None:
    dataset = noise((60, 30))
    path = draw(dataset).save(tmp_path / "splits.json")
    values = json.loads(path.read_text())
    broken(values, how)
    path.write_text(json.dumps(values))
    with pytest.raises(SplitError, match=told):
        Splits.load(path, dataset)


def test_no_file_and_half_a_file_are_refused(tmp_path: Path) -> None:
    dataset = noise((60, 30))
    path = tmp_path / "splits.json"
    with pytest.raises(SplitError, match="cannot read the splits"):
        Splits.load(path, dataset)
    draw(dataset).save(path)
    path.write_text(path.read_text()[:200])
    with pytest.raises(SplitError, match="not JSON, or cut short"):
        Splits.load(path, dataset)


def test_splits_made_by_hand_refuse_a_cell_in_two_places_and_can_be_saved(tmp_path: Path) -> None:
    dataset = noise((6, 6))
    cells = np.arange(12)
    splits = Splits(cells[:4], (cells[4:8], cells[8:]), cells[:0], (), 0, dataset.sha256)
    assert Splits.load(splits.save(tmp_path / "s.json"), dataset).sha256 == splits.sha256
    with pytest.raises(SplitError, match=r"cell 3 in holdout and folds\[0\]"):
        replace(splits, folds=(cells[3:8], cells[8:]))


def test_the_file_is_read_without_its_cells(tmp_path: Path) -> None:
    dataset = noise((20, 12, 6))
    splits = draw(dataset, folds=3)
    file = SplitsFile.read(splits.save(tmp_path / "splits.json"))
    assert file.ids == frozenset(dataset.ids.tolist())
    assert file.dataset.classes == {"G1": 20, "S": 12, "mitosis": 6}
    assert [len(fold.indices) for fold in file.folds] == [len(fold) for fold in splits.folds]
    for name, part in splits.parts():
        assert file.parts()[name].indices == part.tolist()
    assert file.of(dataset).sha256 == file.sha256 == splits.sha256
    bare = SplitsFile.read(replace(splits, drawn_from=None).save(tmp_path / "bare.json"))
    assert (bare.ids, bare.holdout.cells) == (frozenset(), {})
    with pytest.raises(SplitError, match="cannot read the splits"):
        SplitsFile.read(tmp_path / "nowhere.json")


def test_an_altered_file_is_still_read_as_it_is(tmp_path: Path) -> None:
    """So that an audit can say what was altered; loading refuses it."""
    dataset = noise((20, 12, 6))
    path = draw(dataset, folds=3).save(tmp_path / "splits.json")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    found = SplitsFile.read(path)
    assert found.of(dataset).sha256 != found.sha256
    with pytest.raises(SplitError, match="the file was changed after it was drawn"):
        Splits.load(path, dataset)
