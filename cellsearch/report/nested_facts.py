"""Repeated searches: their table, and the estimate of the whole procedure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellsearch.run.config import NestedRequest
from cellsearch.run.folder import SUMMARY, nested_runs, read_request


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
    summary: Mapping[str, Any] | None

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
    try:
        summary = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        summary = None
    return NestedFacts(folder, read_request(folder), tuple(nested_runs(folder)), summary)
