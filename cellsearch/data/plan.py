"""Into which parts cells are to be split: k folds beside a hold-out, or one fixed split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

from cellsearch.errors import ConfigError
from cellsearch.util.messages import Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
HELD_GROUPS = 3
"""Groups that a hold-out has at least, where there are twice as many: one tells nothing of others,
and two little."""


def folds_of(asked: int | None, groups: NDArray[Any] | None) -> int:
    """Folds that are asked for; else 5, or as many as leave ``HELD_GROUPS`` for the hold-out.

    Args:
        asked: k, or None.
        groups: (n,) names; None where cells are independent.
    """
    if asked is not None:
        return asked
    count = 0 if groups is None else len(set(groups.tolist()))
    return FOLDS if count < 2 * HELD_GROUPS else min(FOLDS, count - HELD_GROUPS)


@dataclass(frozen=True)
class Plan:
    """What parts there are to be.

    Attributes:
        folds: k; 1 for a fixed split, whose one fold is the validation part.
        holdout: share of the cells to lock away, between 0 and 1.
        validation: share of all cells that a fixed split validates on; None for k folds, which
            take turns.
    """

    folds: int
    holdout: float
    validation: float | None = None

    @classmethod
    def of(cls, *, folds: int, holdout: float, split: str | None) -> Self:
        """The plan that options ask for; a fixed split goes before folds and hold-out.

        Raises:
            ConfigError: a number out of bounds, or a split that cannot be read.
        """
        if split is not None:
            return cls.fixed(split)
        if not isinstance(folds, Integral) or folds < 2:
            raise ConfigError(Setting("folds"), f": expected an integer of 2 or more, got {folds}")
        if not 0 < holdout < 1:
            raise ConfigError(
                Setting("holdout"), f": expected a share between 0 and 1, got {holdout}"
            )
        return cls(folds, holdout)

    @classmethod
    def fixed(cls, split: str) -> Self:
        """``70/10/20``: training / validation / hold-out in percent.

        Raises:
            ConfigError: not three numbers above 0 that add up to 100.
        """
        try:
            shares = [float(part) for part in split.split("/")]
        except ValueError:
            shares = []
        if len(shares) != 3 or not all(share > 0 and math.isfinite(share) for share in shares):
            raise ConfigError(
                Setting("split"),
                ": expected training/validation/hold-out in percent, each above 0, "
                f"such as 70/10/20, got {split!r}",
            )
        if not math.isclose(sum(shares), 100.0, abs_tol=1e-6):
            raise ConfigError(
                Setting("split"),
                f": the three parts must add up to 100, not {sum(shares):g}, got {split!r}",
            )
        return cls(1, shares[2] / 100.0, shares[1] / 100.0)

    @property
    def units(self) -> int:
        """Cells (or groups) that each class needs: one a part."""
        return self.folds + 1 if self.validation is None else 3

    @property
    def split(self) -> str | None:
        """``70/10/20``, in its shortest form; None for k folds."""
        if self.validation is None:
            return None
        training = 1.0 - self.validation - self.holdout
        return "/".join(
            f"{round(100 * share, 6):g}" for share in (training, self.validation, self.holdout)
        )

    def needs(self, what: str) -> str:
        """``5 folds and a hold-out need 6 cells``."""
        if self.validation is None:
            return f"{self.folds} folds and a hold-out need {self.units} {what}"
        return f"a split of {self.split} needs {self.units} {what}"
