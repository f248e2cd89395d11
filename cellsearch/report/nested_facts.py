"""Repeated searches: their table, and the estimate of the whole procedure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from cellsearch.run.config import NestedRequest
from cellsearch.run.folder import nested_runs, read_request
from cellsearch.run.nested import NestedSummary


@dataclass(frozen=True)
class NestedFacts:
    """What is there of repeated searches.

    Attributes:
        folder: of all of them.
        request: ``nested.json``.
        runs: folders of those begun, in order.
        summary: ``summary.json``; None while some are missing.
    """

    folder: Path
    request: NestedRequest
    runs: tuple[Path, ...]
    summary: NestedSummary | None

    @property
    def missing(self) -> tuple[str, ...]:
        """What cannot be said yet."""
        if self.summary is not None:
            return ()
        return (
            f"{len(self.runs)} of {self.request.times} searches were started and not all have "
            "ended, so nothing is pooled; resume with"
            f" `cellsearch resume {shlex.quote(str(self.folder))}`",
        )


def gather_nested(folder: Path) -> NestedFacts:
    """Read repeated searches.

    Raises:
        RunError: ``nested.json`` is missing or damaged.
    """
    runs, summary = tuple(nested_runs(folder)), NestedSummary.of(folder)
    return NestedFacts(folder, read_request(folder), runs, summary)
