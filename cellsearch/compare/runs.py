"""Runs side by side on the same cells: each against the first, paired and corrected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.card.card import ModelCard
from cellsearch.card.predictions import NAMES, Part, predictions_of
from cellsearch.card.whole_files import write_csv
from cellsearch.compare.raters import ALPHA
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import SplitsFile
from cellsearch.errors import (
    CardError,
    CellsearchError,
    ConfigError,
    MismatchError,
    RunError,
    SplitError,
)
from cellsearch.run.folder import read_record
from cellsearch.run.history import card_of
from cellsearch.stats.comparison import compare
from cellsearch.stats.evaluation import LEVEL, Estimate
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.metrics import METRICS, TITLES, Metric, metric_named
from cellsearch.stats.permutation import holm, swap_test
from cellsearch.stats.predictions import Predictions
from cellsearch.stats.wording import better_by
from cellsearch.util.messages import Setting
from cellsearch.util.progress import Progress, Steps

CHOSEN_BY = "no verdict: each run chose its winner by these cells; compare the hold-out"


@dataclass(frozen=True)
class RunFigures:
    """One run, and how it differs from the first.

    Attributes:
        run: folder.
        metrics: by name.
        recalls: by class; None of a class without figures.
        metric_differences: this run minus the first; empty of the first.
        recall_differences: likewise.
        p: of the swap test on the metric; None of the first, and out-of-fold.
        p_holm: corrected over runs (Holm 1979).
        verdict: one sentence; "" of the first.
    """

    run: str
    metrics: dict[str, Estimate]
    recalls: dict[str, Estimate | None]
    metric_differences: dict[str, Estimate]
    recall_differences: dict[str, Estimate | None]
    p: float | None
    p_holm: float | None
    verdict: str


@dataclass(frozen=True)
class RunsReport:
    """What ``compare_runs`` found.

    Attributes:
        part: ``holdout`` or ``oof``.
        metric: that the verdicts are about.
        cells: compared.
        groups: of the cells; None where they are independent.
        support: cells of each class.
        runs: in the order given.
    """

    part: Part
    metric: Metric
    cells: int
    groups: int | None
    support: dict[str, int]
    runs: tuple[RunFigures, ...]

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self) | {"level": LEVEL}, indent=2)

    def write_csv(self, path: Path) -> None:
        """A row for each run and figure, wholly or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        rows = [row for run in self.runs for row in self._rows(run)]
        try:
            write_csv(path, rows, for_people=True)
        except CardError as error:
            raise RunError(error) from None

    def _rows(self, run: RunFigures) -> list[dict[str, Any]]:
        figures: list[tuple[str, Estimate, Estimate | None]] = [
            (name, run.metrics[name], run.metric_differences.get(name)) for name in METRICS
        ]
        figures += [
            (f"recall of {name}", recall, run.recall_differences.get(name))
            for name, recall in run.recalls.items()
            if recall is not None
        ]
        return [
            {
                "run": run.run,
                "part": self.part,
                "figure": name,
                "value": value.value,
                "low": value.low,
                "high": value.high,
                "difference": gap.value if gap else "",
                "difference_low": gap.low if gap else "",
                "difference_high": gap.high if gap else "",
                "p": run.p if name == self.metric and run.p is not None else "",
                "p_holm": run.p_holm if name == self.metric and run.p_holm is not None else "",
            }
            for name, value, gap in figures
        ]


