"""Shares of classes in the samples of an experiment: treated against control, over replicates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.whole_files import write_csv
from cellsearch.data.arrays import listed
from cellsearch.data.natural_order import natural
from cellsearch.data.readers.column_texts import is_missing
from cellsearch.data.readers.table import Row, read_rows
from cellsearch.errors import CardError, ConfigError, DataError, RunError
from cellsearch.stats.evaluation import LEVEL
from cellsearch.stats.permutation import holm
from cellsearch.stats.sample_comparison import SampleTest, ShareDifference, compare_shares
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.yaml_files import near_miss

Share = Literal["em", "adjusted_count", "raw"]
SHARES: tuple[Share, ...] = ("em", "adjusted_count", "raw")
BLOCKS = ("donor", "batch")
CONTROLS = re.compile(r"(?i)(?:control|ctrl|vehicle|dmso|untreated|mock|baseline|wt)s?")
"""What the condition to compare with is called, where nobody says it."""

FEW = 50
"""Cells of a sample below which its shares are hardly known."""


@dataclass(frozen=True)
class Replicate:
    """What counts as one: a sample, or the mean of the samples of one replicate or donor.

    Attributes:
        name: of the replicate, or of its only sample.
        condition: what was done to it.
        block: donor or batch; "" where the design names none.
        cells: in all its samples.
        shares: (K,) means over its samples.
    """

    name: str
    condition: str
    block: str
    cells: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class ConditionFigures:
    """One condition against the control.

    Attributes:
        condition: what was done.
        treated: replicates of it that were compared.
        control: replicates of the control that were compared.
        blocks: donors or batches with both; 0 where none are compared within.
        left_out: blocks that lack one of the two.
        arrangements: of replicates over the conditions.
        exact: whether all were looked at.
        smallest_p: two-sided, before the correction, that they can give.
        classes: name -> figures; ``p_holm`` is over all classes and conditions.
        sentence: what these replicates can and cannot tell.
    """

    condition: str
    treated: int
    control: int
    blocks: int
    left_out: tuple[str, ...]
    arrangements: int
    exact: bool
    smallest_p: float
    classes: dict[str, ShareDifference]
    sentence: str


@dataclass(frozen=True)
class SamplesReport:
    """What ``compare_samples`` found.

    Attributes:
        share: which share was compared.
        control: the condition that the others are compared with.
        paired_by: column that pairs replicates; "" where none does.
        replicates: all that were read, by condition.
        conditions: one for each but the control.
        notes: what must be known of the samples.
    """

    share: Share
    control: str
    paired_by: str
    replicates: tuple[Replicate, ...]
    conditions: tuple[ConditionFigures, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self) | {"level": LEVEL}, indent=2)

    def write_csv(self, path: Path) -> None:
        """A row a condition and class, wholly or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        rows = [
            {
                "condition": each.condition,
                "control": self.control,
                "class": name,
                "replicates_treated": each.treated,
                "replicates_control": each.control,
                "share_treated": one.treated,
                "share_control": one.control,
                "difference": one.difference.value,
                "low": "" if one.difference.low is None else one.difference.low,
                "high": "" if one.difference.high is None else one.difference.high,
                "p": one.p,
                "p_holm": one.p_holm,
                "p_t": one.p_t,
                "p_t_holm": one.p_t_holm,
                "smallest_p": each.smallest_p,
            }
            for each in self.conditions
            for name, one in each.classes.items()
        ]
        try:
            write_csv(path, rows, for_people=True)
        except CardError as error:
            raise RunError(error) from None


