"""One table, shown by three renderers; limits and generated cells as values of a card."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import write_checksums
from cellsearch.card.metrics import CardMetrics, Figures
from cellsearch.card.tables import BESIDE, class_table, metric_table, short_class_table
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.stats.evaluation import Estimate, as_json, evaluate
from cellsearch.stats.wording import difference, figure, p_value, recall_of
from cellsearch.terminal.results import card_figures
from cellsearch.terminal.tables import show
from cellsearch.util import html, markdown
from cellsearch.util.tables import Column, Table

from card_cases import Made, made


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def cells_of_markdown(text: str) -> list[list[str]]:
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    return [
        [cell.strip() for cell in line] for line in lines if not set("".join(line)) <= set("- :")
    ]


def cells_of_html(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text)
    return [[unescape(each) for each in re.findall(r"<t[hd][^>]*>(.*?)</t", row)] for row in rows]


def test_every_renderer_shows_the_same_cells(
    case: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    found = short_class_table(case.card.figures.hold_out.winner)
    wanted = found.texts
    assert cells_of_markdown(markdown.table(found))[1:] == wanted
    assert cells_of_html(str(html.table(found)))[1:] == wanted
    show(found)
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r"\s{2,}", line.strip()) for line in lines][-len(wanted) :] == wanted


def test_readme_notebook_and_terminal_show_one_table(
    case: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = case.card.figures
    winner, baseline = metrics.hold_out.winner, metrics.baseline("hold_out")
    assert markdown.table(class_table(winner)) in case.card.readme
    assert markdown.table(metric_table(metrics.hold_out, baseline)) in case.card.readme
    short = short_class_table(winner, baseline)
    assert str(html.table(short)) in case.card._repr_html_()
    card_figures(case.card)
    shown = capsys.readouterr().out
    assert all(cell in shown for row in short.texts for cell in row)


def test_texts_of_others_break_no_table() -> None:
    odd = "a|b <i>\n*c*"
    found = Table(
        (Column("x", "text"), Column("of|all", synonym="n"), Column("k", "code")),
        [[odd, 1234, "p|q"]],
    )
    head, row = cells_of_markdown(markdown.table(found))
    assert head == ["x", "of\\|all (n)", "k"]
    assert row == ["a\\|b &lt;i> \\*c\\*", "1,234", "`p\\|q`"]
    page = str(html.table(Table.of(("<b>", "n"), [("a|b <i>", 1)])))
    assert cells_of_html(page) == [["<b>", "n"], ["a|b <i>", "1"]]
    assert "<i>" not in page


def test_columns_are_taken_by_name_in_the_order_given() -> None:
    found = Table.of(("a", "b", "c"), [("x", 1, 2), ("y", 3, 4)])
    some = found.take("c", "a")
    assert [column.name for column in some.columns] == ["c", "a"]
    assert some.texts == [["2", "x"], ["4", "y"]]
    with pytest.raises(KeyError):
        found.take("d")


def test_a_class_without_figures_says_so_and_from_how_many_cells() -> None:
    labels, predicted = np.array([0] * 12 + [1] * 3), np.zeros(15, np.int64)
    found = evaluate(labels, predicted, ("a", "b", "none"), not_estimable=("none",))
    figures = Figures.model_validate(as_json(found))
    rows = class_table(figures).texts
    assert rows[1][2] == "none predicted"
    assert rows[1][3] == "0 of 3 found: 0-71 %"
    assert rows[2][2:] == ["not estimable (0 cells)"] * 4
    beside = class_table(figures, figures, {"a": Estimate(0.0, -0.1, 0.1)}).take("class", *BESIDE)
    assert beside.texts[0][2] == "+0.000 (-0.100 to +0.100)"
    assert beside.texts[2] == ["none", "-", "-"]


def test_figures_have_one_wording() -> None:
    assert figure(Estimate(0.5, 0.5, 0.5)) == "0.500 (no spread)"
    assert recall_of(Estimate(0.5, 0.2, 0.8), 10) == "0.500 (0.200 to 0.800)"
    assert recall_of(Estimate(0.5, 0.07, 0.93), 4) == "2 of 4 found: 7-93 %"
    assert recall_of(None, 4) == "not estimable (4 cells)"
    assert difference(None) == "-"
    assert (p_value(0.0004), p_value(0.0012)) == ("< 0.001", "0.001")


# -- what a card says of itself, as values


def test_limits_are_values_and_the_readme_shows_them_all(case: Made) -> None:
    limits = CardMetrics.read(case.card.folder).limits
    titles = [limit.title for limit in limits]
    assert titles[0] == "Fewer than 10 hold-out cells"
    assert titles[-1] == "Not a diagnostic device"
    section = case.card.readme.split("## Limits\n")[1].split("\n## ")[0]
    assert section.strip().splitlines() == [
        f"- **{limit.title}**: {markdown.plain(limit.text)}" for limit in limits
    ]


def test_a_card_of_an_older_version_has_no_limits(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    facts = json.loads((folder / "metrics.json").read_text())
    for name in ("limits", "generated"):
        del facts[name]
    for part in ("hold_out", "out_of_fold"):
        del facts[part]["paired"]
    (folder / "metrics.json").write_text(json.dumps(facts))
    write_checksums(folder)
    found = ModelCard.load(folder).figures
    assert (found.limits, found.generated, found.hold_out.paired) == ([], [], True)


def test_scores_of_other_predictions_are_refused(case: Made, tmp_path: Path) -> None:
    ingredients = case.ingredients()
    other = np.roll(case.probabilities, 1, axis=1)
    ingredients["scores"] = case.ingredients(probabilities=other)["scores"]
    with pytest.raises(CardError, match="scores are not those of the winner's"):
        write_card(tmp_path / "card", **ingredients)
    assert not list(tmp_path.iterdir())


def test_the_readme_is_tidy(case: Made) -> None:
    text = case.card.readme
    assert not re.search(
        r"\n{3,}|[ \t]\n|\{[{%#]|[%#}]\}|  ", text.split("---\n", 2)[2].split("```")[0]
    )
    assert text.endswith("|\n")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert len(headings) == len(set(headings))
    assert all(f"\n\n## {each}\n\n" in text for each in headings)
