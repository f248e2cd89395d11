"""Cells of a sample in the order and of the kind that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import UNCERTAIN, confidence_of
from cellsearch.data.natural_order import natural
from cellsearch.serve.problems import Problem
from cellsearch.serve.store import Named

CERTAIN = "certain"


@dataclass(frozen=True)
class Query:
    """Which cells, and in what order.

    Attributes:
        sort: ``input``, ``confidence``, ``id``, ``class``, or ``p:<class>``.
        descending: the largest first.
        kind: predicted class; "" for any.
        decision: ``uncertain``, ``certain``, or a class that a cell is given; "" for any.
        least: of the confidence.
        most: of the confidence.
    """

    sort: str = "input"
    descending: bool = False
    kind: str = ""
    decision: str = ""
    least: float = 0.0
    most: float = 1.0


def chosen(
    query: Query,
    cells: list[Named],
    probabilities: NDArray[np.float32],
    called: NDArray[np.int64],
    sure: NDArray[np.bool_] | None,
    classes: tuple[str, ...],
) -> NDArray[np.int64]:
    """(m,) positions of the cells asked for, in order; ties as they came.

    Args:
        query: what is asked for.
        cells: at least N names.
        probabilities: (N, K).
        called: (N,) classes that the cells are given.
        sure: (N,) whether a cell is given its class; None without abstention.
        classes: K names.

    Raises:
        Problem: 422, no such class or order.
    """
    confidence = confidence_of(probabilities, called)
    there = (confidence >= np.float32(query.least)) & (confidence <= np.float32(query.most))
    if query.kind:
        there &= called == _place(query.kind, classes)
    if query.decision:
        if query.decision in (UNCERTAIN, CERTAIN) and query.decision in classes:
            raise Problem(
                422,
                f"decision: {query.decision!r} is a class of this card, too",
                f"class={query.decision} gives the cells that are predicted as it",
            )
        given = np.ones(len(called), bool) if sure is None else sure
        if query.decision == UNCERTAIN:
            there &= ~given
        elif query.decision == CERTAIN:
            there &= given
        else:
            there &= given & (called == _place(query.decision, classes))
    where = np.flatnonzero(there)
    order = np.argsort(_keys(query, where, cells, probabilities, called, classes), kind="stable")
    return where[order]


def _keys(
    query: Query,
    where: NDArray[np.int64],
    cells: list[Named],
    probabilities: NDArray[np.float32],
    called: NDArray[np.int64],
    classes: tuple[str, ...],
) -> NDArray[np.float64]:
    """(m,) numbers that rise in the order asked for."""
    some = probabilities[where]
    if query.sort == "input":
        keys = where.astype(np.float64)
    elif query.sort == "confidence":
        keys = confidence_of(some, called[where]).astype(np.float64)
    elif query.sort == "class":
        # Within a class the surest first, whichever class comes first.
        surest = confidence_of(some, called[where]) * (1 if query.descending else -1)
        keys = called[where] + 0.25 * surest.astype(np.float64)
    elif query.sort == "id":
        ids = [cells[cell].id for cell in where]
        keys = np.empty(len(ids))
        keys[sorted(range(len(ids)), key=lambda at: natural(ids[at]))] = np.arange(len(ids))
    elif query.sort.startswith("p:"):
        keys = some[:, _place(query.sort[2:], classes)].astype(np.float64)
    else:
        raise Problem(
            422,
            f"sort: unknown order {query.sort[:50]!r}",
            "take input, confidence, id, class, or p:<class>",
        )
    return -keys if query.descending else keys


def _place(name: str, classes: tuple[str, ...]) -> int:
    if name not in classes:
        raise Problem(422, f"no class {name[:50]!r}", f"the classes are {', '.join(classes)}")
    return classes.index(name)
