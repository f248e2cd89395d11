"""A run's predictions beside answers that people gave for the same cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.answer_table import read_answers
from cellsearch.card.compare import compare
from cellsearch.card.figures import LEVEL, Estimate, Evaluation
from cellsearch.card.whole_files import write_csv
from cellsearch.errors import CardError, DataError, RunError
from cellsearch.learn.intervals import clopper_pearson
from cellsearch.predictions import FILES, NAMES, Part, Predictions, predictions_of
from cellsearch.steps import Steps
from cellsearch.util.messages import Setting

ALPHA = 1.0 - LEVEL


@dataclass(frozen=True)
class Scores:
    """Of one side; accuracy with its exact interval, balanced accuracy with a bootstrap's."""

    accuracy: Estimate
    balanced_accuracy: Estimate


@dataclass(frozen=True)
class RaterFigures:
    """The model beside one rater, on the cells that both gave a class to.

    Attributes:
        rater: who answered.
        cells: compared.
        unanswered: cells of the part without an answer of this rater.
        outside: answers of this rater for cells that are not in the part.
        model: scores on these cells.
        answers: the rater's.
        difference: model minus rater, intervals from a bootstrap of pairs within classes.
        model_alone: cells that only the model got right.
        rater_alone: cells that only the rater got right.
        p: of McNemar's exact test, two-sided.
        p_holm: the same, corrected over raters (Holm 1979).
        verdict: one sentence on accuracy; a difference needs ``p_holm`` below 0.05 and an
            interval without 0.
    """

    rater: str
    cells: int
    unanswered: int
    outside: int
    model: Scores
    answers: Scores
    difference: Scores
    model_alone: int
    rater_alone: int
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class AnswersReport:
    """What ``compare_answers`` found.

    Attributes:
        run: folder.
        part: ``holdout`` or ``oof``.
        cells: in the part.
        raters: sorted by name.
        best: the rater with the highest accuracy relative to the model on the same cells; None
            where there is one rater.
    """

    run: Path
    part: Part
    cells: int
    raters: tuple[RaterFigures, ...]
    best: RaterFigures | None

    def to_json(self) -> str:
        """All of it as JSON."""
        facts = asdict(self) | {"run": str(self.run), "best": self.best and self.best.rater}
        return json.dumps(facts | {"level": LEVEL}, indent=2)

    def write_csv(self, path: Path) -> None:
        """A row a rater, a column a figure, wholly or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        rows = [
            _flat(asdict(each)) | {"part": self.part, "best": str(each is self.best).lower()}
            for each in self.raters
        ]
        try:
            write_csv(path, rows)
        except CardError as error:
            raise RunError(error) from None


def compare_answers(
    run: Path | str,
    answers: Path | str,
    *,
    part: Part = "holdout",
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> AnswersReport:
    """Score answers, and the run's model, on the cells that have both.

    Args:
        run: folder of a finished run, or of its card.
        answers: a table as ``read_answers`` takes it.
        part: ``holdout``, scored by the final model, or ``oof``, out-of-fold predictions.
        seed: of the bootstrap.
        on_progress: told how many raters are compared.

    Raises:
        RunError: the run has no card yet, or no predictions of this part.
        DataError: the answers cannot be used; all problems with their lines.
    """
    ours = predictions_of(Path(run), part)
    given = read_answers(Path(answers), ids=ours.known, classes=ours.classes)
    place = {cell: row for row, cell in enumerate(ours.ids)}
    by_rater: dict[str, dict[int, int]] = {}
    outside: dict[str, int] = {}
    for answer in given:
        chosen = by_rater.setdefault(answer.rater, {})
        if answer.cell in place:
            chosen[place[answer.cell]] = ours.classes.index(answer.given)
        else:
            outside[answer.rater] = outside.get(answer.rater, 0) + 1
    silent = [rater for rater, chosen in by_rater.items() if not chosen]
    if silent:
        other = "oof" if part == "holdout" else "holdout"
        raise DataError(
            f"{answers}: {', '.join(silent)} answered no cell of the {NAMES[part]}, only others of "
            "the data set; try ",
            Setting("part", other),
            f", or ask for the cells of {FILES[part]}",
        )
    pairs = [_paired(ours, chosen) for chosen in by_rater.values()]
    raw = [mcnemar(*_alone(*pair)) for pair in pairs]
    steps = Steps("comparing with raters", len(pairs), on_progress)
    figures = tuple(
        _figures(ours, rater, pair, outside.get(rater, 0), p, p_holm, seed=seed)
        for rater, pair, p, p_holm in steps.through(
            zip(by_rater, pairs, raw, holm(raw), strict=True)
        )
    )
    best = min(
        figures,
        key=lambda each: (
            each.difference.accuracy.value,
            each.difference.balanced_accuracy.value,
        ),
    )
    return AnswersReport(
        Path(run), part, len(ours.ids), figures, best if len(figures) > 1 else None
    )


def mcnemar(first: int, second: int) -> float:
    """Two-sided exact p of McNemar's test (1947).

    Args:
        first: pairs that the one alone got right.
        second: pairs that the other alone got right.
    """
    from scipy.stats import binomtest  # half a second that other commands need not pay

    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Step-down corrected p (Holm 1979), in the order given."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


_Pair = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _paired(ours: Predictions, chosen: Mapping[int, int]) -> _Pair:
    """(n,) labels, the model's classes and the rater's, of the cells that have both."""
    # By row, so that the bootstrap does not depend on the order of the table.
    rows = np.array(sorted(chosen), np.int64)
    return ours.labels[rows], ours.predicted[rows], np.array([chosen[row] for row in rows.tolist()])


def _alone(
    labels: NDArray[np.int64], model: NDArray[np.int64], rater: NDArray[np.int64]
) -> tuple[int, int]:
    right, theirs = model == labels, rater == labels
    return int((right & ~theirs).sum()), int((theirs & ~right).sum())


def _figures(
    ours: Predictions, rater: str, pair: _Pair, outside: int, p: float, p_holm: float, *, seed: int
) -> RaterFigures:
    labels, model, answers = pair
    found = compare(
        labels, model, answers, ours.classes, not_estimable=ours.not_estimable, seed=seed
    )
    if found.baseline is None:
        raise ValueError("compare was given no second side")
    difference = Scores(found.differences["accuracy"], found.differences["balanced_accuracy"])
    first, second = _alone(*pair)
    return RaterFigures(
        rater=rater,
        cells=len(labels),
        unanswered=len(ours.ids) - len(labels),
        outside=outside,
        model=_scores(found.winner, model == labels),
        answers=_scores(found.baseline, answers == labels),
        difference=difference,
        model_alone=first,
        rater_alone=second,
        p=p,
        p_holm=p_holm,
        verdict=_verdict(difference, p_holm, len(labels)),
    )


def _scores(evaluation: Evaluation, right: NDArray[np.bool_]) -> Scores:
    hits, cells = int(right.sum()), len(right)
    exact = clopper_pearson(hits, cells, level=LEVEL)
    return Scores(
        Estimate(hits / cells, exact.low, exact.high), evaluation.metrics["balanced_accuracy"]
    )


def _verdict(difference: Scores, p: float, cells: int) -> str:
    accuracy, balanced = difference.accuracy, difference.balanced_accuracy
    if p >= ALPHA or accuracy.low <= 0.0 <= accuracy.high:
        return f"no evidence of a difference on {cells:,} cells"
    verdict = _signed(accuracy)
    # Common classes rule accuracy, so the rare ones may say the opposite.
    if accuracy.value * balanced.value < 0.0 and not balanced.low <= 0.0 <= balanced.high:
        verdict += f" in accuracy, but {_signed(balanced)} in balanced accuracy"
    return verdict


def _signed(estimate: Estimate) -> str:
    """``better by 0.033 (0.010 to 0.056)``."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value > 0.0:
        return f"better by {value:.3f} ({low:.3f} to {high:.3f})"
    return f"worse by {-value:.3f} ({-high:.3f} to {-low:.3f})"


def _flat(facts: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """``{"model": {"accuracy": {"low": 0.5}}}`` as ``{"model_accuracy_low": 0.5}``."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}_")
        else:
            flat[f"{before}{name}".removesuffix("_value")] = value
    return flat
