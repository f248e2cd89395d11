"""New class lists from old ones, and the lookup that takes old labels to new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import check_names
from cellsearch.data.names import unknown_names
from cellsearch.errors import DataError

DROPPED = -2


def _known(name: str, classes: Sequence[str]) -> None:
    if name not in classes:
        raise DataError(unknown_names([name], classes, "class"))


def _lookup(new: Sequence[str | None], classes: Sequence[str]) -> NDArray[np.int64]:
    positions = [DROPPED if name is None else classes.index(name) for name in new]
    # Label -1, not known, reads the last entry and stays what it is.
    return np.array([*positions, -1], np.int64)


def merged(
    classes: tuple[str, ...], merge: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Classes after a merge, and (K + 1,) new labels of the old ones.

    Raises:
        DataError: a member that is not a class or is named twice, or a new name that a class
            outside the merge bears.
    """
    new_name: dict[str, str] = {}
    for name, members in merge.items():
        check_names([name], "class")
        for member in check_names(members, "class"):
            _known(member, classes)
            if member in new_name:
                raise DataError(f"class {member!r} is merged twice")
            new_name[member] = name
    for name in merge:
        if name in classes and new_name.get(name) != name:
            raise DataError(f"the name {name!r} is already that of a class outside the merge")
    renamed = [new_name.get(name, name) for name in classes]
    result = tuple(dict.fromkeys(renamed))
    return result, _lookup(renamed, result)


def without(
    classes: tuple[str, ...], names: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Classes without the named ones, and (K + 1,) new labels, ``DROPPED`` for what is left out.

    Raises:
        DataError: a name that is not a class, or no class would be left.
    """
    for name in check_names(names, "class"):
        _known(name, classes)
    result = tuple(name for name in classes if name not in names)
    if not result:
        raise DataError("no class would be left")
    return result, _lookup([name if name in result else None for name in classes], result)
