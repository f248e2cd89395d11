"""What an audit says: a line for each check, and the cells that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "FAILED", "not applicable"]

SHOWN = 10
"""Cells that are named in a line."""

KEPT = 1000
"""Cells that are named in JSON."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what must be so.
        status: how it came out.
        detail: what was looked at, what was found, or why there was nothing to look at.
        cells: ids of the cells that a failure is about.
    """

    name: str
    status: Status
    detail: str
    cells: tuple[str, ...] = ()

    def line(self) -> str:
        """One line, with the first cells."""
        text = f"{self.status:14}  {self.name}: {self.detail}"
        if not self.cells:
            return text
        more = f" and {len(self.cells) - SHOWN:,} more" if len(self.cells) > SHOWN else ""
        return f"{text}; cells: {', '.join(self.cells[:SHOWN])}{more}"


@dataclass(frozen=True)
class AuditReport:
    """All checks of a run, in the order of its life."""

    run: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that found something."""
        return tuple(check for check in self.checks if check.status == "FAILED")

    def summary(self) -> str:
        """How many passed."""
        passed = sum(check.status == "passed" for check in self.checks)
        none = len(self.checks) - passed - len(self.failed)
        return (
            f"{self.run}: {passed} checks passed, {len(self.failed)} failed, {none} not applicable"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        checks = [asdict(check) | {"cells": list(check.cells[:KEPT])} for check in self.checks]
        return {"run": self.run, "passed": not self.failed, "checks": checks}


def verdict(name: str, problems: Sequence[str], passed: str, cells: Iterable[str] = ()) -> Check:
    """Passed without problems, else failed with the first three of them."""
    if not problems:
        return Check(name, "passed", passed)
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    named = tuple(dict.fromkeys(cells))
    return Check(name, "FAILED", "; ".join(problems[:3]) + more, named)


def nothing(name: str, why: str) -> Check:
    """There was nothing to look at."""
    return Check(name, "not applicable", why)