def compare_samples(
    fractions: Path | str,
    design: Path | str,
    *,
    control: str | None = None,
    share: Share | None = None,
    seed: int = 0,
) -> SamplesReport:
    """Compare the shares of each class between conditions, over replicates.

    Samples of one condition, block and replicate are averaged first: wells of one culture, or
    images of one well, are no replicates. Where a donor (or batch) has both conditions, they are
    compared within it.

    Args:
        fractions: what ``predict --samples COLUMN --fractions`` wrote.
        design: a table with columns sample, condition and optionally replicate, donor or batch.
        control: the condition to compare with; by default the one called control, vehicle, DMSO,
            untreated, mock, baseline or WT.
        share: ``em``, ``adjusted_count`` or ``raw``; by default the first of these that every
            sample has.
        seed: of draws, where arrangements are too many.

    Raises:
        ConfigError: columns that are not there, or no control.
        DataError: samples of one table that the other lacks, or too few replicates; all at once.
    """
    parts = _fractions(Path(fractions))
    rows, block = _design(Path(design))
    _require_same(Path(fractions), parts, Path(design), rows)
    share = share or _common(parts)
    classes = list(next(iter(parts.values())))
    values = {sample: _values(of, share) for sample, of in parts.items()}
    absent = [name for k, name in enumerate(classes) if any(v[k] is None for v in values.values())]
    kept = [name for name in classes if name not in absent]
    if not kept:
        raise DataError(f"{fractions}: no class has ", Setting("share", share), " in every sample")
    chosen = [classes.index(name) for name in kept]
    shares = {sample: np.array([v[k] for k in chosen], float) for sample, v in values.items()}
    cells = {sample: sum(int(r["cells"]) for r in of.values()) for sample, of in parts.items()}
    replicates = _replicates(rows, block, shares, cells)
    control = _control([each.condition for each in replicates], control)
    # In the order of the design, such as that of doses.
    others = [name for name in dict.fromkeys(r.condition for r in replicates) if name != control]
    found = [_compared(replicates, one, control, seed) for one in others]
    corrected = iter(holm([c.p for _, _, _, _, test in found for c in test.classes]))
    corrected_t = iter(holm([c.p_t for _, _, _, _, test in found for c in test.classes]))
    looks = len(kept) * len(others)
    conditions = []
    for condition, ones, zeros, left_out, test in found:
        figures = {
            name: ShareDifference(
                **{**_fields(c), "p_holm": next(corrected), "p_t_holm": next(corrected_t)}
            )
            for name, c in zip(kept, test.classes, strict=True)
        }
        paired = test.blocks if test.blocks > 1 else 0
        conditions.append(
            ConditionFigures(
                condition=condition,
                treated=ones,
                control=zeros,
                blocks=paired,
                left_out=left_out,
                arrangements=test.arrangements,
                exact=test.exact,
                smallest_p=test.smallest_p,
                classes=figures,
                sentence=_sentence(ones, zeros, paired, block, test, looks),
            )
        )
    notes = [f"no {share} share in every sample, so left out: {listed(absent)}"] * bool(absent)
    few = [sample for sample, count in cells.items() if count < FEW]
    if few:
        notes.append(f"fewer than {FEW} cells, so hardly known: {listed(few)}")
    if block == "batch" and not all(each.blocks for each in conditions):
        notes.append(
            "a batch never has both conditions, so what a batch does cannot be told from what the "
            "treatment does"
        )
    return SamplesReport(
        share=share,
        control=control,
        paired_by=block if any(each.blocks for each in conditions) else "",
        replicates=tuple(replicates),
        conditions=tuple(conditions),
        notes=tuple(notes),
    )


def _fields(one: ShareDifference) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _fractions(path: Path) -> dict[str, dict[str, Mapping[str, str]]]:
    """Sample -> class -> row."""
    header, rows = read_rows(path)
    missing = [name for name in ("sample", "class", "cells", "raw") if name not in header]
    if missing:
        raise ConfigError(
            f"{path}: no column {listed(missing)}; expected what predict writes with ",
            Setting("samples", "COLUMN"),
            " and ",
            Setting("fractions", "CSV"),
        )
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row.values["sample"], {})[row.values["class"]] = row.values
    first = set(next(iter(found.values())))
    odd = [sample for sample, of in found.items() if set(of) != first]
    if odd or sum(map(len, found.values())) != len(rows):
        raise DataError(f"{path}: each sample needs one row for each class: {listed(odd)}")
    return found


def _design(path: Path) -> tuple[list[Row], str]:
    """Rows, and the column that pairs them ("" where there is none)."""
    header, rows = read_rows(path)
    missing = [name for name in ("sample", "condition") if name not in header]
    if missing:
        raise ConfigError(
            f"{path}: no column {listed(missing)}; expected sample, condition, and optionally "
            f"replicate, donor or batch; columns: {', '.join(header)}"
        )
    blocks = [name for name in BLOCKS if name in header]
    if len(blocks) > 1:
        raise ConfigError(f"{path}: columns donor and batch: leave one out, the other pairs")
    used = ["sample", "condition", *blocks, *(["replicate"] * ("replicate" in header))]
    problems = [
        f"line {row.line}: no {name}"
        for row in rows
        for name in used
        if is_missing(row.values.get(name, ""))
    ]
    samples = [row.values["sample"] for row in rows]
    twice = sorted({sample for sample in samples if samples.count(sample) > 1})
    problems += [f"sample {name} twice" for name in twice]
    if problems:
        raise DataError(f"{path}: {listed(problems)}")
    return rows, blocks[0] if blocks else ""