def compare_runs(
    runs: Sequence[Path | str],
    *,
    part: Part = "holdout",
    metric: str | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> RunsReport:
    """Score the models of runs on the same cells, each against the first, paired by cell.

    Args:
        runs: folders of finished runs, or of their cards; at least two.
        part: ``holdout``, scored by the final models, or ``oof``, out-of-fold predictions.
        metric: of the verdicts; by default that of the first run.
        seed: of the bootstrap and of the test.
        on_progress: told how many bootstraps and tests are done.

    Raises:
        ConfigError: fewer than two runs, or one twice.
        MismatchError: other data or splits; every difference is named.
        RunError: a run has no card yet, or no predictions of this part.
    """
    folders = [Path(run) for run in runs]
    if len(folders) < 2:
        raise ConfigError(
            "compare: give two runs or more, or one and ", Setting("answers", "TABLE")
        )
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("compare: the same run is given twice")
    cards = [ModelCard.load(card_of(folder)) for folder in folders]
    _require_same(folders, cards)
    said = [predictions_of(card_of(folder), part) for folder in folders]
    reference = said[0]
    predicted = [
        _in_order(folder, one, reference) for folder, one in zip(folders, said, strict=True)
    ]
    chosen = metric_named(metric) if metric else cards[0].figures.metric
    groups = _groups(folders, cards, reference)
    steps = Steps(
        "comparing runs", len(predicted) + (part == "holdout") * (len(predicted) - 1), on_progress
    )
    pairs = [
        compare(
            reference.labels,
            one,
            predicted[0],
            reference.classes,
            not_estimable=reference.not_estimable,
            groups=groups,
            seed=seed,
        )
        for one in steps.through(predicted)
    ]
    # Out-of-fold cells chose each run's winner, so its figures there are flattered, the more the
    # more trials it had: neither a test nor a verdict would hold.
    judged = predicted[1:] if part == "holdout" else []
    tests = [
        swap_test(
            reference.labels,
            one,
            predicted[0],
            len(reference.classes),
            metric=chosen,
            classes=pairs[0].winner.estimable,
            groups=groups,
            seed=seed,
        )
        for one in steps.through(judged)
    ]
    corrected = holm(tests)
    figures = []
    for at, (folder, pair) in enumerate(zip(folders, pairs, strict=True)):
        p, p_holm = (tests[at - 1], corrected[at - 1]) if at and tests else (None, None)
        classes = reference.classes
        figures.append(
            RunFigures(
                run=str(folder),
                metrics={str(name): pair.winner.metrics[name] for name in METRICS},
                recalls={n: pair.winner.estimate(c, "recall") for c, n in enumerate(classes)},
                metric_differences={str(n): pair.differences[n] for n in METRICS} if at else {},
                recall_differences=dict(zip(classes, pair.recalls, strict=True)) if at else {},
                p=p,
                p_holm=p_holm,
                verdict=_verdict(pair.differences[chosen], p_holm, chosen) if at else "",
            )
        )
    return RunsReport(
        part,
        chosen,
        len(reference.ids),
        None if groups is None else int(groups.max()) + 1,
        dict(zip(reference.classes, pairs[0].winner.support.tolist(), strict=True)),
        tuple(figures),
    )


def _verdict(gap: Estimate, p: float | None, metric: Metric) -> str:
    if p is None:
        return CHOSEN_BY
    if p >= ALPHA or not gap.side:
        return "no evidence of a difference"
    return f"{better_by(gap)} {TITLES[metric]}"


def _require_same(folders: Sequence[Path], cards: Sequence[ModelCard]) -> None:
    """Runs on other cells or splits were scored on other questions; say on which."""
    problems = []
    first = cards[0].config
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        config = card.config
        if config.dataset.sha256 != first.dataset.sha256:
            problems.append(
                f"{folder}: data {config.dataset.name} of {config.dataset.cells:,} cells "
                f"(sha256 {config.dataset.sha256[:12]}), not {first.dataset.name} of "
                f"{first.dataset.cells:,} ({first.dataset.sha256[:12]})"
            )
        if config.classes != first.classes:
            problems.append(
                f"{folder}: classes {', '.join(config.classes)}, not {', '.join(first.classes)}"
            )
        if config.splits_sha256 != first.splits_sha256:
            problems.append(
                f"{folder}: splits {config.splits_sha256[:12]}{_split_facts(card)}, not "
                f"{first.splits_sha256[:12]}{_split_facts(cards[0])}"
            )
    if problems:
        raise MismatchError(
            f"runs on other data or splits cannot be compared with {folders[0]}; repeat one with "
            "the same seed, folds and hold-out"
            ":\n  " + "\n  ".join(problems)
        )


def _split_facts(card: ModelCard) -> str:
    try:
        file = SplitsFile.read(card.folder / "splits.json")
    except SplitError:
        return ""
    held = len(file.holdout.indices)
    return f" (seed {file.seed}, {len(file.folds)} folds, hold-out {held:,})"


def _in_order(folder: Path, one: Predictions, reference: Predictions) -> np.ndarray[Any, Any]:
    """(n,) int64 classes that a run gave, in the order of the first run's cells."""
    place = {cell: row for row, cell in enumerate(one.ids)}
    try:
        rows = np.array([place[cell] for cell in reference.ids], np.int64)
    except KeyError as error:
        raise MismatchError(f"{folder}: its card has no prediction for cell {error}") from None
    if len(one.ids) != len(reference.ids):
        raise MismatchError(
            f"{folder}: {len(one.ids):,} cells are scored, {len(reference.ids):,} in the first run"
        )
    return one.predicted[rows]


def _groups(
    folders: Sequence[Path], cards: Sequence[ModelCard], reference: Predictions
) -> Codes | None:
    """Groups of the compared cells; of older cards from the cells, where these can be read."""
    if reference.groups is not None:
        return reference.groups
    if cards[0].figures.hold_out.winner.groups is None:
        return None
    for folder in folders:
        try:
            cells = CellDataset.open(read_record(folder).dataset_folder)
        except CellsearchError:
            continue
        if cells.groups is not None and cells.sha256 == cards[0].config.dataset.sha256:
            place = {str(cell): row for row, cell in enumerate(cells.ids)}
            return group_codes(cells.groups[[place[cell] for cell in reference.ids]])
    raise RunError(
        "the cells come in groups, which are needed to compare runs, but none of their data sets "
        "can still be read"
        f"; {NAMES['holdout']} figures of each are in its card"
    )
