"""Wall-clock spans as people write them: ``90s``, ``30m``, ``1h30m``."""

from __future__ import annotations

import re

from cellsearch.errors import ConfigError
from cellsearch.util.messages import Setting

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


def seconds(text: str) -> float:
    """Seconds in a span.

    Raises:
        ConfigError: not a span, or none at all.
    """
    if not _SPAN.fullmatch(text):
        raise ConfigError(
            Setting("time"), f": expected a span such as 90s, 30m or 1h30m, got {text!r}"
        )
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total <= 0:
        raise ConfigError(Setting("time"), f": expected more than nothing, got {text!r}")
    return total


def spoken(span: float) -> str:
    """A span for a person: ``12 s``, ``4 min 05 s``, ``1 h 07 min``."""
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"
