"""From the written parameters of a space to its entries, in the order they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cellsearch.space.entry import FAMILY, NETWORK, Condition, Entry
from cellsearch.space.language import Reading
from cellsearch.space.parameters import COUNTERS, ParamValue, parameters
from cellsearch.space.recipe import Recipe, parameter_names, split_name
from cellsearch.util.yaml_files import MOST_LISTED, Document, KeyPath, Problem, near_miss

Found = list[tuple[Document, Problem]]


@dataclass(frozen=True)
class Written:
    """One parameter as it stands in a file."""

    document: Document
    raw: Any


def expand(written: Mapping[str, Written], own: Document) -> tuple[tuple[Entry, ...], Found]:
    """Expand `per`, resolve conditions, and sort.

    Args:
        written: by name, those of the parents included.
        own: the document whose conditions must all be able to hold; an inherited entry whose
            condition can no longer hold is left out instead.

    Returns:
        The entries in the order they are drawn (none if anything is wrong), and what is wrong.
    """
    expander = _Expander(written, own)
    entries = expander.entries()
    return (() if expander.found else entries), expander.found


@dataclass(frozen=True)
class _Draft:
    """An entry on its way, and where it was written."""

    entry: Entry
    document: Document
    path: KeyPath


class _Expander:
    def __init__(self, written: Mapping[str, Written], own: Document) -> None:
        self.written = written
        self.own = own
        self.found: Found = []
        self.drafts: dict[str, list[_Draft]] = {}
        self.done: dict[str, list[_Draft]] = {}
        self.foreign: set[str] = set()
        self._known = parameters(Recipe)
        self._names = parameter_names(Recipe)

    def entries(self) -> tuple[Entry, ...]:
        counted: list[_Draft] = []
        for name, item in self.written.items():
            counted += self._read(name, item)
        explicit = set(self.drafts)
        for target in explicit:
            base, number = split_name(target)
            if number is not None and base in explicit:
                text = f"{base} is given too; use {base}, or {base}.1, .2, ..."
                self._say(self.drafts[target][0], (), text)
        for draft in counted:
            for i in range(1, self._reach(draft) + 1):
                target = f"{draft.entry.target}.{i}"
                # A number of its own wins over what `per` says of all.
                if target not in explicit:
                    entry = _counted(replace(draft.entry, target=target))
                    self.drafts.setdefault(target, []).append(replace(draft, entry=entry))
        self._belong()
        for target in self._order():
            resolved = [self._resolve(draft) for draft in self.drafts[target]]
            if kept := [draft for draft in resolved if draft is not None]:
                self.done[target] = self._labelled(kept)
        return tuple(draft.entry for drafts in self.done.values() for draft in drafts)

    def _say(self, draft: _Draft, under: KeyPath, text: str) -> None:
        self.found.append((draft.document, Problem((*draft.path, *under), text)))

    def _read(self, name: str, item: Written) -> list[_Draft]:
        """Keep the plain entries of a parameter; give back those with `per`."""
        path: KeyPath = ("parameters", name)
        if name not in self._names:
            text = f"no such parameter{near_miss(name, self._names)}"
            self.found.append((item.document, Problem(path, text)))
            return []
        base, number = split_name(name)
        reading = Reading(name, self._known[base], item.raw, path)
        self.found += [(item.document, problem) for problem in reading.found]
        counted = []
        for entry, per, at in reading.entries:
            draft = _Draft(entry, item.document, at)
            counter = COUNTERS.get(base)
            if per is None:
                entry = _counted(entry) if number is not None else entry
                self.drafts.setdefault(name, []).append(replace(draft, entry=entry))
            elif counter is None or number is not None:
                self._say(draft, ("per",), f"`per` is for {' and '.join(COUNTERS)}, not for {name}")
            elif per != counter:
                self._say(draft, ("per",), f"{name} is counted by {counter}, not by {per}")
            else:
                counted.append(draft)
        return counted

    def _belong(self) -> None:
        """Make every parameter of ``model`` wait for the families that have it."""
        chosen = [v for d in self.drafts.get(FAMILY, []) for v in d.entry.reachable]
        families = chosen or [self._known[FAMILY].default]
        if FAMILY in self.written and not chosen:
            # What is wrong with the family is told already.
            return
        for target in list(self.drafts):
            having = self._known[split_name(target)[0]].families
            shared = tuple(family for family in families if family in having)
            if target == FAMILY or not having or len(shared) == len(families):
                continue
            if not shared:
                self.foreign.add(split_name(target)[0])
                for draft in self.drafts.pop(target):
                    if draft.document is self.own:
                        takes = " or ".join(map(str, families))
                        self._say(
                            draft, (), f"is of family {' or '.join(having)}; this space has {takes}"
                        )
                continue
            condition = Condition(FAMILY, shared)
            self.drafts[target] = [
                draft
                if any(c.name == FAMILY for c in draft.entry.when)
                else replace(draft, entry=_with(draft.entry, condition))
                for draft in self.drafts[target]
            ]

    def _reach(self, draft: _Draft) -> int:
        """How many entries a tuple can have."""
        counter = COUNTERS[draft.entry.target]
        if counter in self.drafts:
            values = [v for d in self.drafts[counter] for v in d.entry.reachable]
            return max((int(v) for v in values), default=0)
        if counter in self.written:
            return 0
        if draft.document is self.own:
            self._say(draft, ("per",), f"{counter} is not a parameter of this space")
            return 0
        return int(self._known[counter].default)

    def _order(self) -> list[str]:
        """Parameters after those that they wait for, else in the order of the recipe."""
        rank = {name: i for i, name in enumerate(self._names)}
        sorter = TopologicalSorter(
            {
                target: {c.name for d in drafts for c in d.entry.when if c.name in self.drafts}
                for target, drafts in self.drafts.items()
            }
        )
        try:
            sorter.prepare()
        except CycleError as cycle:
            names = list(reversed(cycle.args[1]))
            text = f"depends on itself: {' -> '.join(names)}"
            self._say(self.drafts[names[0]][0], ("when",), text)
            return []
        order: list[str] = []
        ready = set(sorter.get_ready())
        while ready:
            target = min(ready, key=lambda name: rank[name])
            ready.remove(target)
            order.append(target)
            sorter.done(target)
            ready |= set(sorter.get_ready())
        return order

    def _resolve(self, draft: _Draft) -> _Draft | None:
        """Drop conditions that always hold and values never taken; None: never active."""
        kept, possible = [], True
        for condition in draft.entry.when:
            if condition.name in self.foreign:
                possible = False
                continue
            if condition.name in self.written and condition.name not in self.drafts:
                # It has a problem of its own, which is told already.
                continue
            others = self._others(condition.name)
            if draft.document is self.own:
                implied = COUNTERS.get(split_name(draft.entry.target)[0]) == condition.name
                present = implied or condition.name in self.drafts
                if problem := self._never(condition, others, present=present):
                    self._say(draft, ("when", condition.name), problem)
                    continue
            met = [entry.meets(condition) for entry in others]
            if all(m == "never" for m in met):
                possible = False
            elif met != ["always"] or others[0].when:
                values = tuple(
                    v
                    for v in condition.values
                    if _all_networks(condition, v) or any(e.can_take(v) for e in others)
                )
                kept.append(replace(condition, values=values))
        if not possible:
            return None
        return replace(draft, entry=replace(draft.entry, when=tuple(kept)))

    def _others(self, name: str) -> list[Entry]:
        """Entries of the parameter that a condition names; none if it is never active."""
        if name in self.drafts:
            return [draft.entry for draft in self.done.get(name, [])]
        if name not in self._known or name in COUNTERS:
            return []
        # The recipe's default stands in for what the space does not hold.
        return [Entry(name, "constant", self._known[name].default)]

    def _never(self, condition: Condition, others: list[Entry], *, present: bool) -> str:
        if not present:
            hint = near_miss(condition.name, self._names) if not others else ""
            stays = f"; it stays at {others[0].range}" if others else ""
            return f"not a parameter of this space{hint}{stays}"
        takes = " or ".join(replace(e, odds=(), centre=None).range for e in others) or "no value"
        for value in condition.values:
            if not _all_networks(condition, value) and not any(e.can_take(value) for e in others):
                near = near_miss(str(value), [str(v) for e in others for v in e.reachable])
                return f"never takes {value}; it takes {takes}{near}"
        if all(e.meets(condition) == "never" for e in others):
            return f"never holds; {condition.name} takes {takes}"
        return ""

    def _labelled(self, drafts: list[_Draft]) -> list[_Draft]:
        """Give alternatives of one parameter their names; they must exclude each other."""
        if len(drafts) == 1:
            return drafts
        for i, one in enumerate(drafts):
            for other in drafts[i + 1 :]:
                pairs = [(a, b) for a in one.entry.when for b in other.entry.when]
                if not any(a.excludes(b) for a, b in pairs):
                    text = (
                        "two alternatives can be active at the same time; their `when` must differ"
                    )
                    self._say(other, (), text)
        labels = [",".join(c.label for c in d.entry.when) for d in drafts]
        if len(set(labels)) < len(labels):
            labels = [",".join(f"{c.name}={c.label}" for c in d.entry.when) for d in drafts]
        named = [
            replace(draft, entry=replace(draft.entry, label=label))
            for draft, label in zip(drafts, labels, strict=True)
        ]
        return sorted(named, key=lambda draft: draft.entry.label)


def _all_networks(condition: Condition, value: ParamValue) -> bool:
    """Whether a value is the word for all networks, which no entry takes as it is."""
    return condition.name == FAMILY and value == NETWORK


def _counted(entry: Entry) -> Entry:
    """A numbered entry is there only while its counter reaches it."""
    base, number = split_name(entry.target)
    counter = COUNTERS[base]
    if any(c.name == counter for c in entry.when):
        return entry
    return _with(entry, Condition(counter, low=number))


def _with(entry: Entry, condition: Condition) -> Entry:
    when = (*entry.when, condition)
    return replace(entry, when=tuple(sorted(when, key=lambda c: c.name)))


def _spelt(part: object) -> str:
    """A part of a path as the file has it."""
    return str(part).lower() if isinstance(part, bool) else str(part)


def listing(found: Found) -> str:
    """A line for each problem, in the order of the file; a parameter goes by its own name."""
    ordered = sorted(found, key=lambda item: (str(item[0].path or ""), item[0].line(item[1].path)))
    lines = []
    for document, problem in ordered:
        path = problem.path[1:] if problem.path[:1] == ("parameters",) else ("$", *problem.path)
        where = ".".join(map(_spelt, path)) or "parameters"
        lines.append(f"{where}: {problem.text}{document.at(problem.path)}")
    each = list(dict.fromkeys(lines))
    more = [f"and {len(each) - MOST_LISTED:,} more like these"] if len(each) > MOST_LISTED else []
    return "\n".join([*each[:MOST_LISTED], *more])
