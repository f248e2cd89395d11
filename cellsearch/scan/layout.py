"""Which cells a folder or a table holds, by names alone: files, class and group of each."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellsearch.data.arrays import listed
from cellsearch.data.natural_order import natural
from cellsearch.data.readers.channel_files import split_name
from cellsearch.data.readers.column_notes import WORDS
from cellsearch.data.readers.folders import SPLIT_NAMES, are_splits
from cellsearch.errors import DataError
from cellsearch.scan.survey import Survey
from cellsearch.util.messages import Message, Setting

_GROUP = re.compile(
    rf"(?i)({'|'.join(WORDS)})[-_ ]?[0-9a-z]{{0,3}}|(19|20)\d\d[-_.]?\d\d[-_.]?\d\d.*"
)
_MASK = re.compile(r"(?i)(^|[-_. ])(mask|masks|seg|segmentation|label|labels|overlay)([-_. ]|\d|$)")
FEW = 2
DATA_FILES = frozenset({".csv", ".tsv", ".npz", ".h5", ".hdf5", ".cif", ".rtdc"})


@dataclass
class Layout:
    """Cells as names tell of them.

    Attributes:
        kind: ``folders``, ``channel_files``, ``nested``, ``table``, ``flat``, or another reader.
        reader: that reads them; ``table`` for ``nested``, whose table is yet to be written.
        target: folder or file that the reader is given.
        cells: the files of each cell, one a channel where channels have files of their own.
        labels: class of each cell; "" where not known.
        groups: group of each cell; None where the layout shows none.
        group_word: what a group is.
        columns: values of each cell in a table's columns of donors and the like that nobody
            declared, the widest first.
        codes: channel codes in file names.
        options: of the reader, beyond those that pixels decide.
        notes: what was passed over, and why it was read so; for a person.
        groups_noted: one of the notes names columns that could be the groups.
        problems: what keeps these files from being learnt from, each with its remedy.
    """

    kind: str
    reader: str
    target: Path
    cells: list[tuple[Path, ...]]
    labels: list[str]
    groups: list[str] | None = None
    group_word: str = ""
    columns: dict[str, list[str]] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str | Message] = field(default_factory=list)
    groups_noted: bool = False
    problems: list[str | Message] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in natural order."""
        return sorted(set(self.labels) - {""}, key=natural)

    @property
    def counts(self) -> dict[str, int]:
        """Cells of each class."""
        counted = Counter(self.labels)
        return {name: counted[name] for name in self.classes}


def of_folder(found: Survey) -> Layout:
    """What the folders of images mean.

    Raises:
        DataError: there are no images; says what there is and what is needed.
    """
    if not found.images:
        raise DataError(_without_images(found))
    parts = found.parts()
    depths = Counter(min(len(each) - 1, 2) for each in parts)
    if depths[0] == len(parts):
        return _flat(found)
    kept = [(path, each) for path, each in zip(found.images, parts, strict=True) if len(each) > 1]
    top: defaultdict[str, set[str]] = defaultdict(set)
    for _, each in kept:
        if len(each) > 2:
            top[each[0]].add(each[1])
        else:
            top[each[0]].add("")
    nested = _nested(top)
    level = 1 if nested else 0
    result = Layout(
        kind="nested" if nested else "folders",
        reader="table" if nested else "folders",
        target=found.root,
        cells=[(path,) for path, _ in kept],
        labels=[each[level] for _, each in kept],
    )
    if nested:
        result.groups = None if nested == "split" else [each[0] for _, each in kept]
        result.group_word = "" if nested == "split" else nested
        names: list[str] = sorted(top, key=natural)
        result.notes.append(
            f"the folders {listed(names, most=5)} hold the same class folders, "
            + (
                "so they are splits; cellsearch draws its own splits from all of them"
                if nested == "split"
                else "so they are taken as batches (groups), and the folders in them as classes"
            )
        )
    if not nested and are_splits(top):
        parts_of = [name for name in top if name.lower() in SPLIT_NAMES]
        result.problems.append(
            f"the folders {listed(parts_of)} are splits, not classes, and "
            f"{listed([name for name in top if name not in parts_of]) or 'they'} holds images "
            "beside them: move that elsewhere, or give a table with columns path, label, split"
        )
    if stray := len(parts) - len(kept):
        result.notes.append(f"{stray} images lie beside the class folders and are ignored")
    if found.empty:
        empty = [path.name for path in found.empty]
        result.notes.append(f"folders without images, ignored: {listed(empty, most=5)}")
    _channel_files(result)
    _look_at_names(result)
    return result


