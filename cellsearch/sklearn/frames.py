"""What a run, a card or a data set holds, as pandas frames; pandas is imported when asked for.

Frames are tidy: one row for each trial, fold, cell or figure, and columns that pandas can filter,
pivot and plot without a word of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellsearch.card.metrics import CardMetrics
from cellsearch.card.metrics import Part as Section
from cellsearch.card.predictions import FILES, NAMES, Part
from cellsearch.errors import CellsearchError, RunError
from cellsearch.stats.evaluation import Estimate

if TYPE_CHECKING:
    from pandas import DataFrame

    from cellsearch.card.card import ModelCard
    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.run.search import SearchResult

_TEXTS = ("id", "source", "true_class", "predicted_class", "decision", "set")
_FIGURES = ("precision", "recall", "specificity", "f1")
_SECTIONS: Mapping[Part, Section] = {"holdout": "hold_out", "oof": "out_of_fold"}
_OF_TRIAL = (
    *("trial", "state", "score", "folds", "seconds", "baseline", "reason"),
    *("short_loss", "half_loss", "origin"),
)
_OF_FOLD = ("trial", "state", "fold", "cells", "score", "seconds", "epochs", "images_per_second")
_ABSENT = Estimate(np.nan, np.nan, np.nan)


def trials_frame(run: SearchResult | Path | str) -> DataFrame:
    """A row for each trial that was trained, best first, stopped and failed ones at the end.

    Args:
        run: what ``search`` gave, or the folder of a run, finished or not.

    Returns:
        ``trial``, ``state`` (COMPLETE, PRUNED, FAIL, RUNNING), ``score`` (out-of-fold, pooled over
        the finished folds; NaN without any), ``folds``, ``seconds``, ``baseline``, ``reason``,
        ``short_loss`` and ``half_loss`` (mean log loss in nats after a short or half training; NaN
        without one), ``origin`` (where a drawn recipe comes from), and a column for each parameter
        of a recipe by its dotted name; NaN where a trial had no such parameter.

    Raises:
        RunError: not the folder of a run.
        StorageError: its database does not answer.
    """
    import pandas as pd

    from cellsearch.run.history import past_run

    rows = past_run(Path(run)).rows if isinstance(run, Path | str) else run.trials
    table = [
        {
            "trial": row.number,
            "state": row.state,
            "score": np.nan if row.score is None else row.score,
            "folds": row.folds,
            "seconds": row.seconds,
            "baseline": row.baseline,
            "reason": row.reason,
            "short_loss": np.nan if row.short_loss is None else row.short_loss,
            "half_loss": np.nan if row.half_loss is None else row.half_loss,
            "origin": row.origin,
            **row.recipe.to_params(),
        }
        for row in rows
    ]
    return pd.DataFrame(table, columns=None if table else list(_OF_TRIAL))


def fold_scores_frame(run: SearchResult | Path | str) -> DataFrame:
    """A row for each finished fold of each trial.

    A score of one fold rests on few cells of a rare class: compare trials by their pooled score
    (``trials_frame``), and look here at how much folds and trainings differ.

    Args:
        run: what ``search`` gave, or the folder of a run, finished or not.

    Returns:
        ``trial``, ``state``, ``fold`` (from 0), ``cells``, ``score`` (the run's metric on the
        fold's own validation cells, over the classes that can be estimated), ``seconds``,
        ``epochs``, ``images_per_second``.

    Raises:
        RunError: not the folder of a run, a fold is lost, or its cells lie here no more.
        StorageError: its database does not answer.
    """
    import pandas as pd

    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.run.history import past_run
    from cellsearch.stats.metrics import confusion, score
    from cellsearch.tune.job import finished_folds
    from cellsearch.tune.rule import StudyRule

    folder = Path(run) if isinstance(run, Path | str) else run.folder
    past = past_run(folder)
    try:
        cells = CellDataset.open(past.record.dataset_folder)
        splits = Splits.load(folder / "splits.json", cells)
    except CellsearchError as error:
        raise RunError(
            f"scores of folds need the cells of {folder}, which are not at hand (",
            error,
            "); load the data set once more, or look at trials_frame",
        ) from error
    rule = StudyRule.load(folder)
    k = len(cells.classes)
    known = np.array([name not in splits.not_estimable for name in cells.classes])
    rows = []
    for row in past.rows:
        for fold in finished_folds(folder, row.number, range(row.folds)):
            counts = confusion(cells.labels[fold.cells], rule.decided(fold), k)
            value = float(score(past.record.config.metric, counts, classes=known))
            facts = (row.number, row.state, fold.fold, len(fold.cells), value)
            rows.append((*facts, fold.seconds, fold.epochs, fold.images_per_second))
    return pd.DataFrame(rows, columns=list(_OF_FOLD))


def figures_frame(card: ModelCard | SearchResult | Path | str) -> DataFrame:
    """Every figure of a card with its 95 % interval.

    Args:
        card: a card, its folder, what ``search`` gave, or the folder of a finished run.

    Returns:
        ``part`` (hold-out, out-of-fold), ``model`` (winner, baseline, winner minus baseline),
        ``class`` ("" for figures over all classes), ``cells``, ``figure`` (recall, precision,
        specificity, f1 of a class; balanced_accuracy, macro_f1, ... of all), ``value``, ``low``,
        ``high``. The three are NaN where a figure cannot be estimated.

    Raises:
        CardError: not a card.
    """
    import pandas as pd

    columns = ("part", "model", "class", "cells", "figure", "value", "low", "high")
    return pd.DataFrame(_figures(_card_of(card).figures), columns=list(columns))


def _figures(metrics: CardMetrics) -> Iterator[tuple[Any, ...]]:
    for part, section in _SECTIONS.items():
        compared = metrics.part(section)
        for model, side in (("winner", compared.winner), ("baseline", compared.baseline)):
            if side is None:
                continue
            for name, figure in side.metrics.items():
                yield (NAMES[part], model, "", side.cells, name, *astuple(figure))
            for label, own in side.per_class.items():
                for name in _FIGURES:
                    shown = getattr(own, name) if own.estimable else None
                    yield (NAMES[part], model, label, own.support, name, *astuple(shown or _ABSENT))
        between = "winner minus baseline"
        winner = compared.winner
        for name, figure in compared.difference.items():
            yield (NAMES[part], between, "", winner.cells, name, *astuple(figure))
        for label, gap in compared.recall_difference.items():
            support = winner.per_class[label].support
            yield (NAMES[part], between, label, support, "recall", *astuple(gap or _ABSENT))


def confusion_frame(
    card: ModelCard | SearchResult | Path | str, part: Part = "holdout"
) -> DataFrame:
    """(K, K) counts of the winner: index ``true``, columns ``predicted``.

    Args:
        card: a card, its folder, what ``search`` gave, or the folder of a finished run.
        part: ``holdout`` or ``oof`` (out-of-fold).

    Raises:
        CardError: not a card.
    """
    import pandas as pd

    opened = _card_of(card)
    return pd.DataFrame(
        opened.figures.part(_SECTIONS[_part(part)]).winner.confusion,
        index=pd.Index(opened.classes, name="true"),
        columns=pd.Index(opened.classes, name="predicted"),
    )


def predictions_frame(
    card: ModelCard | SearchResult | Path | str, part: Part = "holdout"
) -> DataFrame:
    """A row for each cell of the hold-out, or of the folds, and what the winner said of it.

    Args:
        card: a card, its folder, what ``search`` gave, or the folder of a finished run.
        part: ``holdout`` or ``oof`` (out-of-fold).

    Returns:
        ``id``, ``source``, ``object_number``, ``true_class``, ``predicted_class``, ``confidence``
        and the probability of each class.

    Raises:
        CardError: not a card.
        RunError: a card without these predictions.
    """
    import pandas as pd

    path = _card_of(card).folder / FILES[_part(part)]
    try:
        # A class may be called NA, or 1.
        return pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(_TEXTS, str))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from None


def cells_frame(dataset: CellDataset, splits: Splits | None = None) -> DataFrame:
    """A row for each cell: ``id``, ``source``, ``object_number``, ``class``, ``group``, ``part``.

    Args:
        dataset: the cells.
        splits: of this data set; adds ``part``: ``hold-out``, ``fold 0``, ..., ``train only``, or
            ``left out``.

    Returns:
        ``class`` is a categorical in the order of the classes, missing where it is not known;
        ``group`` is there where the data set has groups.

    Raises:
        RunError: splits of another data set.
    """
    import pandas as pd

    columns: dict[str, Any] = {
        "id": dataset.ids,
        "source": dataset.sources,
        "object_number": dataset.object_numbers,
        "class": pd.Categorical.from_codes(dataset.labels, categories=list(dataset.classes)),
    }
    if dataset.groups is not None:
        columns["group"] = dataset.groups
    if splits is not None:
        if splits.dataset_sha256 != dataset.sha256:
            raise RunError("the given splits were drawn from another data set")
        part = np.full(len(dataset), "train only", dtype=object)
        part[splits.holdout], part[splits.left_out] = "hold-out", "left out"
        for fold, validation in enumerate(splits.folds):
            part[validation] = f"fold {fold}"
        columns["part"] = part
    return pd.DataFrame(columns)


def _card_of(card: ModelCard | SearchResult | Path | str) -> ModelCard:
    from cellsearch.card.card import ModelCard

    if isinstance(card, ModelCard):
        return card
    if not isinstance(card, Path | str):
        # What ``search`` gave.
        if card.card is None:
            raise RunError(f"{card.folder} has no card: its search was interrupted; resume it")
        return card.card
    folder = Path(card)
    return ModelCard.load(folder / "card" if (folder / "run.json").is_file() else folder)


def _part(part: Part) -> Part:
    if part not in FILES:
        raise RunError(f"part: must be one of {', '.join(FILES)}; got {part!r}")
    return part
