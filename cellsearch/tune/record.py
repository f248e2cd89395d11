"""What is written of a trial: into Optuna's study, into our tables, and for the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.recipe import Recipe
from cellsearch.tune import dashboard
from cellsearch.tune.job import fold_path
from cellsearch.tune.store import Store
from cellsearch.util.messages import first_line


@dataclass(frozen=True)
class Record:
    """The places that a trial is written to."""

    study: optuna.Study
    store: Store
    run_id: int
    run_folder: Path
    classes: Sequence[str]
    metric: str

    def fold(
        self,
        trial: optuna.Trial,
        result: FoldResult,
        matrix: NDArray[np.int64],
        score: float,
        *,
        adopted: bool,
    ) -> None:
        """Write a finished fold.

        Args:
            trial: whose.
            result: the fold.
            matrix: (K, K) counts of this fold alone.
            score: of all folds so far.
            adopted: an earlier driver may have written the fold already.
        """
        # Optuna warns of a step that is reported twice.
        if not adopted or result.fold not in self._steps(trial):
            trial.report(score, step=result.fold)
        self.store.record_fold(
            self.run_id,
            trial.number,
            result.fold,
            seconds=result.seconds,
            images_per_second=result.images_per_second,
            confusion=matrix,
            path=fold_path(self.run_folder, trial.number, result.fold),
        )

    def end(
        self,
        trial: optuna.Trial,
        recipe: Recipe,
        state: TrialState,
        folds: Sequence[FoldResult],
        matrix: NDArray[np.int64] | None,
        score: float | None,
        reason: str,
        *,
        spent: float = 0.0,
        short: Sequence[FoldResult] = (),
    ) -> str:
        """Write how a trial ended; a complaint where the dashboard's picture could not be made.

        Args:
            trial: whose.
            recipe: of the trial.
            state: COMPLETE, PRUNED or FAIL.
            folds: those finished of its full training.
            matrix: (K, K) counts of all folds that are shown; None without any.
            score: of all folds; told to Optuna where the trial is COMPLETE.
            reason: why it was stopped or failed.
            spent: seconds of its short trainings, which are in its time too.
            short: folds of its last short training, which are shown where it had no other.
        """
        seconds = float(sum(result.seconds for result in folds))
        trial.set_user_attr("seconds", seconds + spent)
        trial.set_user_attr("folds", len(folds))
        if reason:
            trial.set_user_attr("reason", reason)
        complaint = ""
        if matrix is not None:
            timed = folds or short
            images = sum(result.images_per_second * result.seconds for result in timed)
            trained = sum(result.seconds for result in timed)
            trial.set_user_attr("images_per_second", float(images / max(trained, 1e-9)))
            shown = reason or f"{self.metric.replace('_', ' ')} {score:.4f}"
            headline = f"trial {trial.number}, {state.name.lower()}: {shown}"
            complaint = self._picture(trial, recipe, matrix, headline, folds or short)
        value = score if state == TrialState.COMPLETE else None
        self.study.tell(trial, value, state=state)
        return complaint

    def beyond_limits(self, trial: optuna.Trial, reason: str) -> None:
        """Write that a draw was not trained.

        PRUNED without a value, which TPE ranks last: a FAIL it would not learn from, and go on
        drawing beyond the limits.
        """
        trial.set_user_attr("beyond_limits", True)
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=TrialState.PRUNED)

    def _steps(self, trial: optuna.Trial) -> set[int]:
        stored = trial.storage.get_trial(trial._trial_id)
        return set(stored.intermediate_values)

    def _picture(
        self,
        trial: optuna.Trial,
        recipe: Recipe,
        matrix: NDArray[np.int64],
        headline: str,
        folds: Sequence[FoldResult],
    ) -> str:
        """A picture or a note that cannot be made must not fail the trial."""
        try:
            path = dashboard.attach(
                trial, self.run_folder, recipe, matrix, self.classes, headline=headline
            )
            dashboard.attach_curves(
                trial.storage,
                trial.study._study_id,
                trial._trial_id,
                self.run_folder,
                folds,
                number=trial.number,
            )
        except Exception as error:
            # Whatever a library that draws makes of a name. A storage that is gone is told of where
            # the trial's end is written.
            return f"trial {trial.number}: no picture for the dashboard ({first_line(error)})"
        self.store.record_artifact(self.run_id, "confusion matrix", path, trial=trial.number)
        return ""
