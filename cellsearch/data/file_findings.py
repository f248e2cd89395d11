"""Files of one data set that differ in how they were saved, and classes that this gives away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import listed
from cellsearch.data.dataset import CellDataset
from cellsearch.data.file_traits import TraitTable, texts
from cellsearch.data.findings import Finding, Severity
from cellsearch.data.told_classes import Told, told_classes
from cellsearch.util.messages import Message

Integers = NDArray[np.int64]

SAVED = {
    "format": "format",
    "suffix": "suffix",
    "colour": "colour mode",
    "photometric": "photometric interpretation",
    "depth": "bit depth",
    "compression": "compression",
    "jpeg": "JPEG quality",
    "storage": "byte order or storage",
    "pages": "pages in a file",
    "orientation": "EXIF orientation",
    "camera": "camera",
    "software": "software",
    "resolution": "resolution",
    "profile": "colour profile",
}
"""Traits that no cell can cause, and what they are called."""

CHANGE_PIXELS = frozenset({"colour", "photometric", "depth", "orientation", "jpeg"})
"""Those of them that say what pixels mean, or took something from them."""

LEVEL = 0.01
"""Chance that a data set whose files tell nothing gets a finding of a told class."""

TOLD, WELL = 0.75, 0.9
"""Balanced accuracy from which a class counts as told, and as told well. The first is not asked of
file sizes: in real sets of PNG and JPEG texture alone reaches 0.79."""

MOST_VALUES, MOST_RANGES = 64, 24
HALF_A_DAY = 43_200.0
"""Files are copied and unzipped one after another: only a gap as long as this, s, parts dates."""

_SHOWN = 3
_RARE = "other values"


@dataclass(frozen=True, eq=False)
class _Trait:
    """One trait of all cells, or several that part the cells alike.

    Attributes:
        names: fields of ``FileTraits``.
        codes: (N,) value of each cell.
        words: of each value what files have, one text a trait, "" for nothing; of a range of
            numbers its lowest.
        highest: of a range of numbers its highest; empty where values are no numbers.
    """

    names: tuple[str, ...]
    codes: Integers
    words: tuple[tuple[str, ...], ...]
    highest: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return _and([SAVED.get(name, name) for name in self.names])

    def said(self, values: Sequence[int]) -> str:
        """Values in words; neighbouring ranges of numbers as one."""
        if not self.highest:
            return " or ".join(self._named(value) for value in values[:_SHOWN]) + (
                f" or {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            )
        runs: list[list[int]] = []
        for value in sorted(values):
            if runs and runs[-1][1] == value - 1:
                runs[-1][1] = value
            else:
                runs.append([value, value])
        ends = [(self.words[low][0], self.highest[high]) for low, high in runs]
        ranges = [low if low == high else f"{low} to {high}" for low, high in ends]
        return f"{self.title} {listed(ranges, most=_SHOWN)}"

    def _named(self, value: int) -> str:
        there = [word for word in self.words[value] if word]
        return ", ".join(there[:_SHOWN]) or f"no {self.title}"


def file_findings(dataset: CellDataset) -> list[Finding]:
    """What the files of a data set tell besides pixels; nothing where cells have no file each."""
    if dataset.file_traits is None:
        return []
    sources: list[str] = dataset.sources.tolist()
    ids: list[str] = dataset.ids.tolist()
    files = sources if len(set(sources)) == len(sources) else ids
    found = trait_findings(
        dataset.file_traits,
        labels=dataset.labels,
        classes=dataset.classes,
        ids=ids,
        files=files,
        groups=dataset.groups,
    )
    # How crops of several sizes were brought to one is a finding of its own, with their sizes.
    told = dataset.notes_of("crop-sizes")
    return found if told else [*found, *_crops(dataset.file_traits, files)]


def trait_findings(
    traits: TraitTable,
    *,
    labels: Integers,
    classes: Sequence[str],
    ids: Sequence[str],
    files: Sequence[str],
    groups: NDArray[np.str_] | None = None,
) -> list[Finding]:
    """Traits in which files differ, a note or warning each, and the classes that they tell.

    That files differ says nothing yet of a class. A class is told where one trait alone gives it a
    balanced accuracy of at least 0.75 (the size of the file 0.9), cells (groups) judged by all
    others, and where chance does so in at most 1 % of data sets, over all traits. It is an error
    where the trait is how the file was saved, as no cell can cause that, and where the class is
    told well. Where groups are too few to exclude chance, what is told without a mistake is a
    warning.

    Args:
        traits: (N,) records of N cells.
        labels: (N,) positions in ``classes``, negative where not known.
        classes: names.
        ids: N names of cells, for the findings.
        files: N names of files, for the messages.
        groups: (N,) donors, plates or slides; cells of one are never judged by each other.
    """
    saved = _distinct([_category(traits, name) for name in SAVED])
    rest = [trait for trait in (*_sizes(traits), *_dates(traits)) if _varies(trait)]
    known = labels >= 0
    positions = None if groups is None else np.unique(groups[known], return_inverse=True)[1]
    level = LEVEL / max(1, len({_partition(trait) for trait in (*saved, *rest)}))
    found: list[Finding] = []
    explained: list[frozenset[int]] = []
    there = frozenset(labels[known].tolist())
    facts = _Facts(labels, tuple(classes), tuple(ids), tuple(files), level)
    told = [
        (trait, each, severity)
        for trait in (*saved, *rest)
        for each in told_classes(
            trait.codes[known],
            labels[known],
            positions,
            least=WELL if trait.names == ("file size",) else TOLD,
            level=level,
        )
        if (severity := _severity(trait, each, level, grouped=groups is not None))
    ]
    told.sort(key=lambda each: (each[0].names[0] not in SAVED, -each[1].balanced_accuracy))
    for trait, each, severity in told:
        # A file that is saved otherwise is of another size for that; nothing new is told.
        if _explained(each.classes, explained, there):
            continue
        explained.append(frozenset(each.classes))
        likewise: list[int] = []
        if trait.names[0] not in SAVED:
            # What the cells may cause themselves is one finding, of the class that is told best.
            of_trait = [other.classes for one, other, _ in told if one is trait]
            likewise = sorted({k for classes in of_trait for k in classes} - {*each.classes})
            explained += [frozenset(classes) for classes in of_trait]
        found.append(_class_told(trait, each, severity, facts, likewise))
    return [*found, *(_differ(trait, facts) for trait in saved if _worth(trait))]


@dataclass(frozen=True, eq=False)
class _Facts:
    labels: Integers
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    files: tuple[str, ...]
    level: float


def _explained(
    classes: Sequence[int], before: Sequence[frozenset[int]], there: frozenset[int]
) -> bool:
    """Whether these classes, or all the others, were told already, together or each alone."""
    alone = {k for each in before if len(each) == 1 for k in each}
    return alone >= {*classes} or bool({frozenset(classes), there - {*classes}} & {*before})


def _severity(trait: _Trait, told: Told, level: float, *, grouped: bool) -> Severity | None:
    saved = trait.names[0] in SAVED
    if told.p <= level:
        return "error" if saved and told.balanced_accuracy >= WELL else "warning"
    # Of a few groups chance can never be excluded; what is told without a mistake is worth a look.
    return "warning" if saved and grouped and told.balanced_accuracy >= 1 else None


def _category(traits: TraitTable, name: str) -> _Trait:
    values, codes = np.unique(texts(traits, name), return_inverse=True)
    words = [_worded(name, str(value)) for value in values]
    if len(values) > MOST_VALUES:
        # Of values that are as frequent none is preferred: their order may be that of the classes.
        counts = np.bincount(codes)
        kept = np.flatnonzero(counts > np.sort(counts)[-MOST_VALUES])
        place = np.full(len(values), len(kept))
        place[kept] = np.arange(len(kept))
        codes = place[codes]
        words = [*(words[k] for k in kept), _RARE]
    return _Trait((name,), codes.astype(np.int64), tuple((word,) for word in words))


def _worded(name: str, value: str) -> str:
    """A value as what files have; "" where they have none."""
    if name == "pages":
        return f"{value} page" if value == "1" else f"{value} pages"
    if name == "depth":
        return f"{value} samples"
    if name == "compression" and value == "none":
        return "no compression"
    if name == "jpeg":
        return f"JPEG {value}" if value else ""
    return f"{SAVED[name]} {value}" if value else ""


def _sizes(traits: TraitTable) -> list[_Trait]:
    height, width = traits["height"].astype(np.int64), traits["width"].astype(np.int64)
    area, shape = height * width, height / np.maximum(width, 1)
    sides = [f"{h} x {w} px" for h, w in zip(height.tolist(), width.tolist(), strict=True)]
    size = traits["bytes"].astype(np.int64)
    return [
        _ranges("crop size", area.astype(np.float64), sides),
        _ranges("crop shape", shape, sides),
        _ranges("file size", size.astype(np.float64), [f"{n:,} bytes" for n in size.tolist()]),
    ]


def _dates(traits: TraitTable) -> list[_Trait]:
    found = []
    for name, field in (("date in the file", "taken"), ("file date", "modified")):
        moments = traits[field].astype(np.float64)
        order = np.argsort(moments, kind="stable")
        breaks = np.diff(moments[order]) > HALF_A_DAY
        session = np.empty(len(moments), np.int64)
        session[order] = np.concatenate([[0], np.cumsum(breaks)])
        days = np.datetime_as_string(moments.astype("datetime64[s]"), unit="D")
        words = np.where(moments == 0, "without a date", days).tolist()
        found.append(_ranges(name, session.astype(np.float64), words, by=moments))
    return found


def _ranges(
    name: str,
    values: NDArray[np.float64],
    words: Sequence[str],
    *,
    by: NDArray[np.float64] | None = None,
) -> _Trait:
    """Numbers as at most ``MOST_RANGES`` ranges that hold about as many cells each.

    Args:
        name: of the trait.
        values: (N,) that are cut into ranges.
        words: N, for the ends of a range.
        by: (N,) order within a range; by default that of the values.
    """
    distinct = np.unique(values)
    if len(distinct) > MOST_RANGES:
        steps = np.arange(1, MOST_RANGES) / MOST_RANGES
        distinct = np.unique(np.quantile(values, steps, method="higher"))
        distinct = distinct[distinct > values.min()]
        codes = np.searchsorted(distinct, values, side="right")
    else:
        codes = np.searchsorted(distinct, values)
    order = np.lexsort((values if by is None else by, codes))
    ends = np.searchsorted(codes[order], np.arange(codes.max() + 1), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return _Trait(
        (name,),
        codes.astype(np.int64),
        tuple((words[order[k]],) for k in starts),
        tuple(words[order[k - 1]] for k in ends),
    )


def _varies(trait: _Trait) -> bool:
    return len(np.unique(trait.codes)) > 1


def _worth(trait: _Trait) -> bool:
    """Not what is another for nearly each file, as a comment that names it."""
    return (_RARE,) not in trait.words and 2 * len(trait.words) <= max(4, len(trait.codes))


def _distinct(traits: Sequence[_Trait]) -> list[_Trait]:
    """Traits that vary; those that part the cells alike are one."""
    found: dict[bytes, _Trait] = {}
    for trait in filter(_varies, traits):
        key = _partition(trait)
        if key not in found:
            found[key] = trait
            continue
        held = found[key]
        of_code = dict(zip(held.codes.tolist(), trait.codes.tolist(), strict=True))
        parts = [(*held.words[k], *trait.words[of_code[k]]) for k in range(len(held.words))]
        found[key] = replace(held, names=(*held.names, *trait.names), words=tuple(parts))
    return list(found.values())


def _partition(trait: _Trait) -> bytes:
    """The same for traits that part the cells alike."""
    _, first, codes = np.unique(trait.codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes].astype(np.int64).tobytes()


def _class_told(
    trait: _Trait, told: Told, severity: Severity, facts: _Facts, likewise: Sequence[int]
) -> Finding:
    inside = np.isin(facts.labels, told.classes)
    outside = (facts.labels >= 0) & ~inside
    has = np.isin(trait.codes, told.values)
    names = _and([facts.classes[k] for k in told.classes])
    example = facts.files[int(np.flatnonzero(inside & has)[0])]
    what = (
        f"{names} can be recognised by the {trait.title} of their files alone: "
        f"{int((inside & has).sum()):,} of {int(inside.sum()):,} files of {names} have "
        f"{trait.said(told.values)}, such as {example}, and {int((outside & has).sum()):,} of "
        f"{int(outside.sum()):,} others (balanced accuracy {told.balanced_accuracy:.2f})"
    )
    if likewise:
        what += f", and likewise {_and([facts.classes[k] for k in likewise])}"
    if told.p > facts.level:
        what += ", of too few groups to exclude chance"
    if trait.names[0] in SAVED:
        remedy = (
            "this is not caused by the cells, and a network may learn it instead of them: save "
            "all files the same way from the originals, or add cells of each class saved in each "
            "way"
        )
    elif trait.names[0] in ("file date", "date in the file"):
        remedy = (
            "a copy or an archive renews file dates, so this may mean nothing. But classes that "
            "were taken on different days may differ by the day (stain, lamp, focus): take cells "
            "of each class on each day, or declare days as groups"
        )
    else:
        remedy = (
            "the cells themselves may cause this, by their size or texture; if not, check whether "
            "the classes were cropped or saved differently"
        )
    cells = tuple(facts.ids[k] for k in np.flatnonzero(inside & has))
    return Finding("class-revealed-by-files", severity, cells, Message.of(f"{what}; {remedy}"))


def _differ(trait: _Trait, facts: _Facts) -> Finding:
    counts = np.bincount(trait.codes, minlength=len(trait.words))
    order = np.argsort(-counts, kind="stable").tolist()
    total = len(trait.codes)
    parts = [
        f"{int(counts[k]):,} have {trait.said([k])}, such as "
        f"{facts.files[int(np.flatnonzero(trait.codes == k)[0])]}"
        for k in order[:_SHOWN]
    ]
    more = f"; and {len(order) - _SHOWN} more kinds" if len(order) > _SHOWN else ""
    severity: Severity = "warning" if CHANGE_PIXELS & {*trait.names} else "note"
    message = (
        f"{total:,} files differ in {trait.title}: {'; '.join(parts)}{more}; check that cells "
        "look alike in them, or save all files the same way from the originals"
    )
    rare = np.flatnonzero(trait.codes != order[0])
    return Finding("files-differ", severity, tuple(facts.ids[k] for k in rare), Message.of(message))


def _crops(traits: TraitTable, files: Sequence[str]) -> list[Finding]:
    sides = np.stack([traits["height"], traits["width"]], axis=1)
    sizes, first, counts = np.unique(sides, axis=0, return_index=True, return_counts=True)
    if len(sizes) < 2:
        return []
    order = np.argsort(-counts, kind="stable").tolist()
    parts = [
        f"{int(counts[k]):,} of {sizes[k][0]} x {sizes[k][1]} px, such as {files[first[k]]}"
        for k in order[:_SHOWN]
    ]
    more = f"; and {len(order) - _SHOWN} more" if len(order) > _SHOWN else ""
    message = f"crops are of {len(sizes):,} sizes (height x width): {'; '.join(parts)}{more}"
    return [Finding("files-differ", "note", (), Message.of(message))]


def _and(names: Sequence[str]) -> str:
    shown = [*names[:_SHOWN], *([f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
