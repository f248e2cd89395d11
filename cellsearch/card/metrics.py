"""``metrics.json``: every figure of a card with its interval, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cellsearch.errors import CardError
from cellsearch.stats.calibration import Reliability, Temperature
from cellsearch.stats.comparison import Scores, comparison_as_json
from cellsearch.stats.decision import Decide
from cellsearch.stats.evaluation import LEVEL, REPEATS, Estimate, Evaluation, as_json, as_plain
from cellsearch.stats.metrics import METRICS, Metric, metric_named
from cellsearch.stats.wording import difference
from cellsearch.tune.ensemble import Choice
from cellsearch.tune.findings import Found, Outcome, optimism
from cellsearch.tune.looks import Looks

Part = Literal["hold_out", "out_of_fold"]
METRICS_FILE = "metrics.json"


class _Value(BaseModel):
    """Frozen; fields that a newer cellsearch writes are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ClassEntry(_Value):
    """Figures of one class.

    Attributes:
        support: its cells.
        estimable: whether figures are stated at all.
        recall, precision, specificity, f1: None where one cannot be estimated.
    """

    support: int
    estimable: bool
    recall: Estimate | None = None
    precision: Estimate | None = None
    specificity: Estimate | None = None
    f1: Estimate | None = None


class Figures(_Value):
    """Figures of one model on one part of the cells.

    Attributes:
        cells: scored.
        groups: among them; None where cells are independent.
        metrics: by name, over the estimable classes.
        per_class: by name, in the order of the classes.
        confusion: (K, K) counts, rows true.
    """

    cells: int
    groups: int | None = None
    metrics: dict[str, Estimate]
    per_class: dict[str, ClassEntry]
    confusion: list[list[int]]


class PartMetrics(_Value):
    """Winner and baseline on one part of the cells.

    Attributes:
        winner: its figures.
        baseline: of trial 0; None where it did not finish.
        difference: winner minus baseline, paired, by metric.
        recall_difference: the same by class; None of a class without figures.
        paired: whether their intervals come of drawing both models' predictions of a cell.
    """

    winner: Figures
    baseline: Figures | None = None
    difference: dict[str, Estimate] = {}
    recall_difference: dict[str, Estimate | None] = {}
    paired: bool = True


class SearchFacts(_Value):
    """What the search was, and which trial won.

    Attributes:
        metric: that it maximised.
        seed: of the run.
        budget: trials; None where only time was bounded.
        trials: how many ended in which state: ``complete``, ``pruned``, ``fail``.
        seconds: spent in trials.
        space: its name or file.
        space_sha256: of the expanded space.
        winner: number of the trial.
        baseline_trial: its number; None where there is none.
        variant: of the data set.
        precision: of the final training, as ``bf16``.
        accepted: errors of the check of the cells that a person accepted, a line each.
    """

    metric: str | None = None
    seed: int = 0
    budget: int | None = None
    trials: dict[str, int] = {}
    seconds: float | None = None
    space: str = ""
    space_sha256: str = ""
    winner: int | None = None
    baseline_trial: int | None = None
    variant: str | None = None
    precision: str = ""
    accepted: list[str] = []


class AbstentionClass(_Value):
    """Abstention in one class."""

    threshold: float | None
    cells: int
    coverage: Estimate | None
    called: int
    kept: int
    precision: Estimate | None


class AbstentionPart(_Value):
    """What abstaining gave on one part of the cells; ``error`` as in ``Abstention``."""

    rule: str
    level: float
    error: float | None = None
    coverage: Estimate
    selective_accuracy: Estimate | None = None
    selective_balanced_accuracy: Estimate | None = None
    classes_never_given: list[str] = []
    per_class: dict[str, AbstentionClass]


class AbstentionMetrics(_Value):
    """On the hold-out, and out-of-fold where its probabilities are known."""

    hold_out: AbstentionPart
    out_of_fold: AbstentionPart | None = None


class SetClass(_Value):
    """Prediction sets of one class."""

    threshold: float | None
    out_of_fold_cells: int
    in_every_set: bool
    coverage: Estimate | None


class SetPart(_Value):
    """What prediction sets hold on one part of the cells."""

    level: float
    coverage: Estimate
    mean_size: float
    empty: float
    single: float
    per_class: dict[str, SetClass]


class SetMetrics(_Value):
    """On the hold-out."""

    hold_out: SetPart


