"""One value a cell, as people hand it over: lists, arrays, frames' columns; nothing missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.errors import DataError

SHOWN = 5

# fmt: off
WORDS = frozenset({
    "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None",
    "NaT",
})
# fmt: on
"""As pandas reads them; R writes NA. Case tells: a class may well be called ``na`` or ``none``."""


def column(values: ArrayLike, what: str, cells: int, *, remedy: str) -> NDArray[Any]:
    """(N,) values of one kind: text, integers, true and false, or numbers; none is missing.

    A list is looked at value by value: numpy would make texts of ``["a", nan]``, and of
    ``[1, "a"]``.

    Args:
        values: (N,) list, array, masked array, or column of a frame.
        what: the values are, for messages.
        cells: N.
        remedy: what to do about missing values.

    Raises:
        DataError: another length, values that are missing (None, NaN, NaT, NA, masked), or of
            several kinds.
    """
    hidden = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    whole = hasattr(values, "dtype") or hasattr(values, "__array__")
    given = np.asarray(values if whole else _listed(values))
    if given.shape != (cells,):
        raise DataError(f"{what} must be one value a cell: {cells} cells, got {given.shape}")
    absent = _absent(given) if hidden is None else hidden | _absent(given)
    if absent.any():
        at = np.flatnonzero(absent)
        more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
        raise DataError(
            f"{what} are missing for {len(at)} of {cells} cells (at "
            f"{', '.join(map(str, at[:SHOWN]))}{more}): {remedy}"
        )
    return _of_one_kind(given, what) if given.dtype.kind == "O" else given


def _listed(values: Any) -> NDArray[Any]:
    try:
        return np.array([_alone(value) for value in values], dtype=object)
    except TypeError:
        return np.array(values, dtype=object)


def _alone(value: Any) -> Any:
    """A tensor or an array of one value as that value."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _absent(given: NDArray[Any]) -> NDArray[np.bool_]:
    if given.dtype.kind in "fc":
        return np.asarray(np.isnan(given))
    if given.dtype.kind in "mM":
        return np.asarray(np.isnat(given))
    if given.dtype.kind == "O":
        return np.array([_is_missing(value) for value in given], bool)
    return np.zeros(given.shape, bool)


def _is_missing(value: Any) -> bool:
    # By name, as pandas may not be installed: NA answers no comparison, NaT none with itself.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _of_one_kind(given: NDArray[Any], what: str) -> NDArray[Any]:
    for kinds, dtype in (
        ((str,), np.str_),
        ((bool, np.bool_), np.bool_),
        ((int, np.integer), np.int64),
        ((int, float, np.integer, np.floating), np.float64),
    ):
        # bool is a kind of int to Python, and none to people.
        alike = all(isinstance(value, kinds) for value in given)
        if alike and (dtype is np.bool_ or not any(isinstance(value, bool) for value in given)):
            try:
                return given.astype(dtype)
            except OverflowError:
                # Numbers of more than 64 bits, as digests, are names.
                return given.astype(np.str_)
    found = sorted({type(value).__name__ for value in given})
    if len(found) == 1:
        # Dates, enumerations and the like are known by their text.
        return given.astype(np.str_)
    raise DataError(f"{what} must be all of one kind, names or integers; got {', '.join(found)}")
