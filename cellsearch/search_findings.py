"""What a finished search found: verdict and importance, for the card and for the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cellsearch.card.compare import Comparison
from cellsearch.card.found import Found
from cellsearch.errors import StorageError
from cellsearch.importance import importance
from cellsearch.learn.metrics import metric_named
from cellsearch.run_folder import RunRecord, storage_url, study_name
from cellsearch.trial_predictions import trial_predictions
from cellsearch.verdict import corrected_differences, judge

if TYPE_CHECKING:
    import optuna

    from cellsearch.data.dataset import CellDataset
    from cellsearch.data.splits import Splits
    from cellsearch.progress import RunObserver
    from cellsearch.tune.study import SearchOutcome


def findings(
    record: RunRecord,
    folder: Path,
    cells: CellDataset,
    splits: Splits,
    outcome: SearchOutcome,
    observer: RunObserver,
) -> Callable[[Comparison], Found]:
    """What ``write_card`` asks once the hold-out has been compared.

    Raises:
        ValueError: no trial is complete.
    """
    best, reference = outcome.best, outcome.baseline
    if best is None:
        raise ValueError("findings need a complete trial")
    baseline = None if reference is None or reference.state != "COMPLETE" else reference.number
    metric = metric_named(record.config.metric)
    seed = record.config.seed

    def found(holdout: Comparison) -> Found:
        observer.message("comparing the trials with the baseline")
        trials = trial_predictions(folder, outcome.rows, cells, splits)
        corrected = None
        if baseline is not None:
            corrected = corrected_differences(trials, metric, baseline=baseline, seed=seed)
        if corrected is not None and best.number not in (*corrected.numbers, baseline):
            corrected = None
        verdict = judge(
            metric,
            holdout.differences.get(metric),
            corrected,
            winner=best.number,
            baseline=baseline,
        )
        observer.message("asking which choices mattered")
        study = _study(record, folder, observer)
        recipes = {row.number: row.recipe for row in outcome.rows}
        mattered = importance(metric, trials, recipes, study, seed=seed)
        both = Found(verdict, mattered)
        if study is not None:
            _tell_dashboard(study, folder, both, observer)
        return both

    return found


def _study(record: RunRecord, folder: Path, observer: RunObserver) -> optuna.Study | None:
    from cellsearch.tune.study import read_study

    try:
        return read_study(storage_url(record.config, folder), study_name(record, folder))
    except StorageError as error:
        observer.message(f"the study cannot be read, so parameters are not ranked: {error}")
        return None


def _tell_dashboard(study: optuna.Study, folder: Path, found: Found, observer: RunObserver) -> None:
    """Verdict and importance as the study's note, the picture as its artifact."""
    from cellsearch.card.importance_plot import importance_figure
    from cellsearch.card.plots import save
    from cellsearch.card.readme_search import importance_section
    from cellsearch.tune.dashboard import attach_to_study

    verdict, mattered = found.verdict, found.importance
    if verdict is None or mattered is None:
        return
    picture = importance_figure(mattered)
    path = None
    try:
        if picture is not None:
            path = folder / save(picture, folder, "importance")[0]
        body = f"{verdict.sentence}\n\n{importance_section(mattered, pictured=False)}"
        attach_to_study(study, folder, body, path)
    except Exception as error:
        # The card does not hang on what a dashboard shows.
        observer.message(f"no note on the study for the dashboard ({error})")
