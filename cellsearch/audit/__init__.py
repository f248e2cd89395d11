"""The leak audit: does what a run left behind show a cell where it must not have been?

``evidence`` reads a run's folder, ``parts`` looks at cells and splits, ``trials`` at what each fold
was made of, ``outcome`` at hold-out, card and calibration. It trusts no plan: what a fold was made
of was written down where it was made, and what can be computed again is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cellsearch.audit import outcome, parts, trials
from cellsearch.audit.evidence import Evidence, gather
from cellsearch.audit.report import AuditReport, Check
from cellsearch.util.progress import Progress, Steps

__all__ = ["AuditReport", "Check", "audit_run"]


CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    parts.same_cells,
    parts.same_splits,
    parts.duplicates_together,
    parts.groups_together,
    trials.same_request,
    trials.validation_cells,
    trials.trained_on,
    trials.watched,
    trials.normalised_on,
    trials.generators,
    outcome.final_networks,
    outcome.holdout_once,
    outcome.card_of_this_run,
    outcome.calibration,
    outcome.first_weights,
)


def audit_run(folder: Path | str, *, on_progress: Progress | None = None) -> AuditReport:
    """Look for leaks in a run, finished or not.

    Args:
        folder: of the run.
        on_progress: told how many checks are done.

    Raises:
        RunError: not the folder of a run, or its cells are gone.
    """
    evidence = gather(Path(folder))
    steps = Steps("looking for leaks", len(CHECKS), on_progress)
    checks = tuple(check(evidence) for check in steps.through(CHECKS))
    return AuditReport(run=str(folder), checks=checks)
