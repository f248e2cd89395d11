"""The Optuna study: the only truth about trials, their recipes, scores and reasons."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cellsearch.errors import MismatchError, StorageError
from cellsearch.space.recipe import ParamValue, Recipe
from cellsearch.tune.climb import rested
from cellsearch.tune.storage import open_storage, shown_url
from cellsearch.util.atomic import write_whole_text
from cellsearch.util.messages import Setting

STARTUP_TRIALS = 20
RECIPE = "cellsearch:recipe"
FACTS = ("space_sha256", "dataset_sha256", "splits_sha256", "metric")


@dataclass(frozen=True)
class TrialRow:
    """One trial, as a leaderboard shows it.

    Attributes:
        number: of the trial in the study.
        state: "COMPLETE", "PRUNED", "FAIL" or "RUNNING" (unfinished; a resumed run adopts it).
        score: pooled over all folds (COMPLETE) or those so far (PRUNED, RUNNING); None without.
        folds: finished folds.
        seconds: of training and evaluation, all folds.
        baseline: trial 0.
        recipe: what was trained.
        reason: why it was stopped or failed.
        beyond_limits: drawn, but never trained.
        short_loss: mean log loss of its short training, nats; None where it had none.
        half_loss: of its half training.
        origin: where its recipe comes from, such as ``child of trial 7``; "" where the space or
            the baseline names it.
    """

    number: int
    state: str
    score: float | None
    folds: int
    seconds: float
    baseline: bool
    recipe: Recipe
    reason: str
    beyond_limits: bool = False
    short_loss: float | None = None
    half_loss: float | None = None
    origin: str = ""

    @property
    def only_short(self) -> bool:
        """Whether it was trained briefly and no further."""
        return self.state == "PRUNED" and self.looked_at_briefly

    @property
    def looked_at_briefly(self) -> bool:
        """Whether its short training is all that was looked at, also where the time ended it."""
        judged = self.state in ("COMPLETE", "PRUNED") and self.folds > 0
        return self.short_loss is not None and not judged


@dataclass(frozen=True)
class SearchOutcome:
    """What a search left behind.

    Attributes:
        best: the complete trial with the highest score; None if there is none.
        baseline: trial 0, whatever its state; None if it does not exist.
        rows: all trials that were trained, best first.
        interrupted: by Ctrl-C or SIGTERM.
        timed_out: the wall clock ran out before the budget.
    """

    best: TrialRow | None
    baseline: TrialRow | None
    rows: list[TrialRow]
    interrupted: bool
    timed_out: bool = False


@dataclass(frozen=True)
class StudyFacts:
    """What a study must have been begun with to be gone on with."""

    space_sha256: str
    dataset_sha256: str
    splits_sha256: str
    metric: str


def open_study(
    storage: optuna.storages.RDBStorage,
    name: str,
    facts: StudyFacts,
    *,
    run_folder: Path,
    seed: int,
) -> optuna.Study:
    """Create a study, or go on with the one of that name.

    Args:
        storage: where it lies.
        name: of the study.
        facts: digests of what the search is about.
        run_folder: whose study it is; a token in it tells two runs of one name apart.
        seed: of the run.

    Raises:
        MismatchError: the study was begun with something else, or by another run.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
    study.sampler = sampler(seed + len(study.get_trials(deepcopy=False)))
    known = study.user_attrs
    token = _token(run_folder)
    if not known.get("run"):
        for key in FACTS:
            study.set_user_attr(key, getattr(facts, key))
        study.set_user_attr("run", token)
        return study
    if known["run"] != token:
        raise MismatchError(
            f"the storage already holds a study {name!r} of another run; name another folder: ",
            Setting("out", "FOLDER"),
        )
    differences = [
        f"{key.removesuffix('_sha256')}: was {_short(known.get(key))}, "
        f"is {_short(getattr(facts, key))}"
        for key in FACTS
        if known.get(key) != getattr(facts, key)
    ]
    if differences:
        raise MismatchError(
            f"study {name!r} was started with other settings; {'; '.join(differences)}"
        )
    return study


