"""A run's predictions beside answers that people gave for the same cells."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.predictions import FILES, NAMES, Part, ids_of, predictions_of
from cellsearch.card.whole_files import write_csv
from cellsearch.data.readers.table import Row, read_rows
from cellsearch.errors import CardError, DataError, RunError
from cellsearch.run.history import card_of
from cellsearch.stats.comparison import compare
from cellsearch.stats.evaluation import LEVEL, Estimate, Evaluation
from cellsearch.stats.groups import Codes, group_codes
from cellsearch.stats.permutation import holm, mcnemar, swap_test
from cellsearch.stats.predictions import Predictions
from cellsearch.stats.proportions import share
from cellsearch.stats.wording import better_by
from cellsearch.util.messages import Setting
from cellsearch.util.progress import Progress, Steps
from cellsearch.util.spelling import Spellings
from cellsearch.util.yaml_files import near_miss

ALPHA = 1.0 - LEVEL


@dataclass(frozen=True)
class Scores:
    """Of one side; accuracy with the interval of a share, balanced accuracy with a bootstrap's."""

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
        p: of McNemar's exact test, two-sided; where cells come in groups, of the swap test of
            accuracy by group.
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
        groups: among them; None where cells count as independent.
        raters: sorted by name.
        best: the rater with the highest accuracy relative to the model on the same cells; None
            where there is one rater.
    """

    run: Path
    part: Part
    cells: int
    groups: int | None
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
            write_csv(path, rows, for_people=True)
        except CardError as error:
            raise RunError(error) from None


def compare_answers(
    run: Path | str,
    answers: Path | str,
    *,
    part: Part = "holdout",
    seed: int = 0,
    on_progress: Progress | None = None,
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
    card = card_of(Path(run))
    ours = predictions_of(card, part)
    given = read_answers(Path(answers), ids=ids_of(card) | set(ours.ids), classes=ours.classes)
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
            f"{answers}: {', '.join(silent)} answered no cell of the {NAMES[part]}, only other "
            "cells of the data set; try ",
            Setting("part", other),
            f", or ask for the cells of {FILES[part]}",
        )
    pairs = [_paired(ours, chosen) for chosen in by_rater.values()]
    raw = [_p(pair, len(ours.classes), seed=seed) for pair in pairs]
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
        Path(run),
        part,
        len(ours.ids),
        None if ours.groups is None else len(np.unique(ours.groups)),
        figures,
        best if len(figures) > 1 else None,
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """What the model and a rater said of the n cells that have both."""

    labels: NDArray[np.int64]
    model: NDArray[np.int64]
    rater: NDArray[np.int64]
    groups: Codes | None

    @property
    def alone(self) -> tuple[int, int]:
        """Cells that only the model got right, and only the rater."""
        right, theirs = self.model == self.labels, self.rater == self.labels
        return int((right & ~theirs).sum()), int((theirs & ~right).sum())


def _paired(ours: Predictions, chosen: Mapping[int, int]) -> _Pair:
    # By row, so that the bootstrap does not depend on the order of the table.
    rows = np.array(sorted(chosen), np.int64)
    said = np.array([chosen[row] for row in rows.tolist()])
    groups = None if ours.groups is None else group_codes(ours.groups[rows])
    return _Pair(ours.labels[rows], ours.predicted[rows], said, groups)


def _p(pair: _Pair, k: int, *, seed: int) -> float:
    """Of a difference in accuracy; cells of a group are no independent evidence."""
    if pair.groups is None:
        return mcnemar(*pair.alone)
    return swap_test(
        pair.labels,
        pair.model,
        pair.rater,
        k,
        metric="accuracy",
        groups=pair.groups,
        seed=seed,
    )


def _figures(
    ours: Predictions, rater: str, pair: _Pair, outside: int, p: float, p_holm: float, *, seed: int
) -> RaterFigures:
    labels = pair.labels
    found = compare(
        labels,
        pair.model,
        pair.rater,
        ours.classes,
        not_estimable=ours.not_estimable,
        groups=pair.groups,
        seed=seed,
    )
    if found.baseline is None:
        raise ValueError("compare needs a second run, or answers of raters")
    difference = Scores(found.differences["accuracy"], found.differences["balanced_accuracy"])
    first, second = pair.alone
    return RaterFigures(
        rater=rater,
        cells=len(labels),
        unanswered=len(ours.ids) - len(labels),
        outside=outside,
        model=_scores(found.winner, pair.model == labels, pair.groups),
        answers=_scores(found.baseline, pair.rater == labels, pair.groups),
        difference=difference,
        model_alone=first,
        rater_alone=second,
        p=p,
        p_holm=p_holm,
        verdict=_verdict(difference, p_holm, len(labels)),
    )


def _scores(evaluation: Evaluation, right: NDArray[np.bool_], groups: Codes | None) -> Scores:
    accuracy = share(right, groups)
    if accuracy is None:
        raise ValueError("no cell that both gave a class to")
    return Scores(accuracy, evaluation.metrics["balanced_accuracy"])


def _verdict(difference: Scores, p: float, cells: int) -> str:
    accuracy, balanced = difference.accuracy, difference.balanced_accuracy
    if p >= ALPHA or not accuracy.side:
        return f"no evidence of a difference on {cells:,} cells"
    verdict = better_by(accuracy)
    # Common classes rule accuracy, so the rare ones may say the opposite.
    if accuracy.value * balanced.value < 0.0 and balanced.side:
        verdict += f" in accuracy, but {better_by(balanced)} in balanced accuracy"
    return verdict


def _flat(facts: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """``{"model": {"accuracy": {"low": 0.5}}}`` as ``{"model_accuracy_low": 0.5}``."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}_")
        else:
            flat[f"{before}{name}".removesuffix("_value")] = value
    return flat