class ConfidenceMetrics(_Value):
    """Temperature, calibration, and the rules that were asked for."""

    temperature: float = 1.0
    calibration_error_before: Estimate | None = None
    calibration_error_after: Estimate | None = None
    calibration_error_by_chance: float | None = None
    abstention: AbstentionMetrics | None = None
    sets: SetMetrics | None = None


@dataclass(frozen=True)
class BeforeAfter:
    """Reliability without and with the temperature; None where it is not known."""

    before: Reliability | None = None
    after: Reliability | None = None


class Calibration(_Value):
    """What ``calibration.json`` holds."""

    temperature: Temperature
    hold_out: BeforeAfter = BeforeAfter()
    out_of_fold: BeforeAfter = BeforeAfter()

    def part(self, name: Part) -> dict[str, Reliability]:
        """``before`` and ``after`` of a part, those that are known."""
        found = self.hold_out if name == "hold_out" else self.out_of_fold
        both = {"before": found.before, "after": found.after}
        return {when: one for when, one in both.items() if one is not None}


class VerdictEntry(_Value):
    """The winner against trial 0, as ``Verdict`` says it."""

    metric: Metric
    outcome: Outcome
    sentence: str
    hold_out: Estimate | None = None
    out_of_fold: Estimate | None = None
    p_out_of_fold: float | None = None
    trials: int = 0


class LooksEntry(_Value):
    """Which look at the cells of its hold-out a run took.

    Attributes:
        number: 1 of a first look; None where looks could not be counted.
        scored_before: cells that 0, 1, ... other runs had scored before.
    """

    number: int | None = None
    scored_before: tuple[int, ...] = ()

    @property
    def looks(self) -> Looks:
        """The same as it is counted."""
        return Looks(self.scored_before)


class Limit(_Value):
    """One limit of the model, in plain text.

    Attributes:
        title: in a few words.
        text: sentences; may be empty.
    """

    title: str
    text: str = ""


class GeneratedEntry(_Value):
    """Generated cells of one class.

    Attributes:
        class_name: the class.
        kind: of the generator.
        real: cells of the class that it learned from.
        nearest_ratio: as in ``GeneratorFigures``; None where it is not known.
        notes: each a short sentence.
        picture: its name in ``plots/``, without suffix.
    """

    class_name: str
    kind: str
    real: int
    nearest_ratio: float | None
    notes: list[str] = []
    picture: str


class MemberEntry(_Value):
    """A trial that was joined, and its share of the mean."""

    trial: int
    weight: float


class EnsembleEntry(_Value):
    """Trials that were joined, or would have been, and what that is worth out-of-fold.

    Attributes:
        accepted: whether the card is made of them.
        members: heaviest first.
        gain: over the best single trial; both chosen on the other folds than they are scored on.
        chance: of being better at all, over bootstrap samples.
        optimism: what the members chosen on all folds seem better by than they are.
    """

    accepted: bool
    members: list[MemberEntry]
    gain: Estimate
    chance: float
    optimism: float

    @property
    def sentence(self) -> str:
        """What was joined and why, for people."""
        named = [f"{each.trial} ({100 * each.weight:.0f} %)" for each in self.members]
        trials = f"trials {', '.join(named[:-1])} and {named[-1]}" if named[1:] else "one trial"
        gained = f"out-of-fold {difference(self.gain)} against the best single trial"
        return f"{trials} joined; {gained}" if self.accepted else f"no trials joined: {gained}"


