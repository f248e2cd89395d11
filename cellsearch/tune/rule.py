"""How the trials of a study decide, in ``decision.json`` of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.stats.decision import (
    Decision,
    FoldOutput,
    Priors,
    chosen_tau,
    cross_fitted_taus,
    decided,
    fixed_tau,
    usual_tau,
)
from cellsearch.stats.metrics import Metric
from cellsearch.util.atomic import write_whole_text
from cellsearch.util.json_text import from_json

DECISION_FILE = "decision.json"


@dataclass(frozen=True)
class StudyRule:
    """What turns the probabilities of every trial of a study into classes.

    One for all trials, trial 0 included: a rule that only some follow would itself look like a
    gain of the search.

    Attributes:
        taus: one a fold; empty where the greatest probability decides, as it did in runs of older
            versions.
        tau: of the final model.
        chosen_on: the trial on whose folds they were chosen; None where the metric says them, and
            before the choice.
        settled: whether nothing is left to choose.
        natural_always: positions of classes that no figure is stated of.
    """

    taus: tuple[float, ...] = ()
    tau: float = 1.0
    chosen_on: int | None = None
    settled: bool = True
    natural_always: tuple[int, ...] = ()

    @classmethod
    def of(cls, metric: Metric, folds: int, classes: NDArray[np.bool_]) -> Self:
        """The rule that a new study begins with; ``classes``: (K,) that can be estimated."""
        tau = usual_tau(metric)
        return cls(
            (tau,) * folds,
            tau,
            settled=fixed_tau(metric) is not None,
            natural_always=tuple(np.flatnonzero(~classes).tolist()),
        )

    def chosen(
        self,
        metric: Metric,
        folds: Sequence[FoldResult],
        labels: NDArray[np.int64],
        *,
        classes: NDArray[np.bool_],
        trial: int,
    ) -> Self:
        """Each fold's tau, chosen on the other folds of a trial, and the final model's on all.

        Args:
            metric: of the study.
            folds: all of the trial.
            labels: (N,) int64 of the whole data set.
            classes: (K,) bool, those that can be estimated.
            trial: its number.
        """
        ordered = sorted(folds, key=lambda each: each.fold)
        outputs = [
            FoldOutput(labels[each.cells], each.probabilities, each.priors)
            for each in ordered
            if each.priors is not None
        ]
        if len(outputs) != len(self.taus):
            return replace(self, settled=True)
        return replace(
            self,
            taus=cross_fitted_taus(metric, outputs, classes=classes),
            tau=chosen_tau(metric, outputs, classes=classes),
            chosen_on=trial,
            settled=True,
        )

    @property
    def looks(self) -> int:
        """Choices that were made on out-of-fold cells, each a look more at them."""
        return int(self.chosen_on is not None)

    def decided(self, fold: FoldResult) -> NDArray[np.int64]:
        """(n,) classes that the validation cells of a fold are given."""
        if not self.taus or fold.priors is None:
            return decided(fold.probabilities, None)
        tau = self.taus[fold.fold]
        return decided(fold.probabilities, Decision(tau, fold.priors, self.natural_always))

    def decision(self, priors: Sequence[Priors | None]) -> Decision | None:
        """Of a final model with these members; None where the greatest probability decides."""
        known = [each for each in priors if each is not None]
        if not self.taus or not known or len(known) < len(priors):
            return None
        return Decision(self.tau, Priors.mean(known), self.natural_always)

    def save(self, folder: Path) -> None:
        """Write ``decision.json`` at once and durably."""
        write_whole_text(folder / DECISION_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The rule of a run; that of the greatest probability in runs of older versions.

        Raises:
            RunError: the file is damaged.
        """
        path = folder / DECISION_FILE
        try:
            facts = from_json(path.read_text(encoding="utf-8"))
            several = {name: tuple(facts[name]) for name in ("taus", "natural_always")}
            return cls(**(facts | several))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
