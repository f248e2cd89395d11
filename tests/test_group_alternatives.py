"""A split by groups that cannot be drawn lists those that can, and what a figure of each means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellsearch.data.alternatives import Alternative, alternatives, holders
from cellsearch.data.dataset import CellDataset
from cellsearch.data.outer_splits import draw_outer_splits
from cellsearch.data.rare import apply_rare
from cellsearch.data.readers.registry import layout
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import SplitError
from cellsearch.util.messages import Setting
from cellsearch.util.wording import as_option

from command_cases import cellsearch
from conftest import real_data

PLATES, FIELDS, CELLS = 6, 8, 3


def table(folder: Path) -> Path:
    """Six plates of eight fields; three plates hold ``control`` alone.

    ``site`` numbers the fields of each plate anew, ``field`` does not; a ``well`` holds one class;
    a ``day`` holds two plates.
    """
    (folder / "images").mkdir(parents=True)
    rows = ["path,label,plate,site,field,well,day,treatment,area"]
    rng = np.random.default_rng(0)
    for plate in range(PLATES):
        for site in range(FIELDS):
            for cell in range(CELLS):
                drug = plate >= 3 and site % 2 == 1
                name = f"{plate}-{site}-{cell}.png"
                crop = rng.integers(0, 255, (10, 10), np.uint8)
                Image.fromarray(crop).save(folder / "images" / name)
                label = "drug" if drug else "control"
                well = f"{'D' if drug else 'C'}{plate}"
                rows.append(
                    f"images/{name},{label},P{plate},s{site},P{plate}f{site // 2},{well},"
                    f"day{plate % 3},{label.upper()},{rng.random():.3f}"
                )
    (folder / "T.csv").write_text("\n".join(rows))
    return folder / "T.csv"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("moa"))


def read(path: Path, **options: str) -> CellDataset:
    return CellDataset.from_raw(layout("table", options).read(path))


def refused(cells: CellDataset, **options: object) -> SplitError:
    with pytest.raises(SplitError) as caught:
        draw_splits(cells, duplicates=(), **options)  # type: ignore[arg-type]
    return caught.value


def test_a_reader_carries_the_columns_that_could_be_groups(path: Path) -> None:
    cells = read(path, group_column="plate")
    columns = cells.columns
    assert columns.group == "plate"
    assert columns.without_groups == Setting("group_column", "none", reader=True)
    named = {each.name: each for each in columns.others}
    assert set(named) == {"day", "well", "field", "site", "treatment"}
    assert named["site"].texts.tolist()[: 2 * CELLS] == ["s0"] * CELLS + ["s1"] * CELLS
    assert named["site"].remedy == Setting("group_column", "site", reader=True)


def test_columns_are_saved_and_stay_with_their_cells(path: Path, tmp_path: Path) -> None:
    cells = read(path, group_column="plate")
    chosen = np.array([140, 3, 60])
    for found in (cells, cells.save(tmp_path / "a"), cells.merge_classes({"x": ["drug"]})):
        assert found.columns.group == "plate"
        assert [each.name for each in found.columns.others] == [
            each.name for each in cells.columns.others
        ]
        for each, own in zip(found.columns.others, cells.columns.others, strict=True):
            assert each.texts.tolist() == own.texts.tolist()
            assert each.remedy == own.remedy
        assert found.group_notes == cells.group_notes
        part = found.subset(chosen).save(tmp_path / f"part-{found.classes[-1]}-{id(found)}")
        for each, own in zip(part.columns.others, cells.columns.others, strict=True):
            assert each.texts.tolist() == own.texts[chosen].tolist()
    # The digest is of what is learnt from, not of what could be declared.
    assert cells.sha256 == replace(cells, columns=type(cells.columns)()).sha256


def test_which_groups_hold_which_classes(path: Path) -> None:
    alone, both = holders(read(path, group_column="plate"))
    assert (alone.classes, alone.groups) == (("control",), ("P0", "P1", "P2"))
    assert (both.classes, both.groups) == (("control", "drug"), ("P3", "P4", "P5"))
    assert both.describe() == "3 hold control and drug (P3, P4, P5)"


def test_what_can_be_drawn_is_listed_and_can_be_drawn(path: Path) -> None:
    error = refused(read(path, group_column="plate"), folds=5)
    text = str(error)
    assert "5 folds and a hold-out need 6 groups of each class; too few: drug 3" in text
    assert "choose folds=2 (the most that works, and figures hold for a new plate)" in text
    assert "3 hold control alone (P0, P1, P2); 3 hold control and drug (P3, P4, P5)" in text
    # Leaving the small class out would leave one.
    assert "rare" not in text
    assert 'group_column="field" (24 groups; cells of one plate lie on both sides' in text
    assert "figures hold for a new field and not for a new plate" in text
    assert (
        'group_column="none" (no groups; cells of one plate lie on both sides, so figures flatter'
        in text
    )
    assert "treatment" not in text
    worded = error.message.worded(as_option)
    assert "--folds 2" in worded
    assert "--option group_column=site --folds 3" in worded
    for options, folds in (
        ({"group_column": "plate"}, 2),
        ({"group_column": "field"}, 5),
        ({"group_column": "site"}, 3),
        ({"group_column": "none"}, 5),
    ):
        assert draw_splits(read(path, **options), folds=folds, duplicates=()).k == folds
    refused(read(path, group_column="plate"), folds=3)
    refused(read(path, group_column="site"), folds=4)


def test_what_each_would_mean(path: Path) -> None:
    def draw(cells: CellDataset) -> tuple[Setting, ...] | None:
        return ()

    found = alternatives(read(path, group_column="plate"), draw)
    assert [(each.column, each.relation, each.one_class_each) for each in found] == [
        ("day", "coarser", False),
        ("field", "finer", False),
        ("site", "crossing", False),
        ("well", "finer", True),
        ("treatment", "crossing", True),
        ("", "none", False),
    ]
    meanings = {each.column: each.meaning for each in found}
    assert meanings["day"] == "each day holds whole groups, so figures hold for a new day"
    assert "gives the class away" in meanings["well"]
    assert meanings[""].endswith("lie on both sides, so figures flatter for a new plate")
    assert alternatives(read(path, group_column="none"), draw) == ()


def test_groups_that_give_the_class_away_are_told(path: Path) -> None:
    text = str(refused(read(path, group_column="well")))
    assert "each well holds one class, so no split can tell the two apart" in text


def test_three_classes_may_be_kept_or_left_out(path: Path) -> None:
    cells = read(path, group_column="plate")
    labels = cells.labels.copy()
    labels[cells.groups == "P0"] = 2
    three = replace(cells, labels=labels, classes=("control", "drug", "rare"))
    text = str(refused(three, folds=2))
    assert "3 classes" not in text
    assert 'rare="keep"' in text
    assert "1 holds rare alone (P0)" in text


def test_a_fixed_split_and_one_by_duplicates_list_them_too(path: Path) -> None:
    cells = read(path, group_column="day")
    two = cells.subset(np.flatnonzero(cells.groups != "day2"))
    text = str(refused(two, split="60/20/20"))
    assert 'group_column="field" (16 groups' in text
    assert "folds=" not in text


def test_outer_folds_list_what_can_be_drawn(path: Path) -> None:
    cells = read(path, group_column="plate")
    with pytest.raises(SplitError) as caught:
        draw_outer_splits(cells, outer=3, folds=5, duplicates=())
    text = str(caught.value)
    assert "choose folds=2 (figures hold for a new plate)" in text
    assert len(draw_outer_splits(cells, outer=3, folds=2, duplicates=())) == 3
    with pytest.raises(SplitError) as caught:
        draw_outer_splits(cells, outer=5, folds=5, duplicates=())
    assert "choose --outer 3 --folds 2" in caught.value.message.worded(as_option)


def test_dropping_offers_folds_that_were_drawn(path: Path) -> None:
    with pytest.raises(SplitError, match=r"would leave 1 of the classes .*; choose folds=2 "):
        apply_rare(read(path, group_column="plate"), rare="drop", folds=5, duplicates=())


def test_cells_without_a_source_are_told_of_their_groups() -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 1, 8, 8), np.uint8)
    labels = ["a"] * 20 + ["b"] * 20
    cells = CellDataset.from_arrays(images, labels, groups=[f"d{k % 3}" for k in range(40)])
    text = str(refused(cells))
    assert "choose folds=2 (the most that works, and figures hold for a new group)" in text
    assert "3 hold a and b (d0, d1, d2)" in text
    assert "can be drawn: cells one by one (no groups; cells of one group lie on both sides" in text


def test_a_command_words_them_as_its_options(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    words = ("run", "--dataset", path, "--option", "group_column=plate", "--space", "quick")
    code, _, error = cellsearch(capsys, monkeypatch, *words, "-o", tmp_path / "run")
    told = " ".join(error.split())
    assert code == 2
    assert "choose --folds 2 (the most that works" in told
    assert "--option group_column=field (24 groups" in told
    assert "--option group_column=none (no groups; cells of one plate lie on both sides" in told


@pytest.mark.slow
def test_the_real_plates_list_what_can_be_drawn(tmp_path: Path) -> None:
    moa = real_data("bbbc021-moa") / "labels.csv"
    cells = load_dataset(moa, cache=tmp_path, group_column="group_plate")
    text = str(refused(cells))
    assert "too few: Protein_synthesis 3; choose folds=2 (the most that works" in text
    assert "3 hold DMSO alone (Week4_27481, Week4_27521, Week4_27542)" in text
    assert 'group_column="guid_w1" (14 groups;' in text
    assert "each guid_w1 holds one class, so the guid_w1 gives the class away" in text
    assert 'group_column="none" (no groups; cells of one group_plate lie on both sides' in text
    assert draw_splits(cells, folds=2, duplicates=()).k == 2
    wells = load_dataset(moa, cache=tmp_path, group_column="well")
    assert "each well holds one class, so no split can tell the two apart" in str(refused(wells))


def test_an_alternative_is_a_value() -> None:
    one = Alternative("site", (Setting("folds", 3),), "crossing", 4, False, "plate")
    assert one == Alternative("site", (Setting("folds", 3),), "crossing", 4, False, "plate")
    assert str(one.message()).startswith("folds=3 (4 groups; cells of one plate")
