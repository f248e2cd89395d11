"""What the source of the cells says of each beside its class: columns that could be the groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.util.messages import Setting


@dataclass(frozen=True, eq=False)
class OtherColumn:
    """A column that has a value for every cell and was not used.

    Attributes:
        name: as the source calls it.
        values: its distinct values.
        codes: (N,) int32, position in ``values`` of each cell's.
        remedy: what declares it as the groups.
    """

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int32]
    remedy: Setting

    @classmethod
    def of(cls, name: str, texts: Sequence[str], remedy: Setting) -> OtherColumn:
        """The column of N texts."""
        values, codes = np.unique(np.asarray(texts, dtype=np.str_), return_inverse=True)
        return cls(name, tuple(values.tolist()), codes.astype(np.int32), remedy)

    @property
    def texts(self) -> NDArray[np.str_]:
        """(N,) value of each cell."""
        return np.array(self.values, dtype=np.str_)[self.codes]


@dataclass(frozen=True, eq=False)
class SourceColumns:
    """What the groups are called, and what could be the groups instead.

    Attributes:
        group: what the source calls the groups; "" where there are none or it has no name.
        without_groups: what reads the cells without groups; None where the source has no option.
        others: columns that were not used; those called as donors or plates are come first.
    """

    group: str = ""
    without_groups: Setting | None = None
    others: tuple[OtherColumn, ...] = ()

    def subset(self, cells: NDArray[np.int64]) -> SourceColumns:
        """The same of some cells."""
        return replace(
            self, others=tuple(replace(each, codes=each.codes[cells]) for each in self.others)
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """(N, columns) int32 by a name that tells it from that of other columns."""
        if not self.others:
            return {}
        codes = np.stack([each.codes for each in self.others], axis=1)
        return {f"columns-{hashlib.sha256(codes.tobytes()).hexdigest()[:12]}": codes}

    def described(self) -> dict[str, Any]:
        """All but the arrays as plain values."""
        return {
            "group": self.group,
            "without_groups": _plain(self.without_groups) if self.without_groups else None,
            "array": next(iter(self.arrays()), None),
            "others": [
                {"name": each.name, "values": list(each.values), "remedy": _plain(each.remedy)}
                for each in self.others
            ],
        }

    @classmethod
    def from_described(
        cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> SourceColumns:
        """What ``described`` and ``arrays`` made; without columns whose array is not there.

        Raises:
            KeyError, TypeError, ValueError: facts that do not fit.
        """
        codes = arrays.get(facts["array"]) if facts["array"] else None
        others: tuple[OtherColumn, ...] = ()
        if codes is not None:
            others = tuple(
                OtherColumn(
                    each["name"], tuple(each["values"]), codes[:, k], Setting(**each["remedy"])
                )
                for k, each in enumerate(facts["others"])
            )
        without = facts["without_groups"]
        return cls(facts["group"], Setting(**without) if without else None, others)


def _plain(setting: Setting) -> dict[str, Any]:
    return {"name": setting.name, "value": setting.value, "reader": setting.reader}