class CardMetrics(_Value):
    """All figures of a card.

    Attributes:
        level: of every interval, 0.95.
        intervals: how they were found, in words.
        not_estimable: classes without figures.
        search: what the search was.
        confidence: of the probabilities.
        hold_out: scored once, by winner and baseline.
        out_of_fold: the same for the folds, by which the search chose.
        baseline_by_greatest: the baseline on the hold-out by its greatest probability, without
            the rule of decision; None where it has no rule, and in cards of older versions.
        decisions: the winner on the hold-out, as ``balanced`` and as ``natural`` decision; empty
            in cards without a rule of decision.
        optimism: out-of-fold minus hold-out, by metric; empty in cards of older versions.
        verdict: on the search; None in cards of older versions.
        looks: at the cells of the hold-out; None in cards of older versions.
        limits: of the model; empty in cards of older versions.
        generated: cells that were generated for the training, by class.
        ensemble: of trials; None where none was looked for.
    """

    level: float = LEVEL
    bootstrap_samples: int = REPEATS
    intervals: str = ""
    export_largest_difference: float | None = None
    not_estimable: list[str] = []
    search: SearchFacts = Field(default_factory=SearchFacts)
    confidence: ConfidenceMetrics = Field(default_factory=ConfidenceMetrics)
    hold_out: PartMetrics
    out_of_fold: PartMetrics
    baseline_by_greatest: Figures | None = None
    decisions: dict[Decide, Figures] = {}
    optimism: dict[str, Estimate] = {}
    verdict: VerdictEntry | None = None
    looks: LooksEntry | None = None
    limits: list[Limit] = []
    generated: list[GeneratedEntry] = []
    ensemble: EnsembleEntry | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The figures of the card in a folder.

        Raises:
            CardError: the file cannot be read, or is not what ``write`` made.
        """
        path = folder / METRICS_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise CardError(f"{path} is damaged: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            found = f"{where}: {first['msg']}" if where else str(first["msg"])
            raise CardError(f"{path} has changed or is damaged: {found}") from None

    @property
    def metric(self) -> Metric:
        """What the search maximised."""
        return metric_named(self.search.metric or METRICS[0])

    def part(self, name: Part) -> PartMetrics:
        """Hold-out or out-of-fold."""
        return self.hold_out if name == "hold_out" else self.out_of_fold

    def baseline(self, part: Part) -> Figures | None:
        """The baseline's figures, to hold the winner against.

        None where trial 0 did not finish, and where it is the winner.
        """
        return None if self.baseline_won else self.part(part).baseline

    @property
    def baseline_won(self) -> bool:
        """Whether trial 0 is the winner."""
        search = self.search
        if self.ensemble is not None and self.ensemble.accepted:
            return False
        # Cards of older versions do not name the baseline's trial, which was always 0.
        named = "baseline_trial" in search.model_fields_set
        first = search.baseline_trial if named else 0
        return search.winner is not None and search.winner == first


def card_metrics(
    scores: Scores,
    found: Found,
    *,
    export_largest_difference: float,
    not_estimable: tuple[str, ...],
    search: SearchFacts,
    confidence: ConfidenceMetrics,
    decisions: Mapping[Decide, Evaluation],
    limits: Sequence[Limit] = (),
    generated: Sequence[GeneratedEntry] = (),
    choice: Choice | None = None,
) -> CardMetrics:
    """All that ``metrics.json`` holds.

    Args:
        scores: winner and baseline on the hold-out and out-of-fold.
        found: verdict and looks, where they are known.
        export_largest_difference: of the exported model's probabilities to the trained one's.
        not_estimable: classes without figures.
        search: what the search was.
        confidence: of ``confidence_metrics``.
        decisions: of ``decided_both_ways``.
        limits: of the model.
        generated: cells, by class.
        choice: of trials to join; None where none was looked for.

    Raises:
        CardError: a value that does not fit.
    """
    gaps = optimism(scores.out_of_fold.winner, scores.hold_out.winner)
    try:
        return CardMetrics.model_validate(
            {
                "level": LEVEL,
                "bootstrap_samples": REPEATS,
                "intervals": "smoothed bootstrap within classes; recall and specificity of a "
                "class: Clopper-Pearson; where groups is a number, the wider of these and of a "
                "bootstrap of groups, recall and specificity Korn-Graubard",
                "export_largest_difference": export_largest_difference,
                "not_estimable": list(not_estimable),
                "search": search.model_dump(exclude_unset=True),
                "confidence": confidence.model_dump(exclude_unset=True),
                "hold_out": comparison_as_json(scores.hold_out),
                "out_of_fold": comparison_as_json(scores.out_of_fold),
                "baseline_by_greatest": None
                if scores.baseline_by_greatest is None
                else as_json(scores.baseline_by_greatest),
                "decisions": {name: as_json(each) for name, each in decisions.items()},
                "optimism": {name: as_plain(value) for name, value in gaps.items()},
                "verdict": None if found.verdict is None else found.verdict.to_dict(),
                "looks": None
                if found.looks is None
                else {"number": found.looks.number, "scored_before": found.looks.times},
                "limits": [each.model_dump() for each in limits],
                "generated": [each.model_dump() for each in generated],
                "ensemble": None if choice is None else asdict(choice),
            }
        )
    except ValidationError as error:
        raise CardError(f"metrics.json cannot be written: {error}") from None