ID_NAMES = ("id", "cell", "cell id")


CLASS_NAMES = ("class", "answer", "label")


RATER_NAMES = ("rater", "expert")


ONE_RATER = "answers"


_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Answer:
    """One cell's class, as one rater gave it."""

    rater: str
    cell: str
    given: str


@dataclass(frozen=True)
class _Columns:
    cell: str
    given: str
    rater: str | None


def read_answers(path: Path, *, ids: Collection[str], classes: Sequence[str]) -> tuple[Answer, ...]:
    """Read a CSV or TSV table; the order of its rows does not matter.

    The cell is in the column ``id`` or ``cell``, else in the first; the class in ``class``,
    ``answer`` or ``label``, else in the second; the rater in ``rater`` or ``expert``, where there
    is one. A row without a class is an answer that was not given.

    Args:
        path: the table, with a header.
        ids: of all cells of the data set.
        classes: of the model.

    Returns:
        Answers sorted by rater and cell.

    Raises:
        ReadError: not a table.
        DataError: missing columns, unknown cells or classes, two answers of a rater for a cell;
            all in one message, with their lines.
    """
    header, rows = read_rows(path, may_end_early=True)
    columns = _columns(path, header)
    known = frozenset(ids)
    cells, names = Spellings.of(known), Spellings.of(classes)
    found: dict[tuple[str, str], Answer] = {}
    lines: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for row in rows:
        answer = _answer(row, columns)
        answer = replace(answer, cell=_meant(answer.cell, cells), given=_meant(answer.given, names))
        wrong = _wrong(answer, known, classes)
        key = (answer.rater, answer.cell)
        if answer.cell in known and key in lines:
            whose = f" of {answer.rater}" if columns.rater else ""
            wrong.append(f"a second answer{whose} for {answer.cell!r}, after line {lines[key]}")
        lines.setdefault(key, row.line)
        problems += [f"line {row.line}: {what}" for what in wrong]
        if answer.given and not wrong:
            found[key] = answer
    if problems:
        raise DataError(_listed(path, problems, ids))
    if not found:
        raise DataError(f"{path}: no row has a class in column {columns.given!r}")
    return tuple(found[key] for key in sorted(found))


def _columns(path: Path, header: Sequence[str]) -> _Columns:
    problems: list[str] = []

    def named(names: Sequence[str], what: str) -> str | None:
        fits = [column for column in header if column.lower().replace("_", " ") in names]
        if len(fits) > 1:
            problems.append(f"{' and '.join(fits)} could both be {what}; rename one")
        return fits[0] if fits else None

    cell = named(ID_NAMES, "the cell")
    given = named(CLASS_NAMES, "the class given")
    rater = named(RATER_NAMES, "the rater")
    rest = [column for column in header if column not in (cell, given, rater)]
    if cell is None and rest:
        cell = rest.pop(0)
    if given is None and rest:
        given = rest.pop(0)
    if cell is None:
        problems.append(f"no column for the cell ({' or '.join(ID_NAMES[:2])})")
    if given is None:
        problems.append(f"no column for the class given ({', '.join(CLASS_NAMES)})")
    if problems or cell is None or given is None:
        raise DataError(f"{path}: line 1: {'; '.join(problems)}; columns: {', '.join(header)}")
    return _Columns(cell, given, rater)


def _answer(row: Row, columns: _Columns) -> Answer:
    rater = row.values.get(columns.rater, "") if columns.rater else ONE_RATER
    return Answer(rater, row.values.get(columns.cell, ""), row.values.get(columns.given, ""))


def _meant(name: str, known: Spellings) -> str:
    """A name as the run spells it, where letters are composed otherwise."""
    found = known.meant(name)
    return found[0] if len(found) == 1 else name


def _wrong(answer: Answer, ids: Collection[str], classes: Sequence[str]) -> list[str]:
    wrong = []
    if not answer.rater:
        wrong.append("no rater")
    if answer.cell not in ids:
        wrong.append(f"the run has no cell {answer.cell!r}" if answer.cell else "no cell")
    if answer.given and answer.given not in classes:
        wrong.append(
            f"no class {answer.given!r}{near_miss(answer.given, classes)} "
            f"(there are {', '.join(classes)})"
        )
    return wrong


def _listed(path: Path, problems: Sequence[str], ids: Collection[str]) -> str:
    shown = [f"  {each}" for each in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        shown.append(f"  and {len(problems) - _MOST_PROBLEMS:,} more")
    if any("no cell" in each for each in problems):
        shown.append(f"  (cells of the run are named as {min(ids)!r})")
    count = f"{len(problems):,} problem{'s' * (len(problems) > 1)}"
    return f"{path}: {count}; correct these lines:\n" + "\n".join(shown)
