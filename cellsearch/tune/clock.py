"""The time of a search with a time limit: when it must end so that its card is ready in time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cellsearch.tune.ladder import Time

CARD_SECONDS = 45.0
"""For the hold-out's intervals, the export and the documents of a card, on slow machines."""

CARD_SHARE = 0.25
"""Of the time, at most, where it is short."""

FITS_SHARE = 0.4
"""Of the time, at most, for the final fits."""


@dataclass
class Clock:
    """When a search began, when all must be over, and what the final fits will take.

    Attributes:
        seconds: of the whole run from now on; None is no limit.
        final_folds: how many trainings of a fold a final model costs.
        final_trials: how many of the best trials a final model may be made of; room is kept for
            the dearest of them.
        began: seconds since the epoch.
    """

    seconds: float | None
    final_folds: float = 1.25
    final_trials: int = 1
    began: float = field(default_factory=time.time)
    _fold_seconds: dict[int, float] = field(default_factory=dict)
    _scores: dict[int, float] = field(default_factory=dict)
    _baseline: int | None = None

    @property
    def has_model(self) -> bool:
        """Whether a trial is complete."""
        return bool(self._scores)

    def completed(
        self, number: int, score: float, fold_seconds: float, *, baseline: bool = False
    ) -> None:
        """Take in a trial that is complete: it may be refitted in the end."""
        self._fold_seconds[number] = fold_seconds
        self._scores[number] = score
        if baseline:
            self._baseline = number

    def end(self, fold_seconds: float = 0.0) -> float | None:
        """When the search must be over, in seconds since the epoch; None without a limit.

        Args:
            fold_seconds: that a fold of a trial about to start takes; it may become the winner.
        """
        if self.seconds is None:
            return None
        best = sorted(self._scores, key=lambda number: -self._scores[number])[: self.final_trials]
        others = [self._fold_seconds[number] for number in best if number != self._baseline]
        fits = max([fold_seconds, *others])
        if self._baseline is not None:
            fits += self._fold_seconds[self._baseline]
        kept = min(CARD_SECONDS, CARD_SHARE * self.seconds)
        kept += min(self.final_folds * fits, FITS_SHARE * self.seconds)
        return self.began + self.seconds - kept

    def time(self, fold_seconds: float = 0.0) -> Time | None:
        """How much of the search's time is used and left."""
        end = self.end(fold_seconds)
        if end is None:
            return None
        now = time.time()
        span = max(end - self.began, 1e-9)
        return Time(used=min(1.0, (now - self.began) / span), left=max(0.0, end - now))

    @property
    def late(self) -> bool:
        """Whether the search must be over."""
        end = self.end()
        return end is not None and time.time() > end
