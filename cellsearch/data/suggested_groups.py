"""Groups that names suggest: donors, plates, dates or montages that nobody has declared.

Cells of one donor or one montage are more alike than cells of two. Where they lie on both sides
of a split, a figure says how well the donors at hand are recognised, not the next one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding, Severity
from cellsearch.data.readers.column_notes import WORDS, partition
from cellsearch.util.messages import Message, Setting

_DAY = r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"[-_T ](?:[01]\d|2[0-3])[-_.:h]?[0-5]\d(?:[-_.:m]?[0-5]\d)?"
_FIRST = r"(?:^|/)([^-_/ .]+)[-_ ][^/]*$"
_ALL_BUT_LAST = r"([^/]+)[-_ ][^-_/ ]+$"
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class SuggestedGroups:
    """One way in which names part the cells.

    Attributes:
        what: what seems to tell them apart, as ``donor`` or ``source file``.
        names: (N,) str, the suggested group of each cell.
        pattern: for the option ``group_pattern``; empty where the paths do not hold it.
        montages: a file holds many cells.
        one_class_each: every group holds cells of one class only.
    """

    what: str
    names: NDArray[np.str_]
    pattern: str
    montages: bool
    one_class_each: bool

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Groups and their cells, largest first."""
        return Counter(self.names.tolist()).most_common()

    @property
    def remedy(self) -> Message:
        """How to declare them."""
        if not self.pattern:
            return Message.of("give them as groups= of CellDataset.from_arrays")
        if self.montages:
            return Message.of(
                "name a group for each montage in the manifest, or give groups= in Python"
            )
        pattern = Setting("group_pattern", self.pattern, reader=True)
        return Message.of("declare them with ", pattern)

    def describe(self) -> str:
        """``3 values of donor (donor1 40 cells, donor2 30 cells, donor3 20 cells)``."""
        counts = self.counts
        shown = ", ".join(f"{name} {cells:,} cells" for name, cells in counts[:_SHOWN])
        more = f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        return f"{len(counts)} values of {self.what} ({shown}{more})"


def suggest_groups(dataset: CellDataset) -> tuple[SuggestedGroups, ...]:
    """Partitions of the cells that file names (or ids, where there are no files) suggest.

    A partition counts where it has a value for every cell, at least two values, at least two
    cells a value on average, and is not that of the classes; each partition is given once.
    Empty where groups are declared, and for generated cells.
    """
    if dataset.groups is not None or dataset.provenance.synthetic:
        return ()
    texts, from_paths = dataset.sources.tolist(), True
    if len(set(texts)) < 2:
        texts, from_paths = dataset.ids.tolist(), False
    found: list[SuggestedGroups] = []
    known = {partition(dataset.labels.astype(np.str_))}
    for what, pattern, values in _candidates(texts):
        distinct = len(set(values))
        parted = partition(values)
        if not 2 <= distinct <= len(values) // 2 or parted in known:
            continue
        names = np.array(values, dtype=np.str_)
        alone = _one_class_each(names, dataset.labels)
        if alone and what in ("folder", "beginning of the name"):
            # Folders below a class's, as of classes that were merged, say nothing of donors.
            continue
        known.add(parted)
        montages = from_paths and len(set(texts)) < len(texts)
        found.append(SuggestedGroups(what, names, pattern if from_paths else "", montages, alone))
    return tuple(found)


def undeclared(dataset: CellDataset) -> list[Finding]:
    """A finding for each partition that names suggest, or columns that the reader passed over."""
    findings = []
    for each in suggest_groups(dataset):
        ask = "`cellsearch datasets check --groups` tests whether images tell them apart"
        if each.one_class_each:
            message = Message.of(
                f"names suggest groups: {each.describe()}, and each holds cells of one class: what "
                f"tells classes apart may be the {each.what}, and no split can show it; {ask}"
            )
        else:
            message = Message.of(
                f"names suggest groups that were not declared: {each.describe()}; cells of one "
                f"{each.what} may lie on both sides of a split, and figures are then too good for "
                f"a new {each.what}; ",
                each.remedy,
                f"; {ask}",
            )
        severity: Severity = "note" if each.one_class_each else "warning"
        findings.append(Finding("undeclared-groups", severity, (), Message.of(message)))
    return [*_of_columns(dataset), *findings]


def _of_columns(dataset: CellDataset) -> list[Finding]:
    """What the reader noted of columns of donors or plates that it did not use."""
    return [
        Finding("undeclared-groups", note.severity, (), note.message)
        for note in dataset.group_notes
    ]


def _candidates(texts: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """What it is, the pattern that catches it, and its value for each of the texts."""
    patterns = [(word, rf"(?i)(?<![a-z])({word}[-_ ]?[0-9a-z]+)") for word in WORDS]
    patterns += [
        ("time of acquisition", rf"(?<!\d)({_DAY}{_CLOCK})(?!\d)"),
        ("date", rf"(?<!\d)({_DAY})(?!\d)"),
    ]
    for what, pattern in patterns:
        yield from _caught(what, pattern, texts)
    if len(set(texts)) < len(texts):
        yield "source file", "(.+)", list(texts)
    # Cells of a montage bear its name and a number.
    numbered = [re.sub(r":\d+$", "", text) for text in texts]
    if numbered != list(texts):
        yield "source file", r"(.+):\d+$", numbered
    depths = {text.count("/") for text in texts}
    for depth in range(min(depths) if len(depths) == 1 else 0):
        yield from _caught("folder", rf"^(?:[^/]+/){{{depth}}}([^/]+)/", texts)
    for pattern in (_FIRST, _ALL_BUT_LAST):
        yield from _caught("beginning of the name", pattern, texts)


def _caught(what: str, pattern: str, texts: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Nothing where a text holds no value, as the option of the readers asks for one in each."""
    search = re.compile(pattern).search
    values = []
    for text in texts:
        match = search(text)
        if match is None:
            return
        values.append(match.group(1))
    yield what, pattern, values


def _one_class_each(names: NDArray[np.str_], labels: NDArray[np.int64]) -> bool:
    return len(set(zip(names.tolist(), labels.tolist(), strict=True))) == len(set(names.tolist()))
