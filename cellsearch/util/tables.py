"""One description of a table; ``util.markdown``, ``util.html`` and ``terminal.tables`` show it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

Kind = Literal["text", "number", "long", "code", "heading"]
"""``long``: text that may break; ``code``: as it is typed; ``heading``: of its row."""
Cell = str | int


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its heading.
        kind: numbers end at the right, all others begin at the left.
        synonym: what others call it; shown where there is room.
    """

    name: str
    kind: Kind = "number"
    synonym: str = ""

    @property
    def full_name(self) -> str:
        """``recall (sensitivity)``."""
        return f"{self.name} ({self.synonym})" if self.synonym else self.name


@dataclass(frozen=True)
class Table:
    """Cells in rows; figures are written by ``stats.wording``.

    Attributes:
        columns: of the table.
        rows: a cell for each column.
        title: above it; may be empty.
        marked: rows that stand out, counted from 0.
        sortable: by a click on a heading, where there are clicks.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    marked: frozenset[int] = frozenset()
    sortable: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        *,
        numbers: Collection[int] | None = None,
    ) -> Self:
        """A table whose columns of ``numbers`` (from 0; by default all but the first) are such."""
        chosen = range(1, len(names)) if numbers is None else numbers
        kinds: list[Kind] = ["number" if at in chosen else "text" for at in range(len(names))]
        return cls(tuple(map(Column, names, kinds)), rows)

    @property
    def texts(self) -> list[list[str]]:
        """The rows as texts; whole numbers with thousands apart."""
        return [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in self.rows]

    def take(self, *names: str) -> Self:
        """Some of its columns, in this order.

        Raises:
            KeyError: there is no column of this name.
        """
        places = {column.name: at for at, column in enumerate(self.columns)}
        at = [places[name] for name in names]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in at),
            rows=[[row[place] for place in at] for row in self.rows],
        )
