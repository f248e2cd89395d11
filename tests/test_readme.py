"""README.md of a card: parsed by the Hub's own reader, and true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard as HubCard

from cellsearch.card.card import ModelCard
from cellsearch.card.config import CardConfig
from cellsearch.card.front_matter import licence_id
from cellsearch.card.limits import limits_of
from cellsearch.card.metrics import ConfidenceMetrics, SearchFacts, card_metrics
from cellsearch.card.readme import Story, write_readme
from cellsearch.data.dataset import CellDataset
from cellsearch.data.held_groups import HeldGroups
from cellsearch.stats.comparison import Scores, compare
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.wording import difference, figure
from cellsearch.tune.findings import Found
from cellsearch.util.markdown import plain

from card_cases import FACTS, Made, made, story_of


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def story(
    config: CardConfig,
    *,
    card: ModelCard,
    held: HeldGroups | None = None,
    facts: Mapping[str, Any] = FACTS,
) -> Story:
    """Three classes: 30 cells, 4 cells, and none."""
    labels = np.repeat([0, 1], [30, 4])
    predicted = labels.copy()
    predicted[[0, 1, 31]] = [1, 1, 0]
    pair = compare(
        labels,
        predicted,
        np.zeros_like(labels),
        config.classes,
        not_estimable=("class-2",),
        groups=None if held is None else np.arange(len(labels)) % held.held,
    )
    search = SearchFacts.model_validate(facts)
    metrics = card_metrics(
        Scores(pair, pair),
        Found(),
        export_largest_difference=2e-7,
        not_estimable=("class-2",),
        search=search,
        decisions={},
        confidence=ConfidenceMetrics(),
        limits=limits_of(config, pair.winner, search, held=held),
    )
    return story_of(
        card, config=config, metrics=metrics, calibration=None, grouped=held is not None
    )


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def test_the_hub_reads_the_front_matter(case: Made) -> None:
    data = HubCard.load(case.card.folder / "README.md", ignore_metadata_errors=False).data
    assert data.library_name == "cellsearch"
    assert data.pipeline_tag == "image-classification"
    assert data.license == "unknown"
    assert data.datasets == ["squares"]
    assert "class-imbalance" in data.tags
    results = {result.metric_name: result for result in data.eval_results}
    metrics = case.card.metrics["hold_out"]["winner"]["metrics"]
    assert results["balanced accuracy"].metric_value == round(
        metrics["balanced_accuracy"]["value"], 4
    )
    assert results["macro F1"].metric_type == "f1"
    assert {result.dataset_split for result in results.values()} == {"hold-out"}


def test_odd_names_break_neither_yaml_nor_tables(case: Made) -> None:
    facts = case.card.config.dataset.model_dump() | {"title": 'cells: "A|B"\n# not a title'}
    config = CardConfig.model_validate(
        case.card.config.model_dump() | {"dataset": facts, "classes": ("a|b", "<b>", "class-2")}
    )
    text = write_readme(story(config, card=case.card))
    assert HubCard(text).data.eval_results[0].dataset_name.startswith('cells: "A|B"')
    rows = [line for line in section(text, "Figures").splitlines() if line.startswith("| a\\|b")]
    # Hold-out and out-of-fold.
    assert len(rows) == 2
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 7
    assert not [line for line in text.splitlines() if line.startswith("# not")]
    assert plain("<b>") == "&lt;b>"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("BSD-3-Clause", ("bsd-3-clause", None)),
        ("GPL-3.0", ("gpl-3.0", None)),
        ("GPL-3.0-only", ("gpl-3.0", None)),
        ("CC BY-NC-SA 3.0", ("cc-by-nc-sa-3.0", None)),
        ("CC0 1.0", ("cc0-1.0", None)),
        ("House rules, ask us", ("other", "house-rules-ask-us")),
        ("", ("unknown", None)),
    ],
)
def test_licences_get_the_hubs_ids(licence: str, expected: tuple[str, str | None]) -> None:
    assert licence_id(licence) == expected


def test_classes_are_told_with_intervals_or_as_not_estimable(case: Made) -> None:
    figures = section(write_readme(story(case.card.config, card=case.card)), "Figures")
    assert re.search(
        r"\| class-0 \| 30 \| 0\.966 \([^)]*\) \| 0\.933 \(0\.779 to 0\.992\) \| "
        r"0\.750 \(0\.194 to 0\.994\) \| 0\.949",
        figures,
    )
    assert "| class-2 | 0 | not estimable (0 cells) | not estimable (0 cells) |" in figures
    assert "| **class-0** | 28 | 2 | 0 |" in figures
    assert "bootstrap of 2,000" in figures
    assert "Clopper-Pearson" in figures


def test_limits_name_classes_of_few_cells_and_those_without(case: Made) -> None:
    limits = section(write_readme(story(case.card.config, card=case.card)), "Limits")
    few = next(line for line in limits.splitlines() if "Fewer than 10" in line)
    assert "class-1 (4)" in few
    assert "class-0" not in few
    assert "class-2" not in few
    assert "class-2 (0)" in next(line for line in limits.splitlines() if "Not estimable" in line)
    assert "No groups" in limits
    assert "Not a diagnostic device" in limits
    many = story(case.card.config, card=case.card, held=HeldGroups("donor", 4, 20))
    assert "Whole donors were held out: 4 of 20." in section(write_readme(many), "Limits")


def test_one_group_held_out_gives_no_interval_and_says_why(case: Made) -> None:
    one = HeldGroups("donor", 1, 5)
    text = write_readme(story(case.card.config, card=case.card, held=one))
    assert "One donor is held out: the figures say nothing of other donors; with 6" in text
    assert "Its figures have no interval" in section(text, "Verdict")
    row = next(line for line in text.splitlines() if line.startswith("| balanced accuracy"))
    assert row.count("(no interval)") == 2
    assert " to 0." not in section(text, "Figures")


def test_the_baseline_stands_beside_it(case: Made) -> None:
    text = section(write_readme(story(case.card.config, card=case.card)), "Beside the baseline")
    row = next(line for line in text.splitlines() if line.startswith("| balanced accuracy"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1].startswith("0.842")
    # The baseline finds all of one class and none of the other, which is no certainty.
    assert cells[2].startswith("0.500 (0.4")
    assert "no spread" not in text
    assert re.fullmatch(r"\+0\.342 \([+-]0\.\d+ to \+0\.\d+\)", cells[3])
    assert "| recall of class-1 | 3 of 4 found: 19-99 % | 0 of 4 found: 0-60 % | +0.750" in text
    won = write_readme(story(case.card.config, card=case.card, facts=FACTS | {"winner": 0}))
    assert "The baseline itself won" in won
    assert "paired difference" not in section(won, "Beside the baseline")
    assert "The baseline itself won" not in text


def test_the_protocol_tells_search_and_hold_out(case: Made) -> None:
    text = section(write_readme(story(case.card.config, card=case.card)), "Protocol")
    assert "34 of 172 cells (20 %)" in text
    assert "same 5 folds of the other 138 cells" in text
    assert "objective: balanced accuracy" in text
    assert (
        "5 trials requested, 3 complete, 1 stopped early (pruned), 1 failed, 1.5 minutes in trials"
        in text
    )
    assert "**Seed**: 3" in text


def test_generated_data_is_told_loudly_and_real_data_is_not(case: Made) -> None:
    facts = case.card.config.dataset.model_dump() | {"synthetic": True}
    config = case.card.config.model_validate(case.card.config.model_dump() | {"dataset": facts})
    text = write_readme(story(config, card=case.card))
    assert "GENERATED DATA" in text.split("## Intended use")[0]
    assert "synthetic-data" in HubCard(text).data.tags
    assert "GENERATED DATA" not in case.card.readme


def test_the_few_lines_of_onnxruntime_run_as_printed(case: Made) -> None:
    blocks = re.findall(r"```python\n(.*?)```", case.card.readme, re.DOTALL)
    plain_onnx, api = blocks
    assert len(plain_onnx.strip().splitlines()) <= 8
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", plain_onnx],
        cwd=case.card.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = np.load(case.card.folder / "test_output.npy").argmax(axis=1)
    assert done.stdout.strip() == str([case.dataset.classes[k] for k in expected])
    subprocess.run([sys.executable, "-c", api], cwd=case.card.folder.parent, check=True)


def test_figures_are_written_with_their_spread() -> None:
    assert figure(Estimate(0.6834, 0.612, 0.745)) == "0.683 (0.612 to 0.745)"
    assert figure(Estimate(1.0, 1.0, 1.0)) == "1.000 (no spread)"
    assert figure(None, cells=2) == "not estimable (2 cells)"
    assert difference(Estimate(-0.1, -0.2, 0.05)) == "-0.100 (-0.200 to +0.050)"
