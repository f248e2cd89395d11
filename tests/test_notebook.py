"""Reprs and their HTML: readable, escaped, no script, nothing fetched."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import cellsearch
from cellsearch import BASELINE, CellDataset, Recipe, SearchResult, SearchSpace, draw_splits
from cellsearch.run.search import html
from cellsearch.tune.study import TrialRow
from cellsearch.util.html import block, line, table
from cellsearch.util.tables import Table

from card_cases import Made, made
from conftest import squares

NASTY = "<script>alert('x')</script> & \"more\""
EMPTY = {"img", "br", "hr"}


class Page(HTMLParser):
    """Tags, text and pictures of a page; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        facts = dict(attrs)
        assert not [name for name in facts if name.startswith("on")]
        if "src" in facts:
            self.sources.append(facts["src"] or "")
            assert facts.get("alt")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.texts)


def page_of(thing: object) -> Page:
    shown = Page(html(thing))
    assert not set(shown.tags) & {"script", "style", "link", "iframe", "object"}
    assert all(source.startswith("data:image/png;base64,") for source in shown.sources)
    return shown


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def test_a_data_set_shows_cells_of_each_class() -> None:
    shown = page_of(squares((9, 4, 2)))
    assert "squares: 15 cells" in shown.text
    assert [row[:3] for row in shown.rows] == [
        ["class", "cells", "share"],
        ["class-0", "9", "60.0 %"],
        ["class-1", "4", "26.7 %"],
        ["class-2", "2", "13.3 %"],
    ]
    assert shown.rows[0][3:] == ["brightfield", "darkfield"]
    # Six cells of a class at most, in each of two channels.
    assert len(shown.sources) == 2 * (6 + 4 + 2)


def test_generated_cells_and_unlabelled_ones_are_told() -> None:
    drawn = squares((5, 5))
    some = CellDataset.from_arrays(
        drawn.images,
        np.where(np.arange(10) < 3, -1, drawn.labels),
        classes=drawn.classes,
        provenance=cellsearch.Provenance(synthetic=True, licence="CC0"),
    )
    shown = page_of(some)
    assert "generated, not real cells" in shown.text
    assert ["unlabelled", "3"] in [row[:2] for row in shown.rows]
    assert "CC0" in shown.text


def test_large_data_stay_small_on_the_page() -> None:
    images = np.random.default_rng(0).integers(0, 4096, (60, 6, 300, 260)).astype(np.uint16)
    shown = html(CellDataset.from_arrays(images, np.arange(60) % 30))
    assert len(shown) < 12_000_000
    page = Page(shown)
    assert "and 10 more classes" in page.text
    assert "channels not shown: channel-5, channel-6" in page.text


def test_text_of_others_is_escaped() -> None:
    drawn = squares((4, 4))
    evil = CellDataset.from_arrays(
        drawn.images,
        drawn.labels,
        classes=(NASTY, "plain"),
        channels=(NASTY, "other"),
        name=NASTY,
        provenance=cellsearch.Provenance(licence=NASTY, citation=NASTY),
    )
    for thing in (evil, draw_splits(evil, folds=2, holdout=0.25)):
        shown = html(thing)
        assert "<script" not in shown
        assert NASTY in page_of(thing).text
    assert "<b>" not in block("<b>", line("<b>"), table(Table.of(["<b>"], [["<b>"]])))


def test_splits_count_each_class(tiny_dataset: CellDataset) -> None:
    splits = draw_splits(tiny_dataset, folds=2, seed=3)
    shown = page_of(splits)
    assert shown.rows[0] == ["class", "hold-out", "fold 0", "fold 1"]
    assert sum(map(int, shown.rows[1][1:])) == 50
    assert repr(splits) == (f"Splits({splits.describe()}; seed 3, sha256 {splits.sha256[:12]})")
    bare = replace(splits, drawn_from=None)
    assert [row[0] for row in page_of(bare).rows] == ["class", "all"]


def test_a_space_lists_what_it_draws() -> None:
    space = SearchSpace.from_dict(
        {"parameters": {"optim.lr": {"float": [1e-4, 1e-2], "log": True}, "train.epochs": 3}}
    )
    shown = page_of(space)
    assert [row[0] for row in shown.rows] == ["parameter", "optim.lr"]
    assert "always: train.epochs = 3" in shown.text
    assert repr(space).startswith("SearchSpace('custom', 1 parameters drawn, sha256 ")
    assert page_of(SearchSpace.load("default")).rows[1:]


def test_a_recipe_shows_what_it_changes() -> None:
    recipe = Recipe.from_params({"optim.lr": 0.01, "model.depth": 1})
    assert [row[:2] for row in page_of(recipe).rows[1:]] == [
        ["model.family", "cnn"],
        ["model.depth", "1"],
        ["model.kernel.1", "3"],
        ["optim.lr", "0.01"],
    ]
    assert eval(repr(recipe), {"Recipe": Recipe}) == recipe
    assert len(repr(recipe)) < 140


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"model.family": "logreg", "model.l2": 3.0},
        {"model.family": "vit", "model.patch": 4},
        {"loss.kind": "focal", "loss.gamma": 3.0},
        {"model.depth": 3, "model.kernel.1": 5, "model.kernel.2": 3, "model.kernel.3": 3},
    ],
)
def test_a_recipe_reads_back_from_its_repr(params: dict[str, object]) -> None:
    recipe = Recipe.from_params(params)
    assert eval(repr(recipe), {"Recipe": Recipe}) == recipe


def test_a_card_shows_every_class_with_intervals(card: Made) -> None:
    shown = page_of(card.card)
    assert card.card.headline in shown.text
    assert [row[0] for row in shown.rows] == ["class", *card.card.classes]
    # Two cells of the rarest class: counts, not a rate.
    assert " found: " in shown.rows[-1][2]
    assert repr(card.card).endswith(f"3 classes, {card.card.headline})")


def row(number: int, state: str, score: float | None) -> TrialRow:
    return TrialRow(number, state, score, 2, 60.0, number == 0, BASELINE, "")


def test_a_result_shows_its_leaderboard(card: Made) -> None:
    rows = [row(4, "COMPLETE", 0.9), row(0, "COMPLETE", 0.5), row(1, "PRUNED", 0.2)]
    result = SearchResult(
        folder=card.card.folder.parent,
        best=rows[0],
        baseline=rows[1],
        trials=tuple(rows),
        card=card.card,
        interrupted=False,
    )
    shown = page_of(result)
    assert [r[:2] for r in shown.rows[-3:]] == [
        ["trial", "out-of-fold score"],
        ["4", "0.9000"],
        ["0 (baseline)", "0.5000"],
    ]
    assert "2 trials complete, 1 stopped early" in shown.text
    assert repr(result).endswith(
        "3 trials, best 0.9000 (trial 4), baseline 0.5000 (trial 0), finished)"
    )
    stopped = replace(result, card=None, interrupted=True, best=None, baseline=None, trials=())
    assert "cellsearch.resume(" in page_of(stopped).text
    assert repr(stopped).endswith("0 trials, interrupted)")


def test_others_have_no_html() -> None:
    with pytest.raises(TypeError, match="no HTML for dict"):
        html({})
