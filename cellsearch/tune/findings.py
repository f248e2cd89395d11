"""What a search found, as a card tells it: verdict, optimism, and which choice mattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cellsearch.stats.evaluation import Estimate, Evaluation
from cellsearch.stats.intervals import difference_of
from cellsearch.stats.metrics import METRICS, TITLES, Metric, metric_named
from cellsearch.stats.wording import difference
from cellsearch.tune.looks import Looks, caution

Outcome = Literal["better", "worse", "no evidence", "no baseline"]


@dataclass(frozen=True)
class Verdict:
    """The winner against trial 0.

    Attributes:
        metric: that the search chose by.
        outcome: in a word or two.
        sentence: for people.
        hold_out: winner minus trial 0 on the hold-out; one look, so not corrected.
        out_of_fold: the same out-of-fold, its interval corrected for the trials looked at.
        p_out_of_fold: corrected likewise.
        trials: looked at out-of-fold, trial 0 apart.
    """

    metric: Metric
    outcome: Outcome
    sentence: str
    hold_out: Estimate | None
    out_of_fold: Estimate | None
    p_out_of_fold: float | None
    trials: int

    def cautioned(self, looks: Looks) -> Verdict:
        """The same, which says so where the cells of the hold-out were scored before."""
        more = caution(looks)
        return replace(self, sentence=f"{self.sentence}; {more}") if more else self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``metrics.json``."""
        return asdict(self)


@dataclass(frozen=True)
class ParameterImportance:
    """How much one parameter told good trials from the others.

    Attributes:
        name: as ``optim.lr``.
        importance: PED-ANOVA's, as a share of the sum over parameters.
        trials: complete ones that have the parameter.
        p: of trials whose scores were dealt out at random having as much.
    """

    name: str
    importance: float
    trials: int
    p: float


@dataclass(frozen=True)
class ChoiceEffect:
    """What one choice did, over the trials that made it, against those that did not.

    Attributes:
        choice: as ``loss.weighting``.
        level: as ``sqrt``; ``on`` of a number that is above 0.
        reference: what it is held against, as ``none``.
        of: a class, for its recall, or "" for the metric of the search.
        trials: that made the choice.
        others: that chose the reference.
        difference: mean over the trials of the one less that over the others, with interval.
        p: uncorrected, two-sided.
        p_holm: corrected over all effects shown (Holm 1979).
    """

    choice: str
    level: str
    reference: str
    of: str
    trials: int
    others: int
    difference: Estimate
    p: float
    p_holm: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``not distinguishable``."""
        side = self.difference.side
        if self.p_holm >= 0.05 or not side:
            return "not distinguishable"
        return "better" if side > 0 else "worse"


@dataclass(frozen=True)
class Importance:
    """Which choice mattered.

    Attributes:
        metric: that the search chose by.
        trials: complete ones, on which it rests.
        parameters: most important first; empty where there are too few trials.
        effects: by choice and level.
        notes: why something is missing, and what not to read into it.
    """

    metric: Metric
    trials: int
    parameters: tuple[ParameterImportance, ...]
    effects: tuple[ChoiceEffect, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``importance.json``."""
        facts = asdict(self)
        for stored, effect in zip(facts["effects"], self.effects, strict=True):
            stored["verdict"] = effect.verdict
        return facts


def read_importance(facts: Mapping[str, Any]) -> Importance:
    """The inverse of ``Importance.to_dict``."""
    effects = []
    for stored in facts["effects"]:
        known = {name: value for name, value in stored.items() if name != "verdict"}
        effects.append(ChoiceEffect(**known | {"difference": Estimate(**known["difference"])}))
    return Importance(
        metric=metric_named(facts["metric"]),
        trials=int(facts["trials"]),
        parameters=tuple(ParameterImportance(**each) for each in facts["parameters"]),
        effects=tuple(effects),
        notes=tuple(facts["notes"]),
    )


@dataclass(frozen=True)
class Found:
    """All that a card tells of its search; parts are None where they could not be had."""

    verdict: Verdict | None = None
    importance: Importance | None = None
    looks: Looks | None = None


def optimism(oof: Evaluation, holdout: Evaluation) -> dict[Metric, Estimate]:
    """The winner's out-of-fold figures less those of the hold-out.

    What choosing the best of many flatters it by, less what training the final model on more
    cells gains. The two are of different cells, so their intervals combine (``difference_of``).
    """
    return {metric: optimism_of(oof.metrics[metric], holdout.metrics[metric]) for metric in METRICS}


def optimism_of(oof: Estimate, holdout: Estimate) -> Estimate:
    """One of them; without an interval where one of the two has none."""
    first, second = oof.interval, holdout.interval
    if first is None or second is None:
        return Estimate.of(oof.value - holdout.value, None)
    return Estimate.of(*difference_of((oof.value, first), (holdout.value, second)))


def optimism_line(figure: Estimate, metric: Metric) -> str:
    """``optimism of the search (...): +0.031 (-0.020 to +0.080)``."""
    return (
        f"optimism of the search (out-of-fold minus hold-out {TITLES[metric]}): "
        f"{difference(figure)}"
    )