def _require_same(
    fractions: Path, parts: Mapping[str, object], design: Path, rows: Sequence[Row]
) -> None:
    named = {row.values["sample"] for row in rows}
    problems = []
    if alone := [sample for sample in parts if sample not in named]:
        hint = near_miss(alone[0], named)
        problems.append(Message.of(f"samples without a row in {design}: {listed(alone)}{hint}"))
    if gone := sorted(named - set(parts), key=natural):
        problems.append(Message.of(f"samples of {design} that {fractions} lacks: {listed(gone)}"))
    if problems:
        raise DataError(joined(problems, "; "))


def _common(parts: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Share:
    """The first share that some class has in every sample."""
    for share in SHARES:
        values = [_values(of, share) for of in parts.values()]
        if any(all(v[k] is not None for v in values) for k in range(len(values[0]))):
            return share
    return "raw"


def _values(of: Mapping[str, Mapping[str, str]], share: Share) -> list[float | None]:
    return [float(row[share]) if row.get(share) else None for row in of.values()]


def _replicates(
    rows: Sequence[Row],
    block: str,
    shares: Mapping[str, NDArray[np.float64]],
    cells: Mapping[str, int],
) -> list[Replicate]:
    members: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        sample, condition = row.values["sample"], row.values["condition"]
        own = row.values.get(block, "") if block else ""
        # A donor is one replicate of a condition, however often measured; a batch holds several.
        name = own if block == "donor" else sample
        name = row.values.get("replicate", name) if block != "donor" else name
        members.setdefault((condition, own, name), []).append(sample)
    return [
        Replicate(
            name=name,
            condition=condition,
            block=own,
            cells=sum(cells[sample] for sample in those),
            shares=tuple(np.mean([shares[sample] for sample in those], axis=0).tolist()),
        )
        for (condition, own, name), those in members.items()
    ]


def _control(conditions: Sequence[str], asked: str | None) -> str:
    there = sorted(set(conditions), key=natural)
    if len(there) < 2:
        raise DataError(f"the design has one condition, {there[0]}; two are compared")
    if asked is not None:
        if asked not in there:
            raise ConfigError(
                Setting("control", asked),
                f": no such condition{near_miss(asked, there)}; there are {listed(there)}",
            )
        return asked
    called = [name for name in there if CONTROLS.fullmatch(name)]
    if len(called) == 1:
        return called[0]
    raise ConfigError(
        "which condition is the control? give ",
        Setting("control", "CONDITION"),
        f", one of {listed(there)}",
    )


def _compared(
    replicates: Sequence[Replicate], condition: str, control: str, seed: int
) -> tuple[str, int, int, tuple[str, ...], SampleTest]:
    both = [each for each in replicates if each.condition in (condition, control)]
    held = {
        name: {each.condition for each in both if each.block == name}
        for name in {each.block for each in both}
    }
    whole = {name for name, found in held.items() if len(found) == 2}
    left_out: tuple[str, ...] = ()
    # Donors that have one condition each are replicates, and there is nothing to pair.
    paired = bool(whole) and whole != {""}
    if paired:
        left_out = tuple(sorted(set(held) - whole, key=natural))
        both = [each for each in both if each.block in whole]
    treated = np.array([each.condition == condition for each in both])
    names = sorted(whole)
    codes = np.array([names.index(each.block) for each in both]) if paired else None
    ones, zeros = int(treated.sum()), int((~treated).sum())
    try:
        test = compare_shares(np.array([each.shares for each in both]), treated, codes, seed=seed)
    except ValueError:
        within = f", in {len(whole)} pairs" if paired else ""
        raise DataError(
            f"{condition} has {ones} and {control} {zeros} replicates{within}: at least two of "
            "each are needed to see how much replicates differ"
        ) from None
    return condition, ones, zeros, left_out, test


def _sentence(ones: int, zeros: int, blocks: int, block: str, test: SampleTest, looks: int) -> str:
    who = f"{ones} against {zeros} replicates"
    if blocks:
        who += f" within {blocks} {block}{'s' if block == 'donor' else 'es'}"
    best = min(1.0, looks * test.smallest_p)
    told = f"{who} cannot give p below {test.smallest_p:.2g}"
    if looks > 1:
        told += f", after Holm over {looks} comparisons {best:.2g}"
    if best > 1.0 - LEVEL:
        told += (
            ": too few to show a difference by arrangements alone; p of t is what is left, and "
            "assumes that shares are normal over replicates"
        )
    return told
