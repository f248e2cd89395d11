"""The leak audit: does what a run left behind show a cell where it must not have been?

``evidence`` reads a run's folder, ``parts`` looks at cells and splits, ``trials`` at what each fold
was made of, ``outcome`` at hold-out, card and calibration. It trusts no plan: what a fold was made
of was written down where it was made, and what can be computed again is.
"""

from __future__ import annotations

from pathlib import Path

from cellsearch.audit import outcome, parts, trials
from cellsearch.audit.evidence import gather
from cellsearch.audit.report import AuditReport, Check

__all__ = ["AuditReport", "Check", "audit_run"]


def audit_run(folder: Path | str) -> AuditReport:
    """Look for leaks in a run, finished or not.

    Raises:
        RunError: not the folder of a run, or its cells are gone.
    """
    evidence = gather(Path(folder))
    return AuditReport(
        run=str(folder),
        checks=(
            parts.same_cells(evidence),
            parts.same_splits(evidence),
            parts.twins_together(evidence),
            parts.groups_together(evidence),
            trials.same_request(evidence),
            trials.validation_cells(evidence),
            trials.trained_on(evidence),
            trials.watched(evidence),
            trials.normalised_on(evidence),
            trials.generators(evidence),
            outcome.final_networks(evidence),
            outcome.holdout_once(evidence),
            outcome.card_of_this_run(evidence),
            outcome.calibration(evidence),
            outcome.first_weights(evidence),
        ),
    )