def _nested(top: Mapping[str, set[str]]) -> str:
    """``split``, or what a batch is, where folders hold class folders; else ""."""
    if len(top) < FEW or any("" in within for within in top.values()):
        return ""
    if {name.lower() for name in top} <= SPLIT_NAMES:
        return "split"
    if are_splits(top):
        return ""
    seen = Counter(name for within in top.values() for name in within)
    shared = sum(times > 1 for times in seen.values())
    first = sum(_GROUP.fullmatch(name) is not None for name in top)
    second = sum(_GROUP.fullmatch(name) is not None for name in seen)
    if 2 * second > len(seen) or not shared:
        return ""
    if first == len(top):
        match = _GROUP.fullmatch(next(iter(top)))
        return (match[1] or "date").lower() if match else "batch"
    # Neither level is named as a group: folders that repeat in each of the others are the classes.
    return "folder" if shared == len(seen) else ""


def _flat(found: Survey) -> Layout:
    """Images without class folders: classes are yet to be said."""
    labels = _prefixes([path.name for path in found.images])
    return Layout(
        kind="flat",
        reader="table",
        target=found.root,
        cells=[(path,) for path in found.images],
        labels=labels or [""] * len(found.images),
        problems=[
            "no classes: the images lie in one folder. Sort them into a folder per class, or write "
            "a table with columns path and label"
        ],
    )


def _prefixes(names: Sequence[str]) -> list[str] | None:
    """``neutrophil`` of ``neutrophil_07.png``, where that parts all names into some classes."""
    found = [re.match(r"([^\W\d_]{2,}(?:[ +-][^\W\d_]+)*)[-_ .]*\d", name) for name in names]
    if not all(found):
        return None
    values = [match[1] for match in found if match]
    counts = Counter(values)
    few = 2 <= len(counts) <= 20 and min(counts.values()) >= FEW
    return values if few and not {value.lower() for value in counts} & set(WORDS) else None


def _channel_files(result: Layout) -> None:
    """One file a channel: join the files of each cell, and say which cells lack one."""
    named = [split_name(cell[0]) for cell in result.cells]
    if 2 * sum(each is not None for each in named) <= len(named):
        return
    cells: defaultdict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    labels: dict[tuple[Path, str], str] = {}
    for cell, label, name in zip(result.cells, result.labels, named, strict=True):
        if name is not None:
            key = (cell[0].parent, name[0])
            cells[key][name[1]] = cell[0]
            labels[key] = label
    codes = sorted({code for files in cells.values() for code in files}, key=natural)
    lacking = [key for key, files in cells.items() if len(files) < len(codes)]
    if left := len(named) - sum(each is not None for each in named):
        result.notes.append(f"{left} images without a channel in their name are ignored")
    if lacking:
        examples = [
            f"{name} has no {', '.join(code for code in codes if code not in cells[folder, name])}"
            for folder, name in lacking[:3]
        ]
        result.problems.append(
            Message.of(
                f"{len(lacking)} cells lack a channel file ({'; '.join(examples)}): add the files, "
                "remove these cells, or name only the channels that all have with ",
                Setting("codes", "CH1,CH2,...", reader=True),
            )
        )
    if result.kind == "nested":
        result.problems.append(
            "files of one channel each lie in nested batches, which no reader joins: put the class "
            "folders directly into one folder (cell names may hold the batch)"
        )
    whole = {key: files for key, files in cells.items() if len(files) == len(codes)}
    result.kind = result.reader = "channel_files"
    result.codes = tuple(codes)
    result.cells = [tuple(files[code] for code in codes) for files in whole.values()]
    result.labels = [labels[key] for key in whole]
    result.groups, result.group_word = None, ""


def _look_at_names(result: Layout) -> None:
    masks = sum(_MASK.search(cell[0].stem) is not None for cell in result.cells)
    if 10 * masks >= len(result.cells) and masks < len(result.cells):
        result.problems.append(
            f"{masks} of {len(result.cells)} images are named as masks or overlays: move them "
            "out; otherwise they are treated as cells"
        )


def _without_images(found: Survey) -> str:
    wanted = "expected a folder per class with .tif, .png, .jpg or .bmp images in each"
    if found.others:
        there = ", ".join(f"{count} {suffix}" for suffix, count in found.others.most_common(5))
        known = sorted(suffix for suffix in found.others if suffix in DATA_FILES)
        ask = f"; give the {known[0]} file itself" if known else ""
        return f"{found.root}: no images, but {there}{ask}; {wanted}"
    hidden = f" ({found.hidden} hidden files aside)" if found.hidden else ""
    return f"{found.root}: an empty folder{hidden}; {wanted}"