def sampler(seed: int) -> optuna.samplers.TPESampler:
    """Multivariate TPE (Falkner et al. 2018; grouped for conditional spaces)."""
    with warnings.catch_warnings():
        # Says of each option that its interface may change; the version is pinned below 6.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=STARTUP_TRIALS,
            seed=seed % 2**32,
        )


def read_study(url: str, name: str) -> optuna.Study:
    """A study to look at.

    Raises:
        StorageError: it does not answer, or there is no such study.
    """
    study = find_study(url, name)
    if study is None:
        raise StorageError(f"no study {name!r} in {shown_url(url)}")
    return study


def find_study(url: str, name: str) -> optuna.Study | None:
    """The same; None where the database holds no such study.

    Raises:
        StorageError: it does not answer.
    """
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url))
    except KeyError:
        return None


def leaderboard(study: optuna.Study) -> list[TrialRow]:
    """Trials that were drawn with a recipe: complete ones best first, then the others by number.

    Draws beyond the limits of the space are left out.
    """
    rows = [row_of(trial) for trial in study.get_trials(deepcopy=False) if has_recipe(trial)]
    kept = [row for row in rows if not row.beyond_limits]
    complete = [row for row in kept if row.state == "COMPLETE" and row.score is not None]
    others = [row for row in kept if row.state != "COMPLETE" or row.score is None]
    return [*sorted(complete, key=_rank), *sorted(others, key=lambda row: row.number)]


def row_of(trial: FrozenTrial) -> TrialRow:
    """One trial of a study."""
    attrs = trial.user_attrs
    losses = {rung: found.loss for rung, found in rested(attrs).items()}
    score = trial.value if trial.state == TrialState.COMPLETE else None
    if score is None and trial.intermediate_values:
        score = trial.intermediate_values[max(trial.intermediate_values)]
    return TrialRow(
        number=trial.number,
        state="RUNNING" if trial.state == TrialState.WAITING else trial.state.name,
        score=score,
        folds=len(trial.intermediate_values),
        seconds=float(attrs.get("seconds", sum(each.seconds for each in rested(attrs).values()))),
        baseline=bool(attrs.get("baseline", False)),
        recipe=Recipe.from_params(recipe_params(trial)),
        reason=str(attrs.get("reason", "")),
        beyond_limits=bool(attrs.get("beyond_limits", False)),
        short_loss=losses.get(1),
        half_loss=losses.get(2),
        origin=str(attrs.get("origin", "")),
    )


def keep_recipe(trial: optuna.Trial, recipe: Recipe) -> None:
    """Write a trial's recipe into the study.

    Not as an attribute of the user: the dashboard makes a column of each, and this one would be
    8,000 pixels wide. People read it in the trial's note.
    """
    params = json.dumps(recipe.to_params())
    trial.storage.set_trial_system_attr(trial._trial_id, RECIPE, params)


def has_recipe(trial: FrozenTrial) -> bool:
    """False for a trial that was waiting, or lost between its draw and its recipe."""
    return RECIPE in trial.system_attrs or "recipe" in trial.user_attrs


def recipe_params(trial: FrozenTrial) -> Mapping[str, ParamValue]:
    """Flat parameters of the recipe that the trial was begun with.

    Older studies hold it as an attribute of the user.
    """
    text = trial.system_attrs.get(RECIPE) or trial.user_attrs["recipe"]
    stored: Mapping[str, ParamValue] = json.loads(text)
    return stored


def outcome_of(study: optuna.Study, *, interrupted: bool, timed_out: bool) -> SearchOutcome:
    """The leaderboard with its first row and trial 0 picked out."""
    rows = leaderboard(study)
    best = rows[0] if rows and rows[0].state == "COMPLETE" else None
    baseline = next((row for row in rows if row.baseline), None)
    return SearchOutcome(best, baseline, rows, interrupted, timed_out)


def _rank(row: TrialRow) -> tuple[float, int]:
    return (-(row.score or 0.0), row.number)


def _token(run_folder: Path) -> str:
    path = run_folder / "run-token"
    if not path.exists():
        write_whole_text(path, secrets.token_hex(8) + "\n")
    return path.read_text().strip()


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
