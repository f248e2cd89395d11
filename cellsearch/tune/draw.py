"""The next trial of a study, drawn again until its network is small enough.

Draws that are refused never enter the study: they are made in a copy of it in memory, and only the
one that is kept is enqueued.
"""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from cellsearch.errors import RunError
from cellsearch.space.recipe import Recipe
from cellsearch.tune.limits import REDRAWS
from cellsearch.tune.study import sampler
from cellsearch.tune.watch import Space

Refuse = Callable[[Recipe], str]
"""Why a recipe is too large, or ""."""


def draw(study: optuna.Study, space: Space, *, seed: int, refuse: Refuse | None) -> optuna.Trial:
    """Ask for a trial; one that waits already is taken as it is.

    Args:
        study: to which the trial is added.
        space: draws the recipes.
        seed: of the run.
        refuse: says why a recipe is too large; None takes the first draw.

    Raises:
        RunError: a great many draws in a row are refused.
    """
    trials = study.get_trials(deepcopy=False)
    if refuse is None or any(t.state == TrialState.WAITING for t in trials):
        return study.ask()
    copy = optuna.create_study(direction=study.direction, sampler=sampler(seed + len(trials)))
    copy.add_trials(trials)
    reason = ""
    for _ in range(REDRAWS):
        trial = copy.ask()
        reason = refuse(space.suggest(trial))
        if not reason:
            study.enqueue_trial(trial.params)
            return study.ask()
        copy.tell(trial, state=TrialState.FAIL)
    raise RunError(unfit(space, REDRAWS, reason))


def unfit(space: Space, draws: int, reason: str) -> str:
    """What to say where the limits leave nothing to draw."""
    return (
        f"{draws} draws in a row were over budget for the space {space.name!r} (the last one: "
        f"{reason}); widen its limits or narrow its ranges"
    )
