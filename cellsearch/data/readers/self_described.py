"""What files of our own making say of their cells beside the pixels, and how it is read again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import listed
from cellsearch.data.columns import column
from cellsearch.data.crop_sizes import Fitting
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.beside import by_option, source_columns
from cellsearch.data.readers.column_texts import is_missing, meant
from cellsearch.data.readers.options import new_labels
from cellsearch.data.readers.stack import name_channels
from cellsearch.data.source_columns import SourceColumns
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting

KEY = "cellsearch"


VERSION = 1


COLUMNS = ("labels", "ids", "sources", "object_numbers", "groups")


UNKNOWN = (
    "leave these cells out, or give labels as positions, -1 where not known, among class names "
    "that an array 'classes' lists"
)


NO_GROUP = "give each cell its group, or read the cells without groups (.npz and HDF5: groups=none)"


@dataclass(frozen=True)
class Described:
    """What a file says of its cells; None where it says nothing.

    Attributes:
        columns: name (of ``COLUMNS``) -> N values; labels are positions or names.
        facts: as of ``facts_of``.
        others: name -> N values of what is called as donors or plates are, and was not asked for.
        remedies: name -> how it is declared as the groups.
        group_name: what the file calls its groups.
    """

    columns: dict[str, Any]
    facts: Mapping[str, Any]
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remedies: Mapping[str, Message] = field(default_factory=dict)
    group_name: str = "groups"

    @property
    def of_ours(self) -> bool:
        """Whether cellsearch wrote the file."""
        return "version" in self.facts

    def raw(
        self,
        images: NDArray[Any],
        *,
        file: str,
        stem: str,
        channels: tuple[str, ...] | None = None,
        class_names: Mapping[str, str] | str | None = None,
        labelled: bool = True,
        provenance: Provenance | None = None,
        colour: bool = False,
        fitting: Fitting | None = None,
    ) -> RawCells:
        """The cells of one file, with its position where it names no id or object number.

        Args:
            images: (N, C, H, W).
            file: name of the file, their source where it names none.
            stem: what the data set is called where the file has no name for it.
            channels: names that overrule the file's.
            class_names: label as text -> class name, in order; overrules the file's classes.
            labelled: false leaves the labels out.
            provenance: of a file that holds none of ours.
            colour: three channels without names are red, green and blue.
            fitting: how crops were brought to one size.

        Raises:
            DataError: a column of another length, labels beyond the classes or without a name.
        """
        count = len(images)
        wrong = [
            f"{len(column)} {name}"
            for name, column in self.columns.items()
            if len(column) != count and (labelled or name != "labels")
        ]
        if wrong:
            raise DataError(f"{file}: {count} images, but {listed(wrong)}")
        labels, classes = [""] * count, None  # type: tuple[list[str], tuple[str, ...] | None]
        if labelled and "labels" in self.columns:
            labels, classes = self._labels(file, count, class_names)
        numbers = self.columns.get("object_numbers")
        # Who predicts asks for no groups, so none can be missing.
        grouped = labelled and "groups" in self.columns
        groups = groups_of(self.columns["groups"], file, count) if grouped else None
        origin = self._provenance(file) or provenance
        notes = self._notes(labels, groups) if classes else []
        if notes:
            origin = (origin or Provenance()).with_notes(*notes)
        return RawCells(
            images=images,
            labels=labels,
            ids=self._ids(count),
            sources=[str(x) for x in self.columns.get("sources", [file] * count)],
            object_numbers=list(range(count)) if numbers is None else [int(n) for n in numbers],
            channels=name_channels(
                channels or tuple(self.facts.get("channels") or ()) or None,
                images.shape[1],
                colour=colour,
            ),
            groups=groups,
            classes=classes,
            name=str(self.facts.get("name") or stem),
            provenance=origin,
            columns=self._columns(grouped=groups is not None),
            fitting=fitting,
        )

    def _ids(self, cells: int) -> list[str]:
        """Those of the file where each is another, else positions: a patient's id is no cell's."""
        ids = [str(x) for x in self.columns.get("ids", ())]
        tell = len(set(ids)) == len(ids) == cells
        return ids if tell else [f"{cell:06d}" for cell in range(cells)]

    def _columns(self, *, grouped: bool) -> SourceColumns:
        return source_columns(
            self.others,
            used=(),
            group=self.group_name if grouped else None,
            declare=by_option("groups"),
            without=Setting("groups", "none", reader=True),
        )

    def _notes(self, labels: Sequence[str], groups: Sequence[str] | None) -> list[Note]:
        if groups is None:
            return column_notes.of_groups(self.others, labels, remedies=self.remedies)
        return column_notes.of_crossing(
            self.others, labels, groups, taken=self.group_name, remedies=self.remedies
        )

    def _labels(
        self, file: str, cells: int, asked: Mapping[str, str] | str | None
    ) -> tuple[list[str], tuple[str, ...]]:
        values = column(self.columns["labels"], f"{file}: labels", cells, remedy=UNKNOWN)
        if values.dtype.kind == "f" and (values % 1 == 0).all():
            values = values.astype(np.int64)
        if values.dtype.kind not in "iuUO":
            raise DataError(f"{file}: labels of {values.dtype}; expected names or integers")
        class_names = new_labels(asked, {str(value) for value in values.tolist()})
        named = tuple(str(name) for name in self.facts.get("classes") or ())
        listed_classes = self.facts.get("classes") is not None
        if listed_classes and values.dtype.kind in "iu" and class_names is None:
            if values.min() < -1 or values.max() >= len(named):
                raise DataError(
                    f"{file}: labels {values.min()} .. {values.max()} for {len(named)} classes; "
                    f"expected 0 .. {len(named) - 1}, or -1 where not known"
                )
            return [named[value] if value >= 0 else "" for value in values.tolist()], named
        texts = [str(value) for value in values.tolist()]
        if listed_classes and values.dtype.kind in "iu":
            texts = ["" if text == "-1" else text for text in texts]
        if not self.of_ours:
            refuse_missing(texts, file, but={*named, *(class_names or ())})
        found = sorted(set(texts) - {""}, key=natural)
        if class_names is None:
            beyond = [text for text in found if named and text not in named]
            if beyond:
                raise DataError(f"{file}: labels that are not among its classes: {listed(beyond)}")
            return texts, named or tuple(found)
        unknown = [text for text in found if text not in class_names]
        if unknown:
            raise DataError(f"option class_names: no name for the label {listed(unknown)}")
        texts = [class_names.get(text, "") for text in texts]
        present = set(texts)
        return texts, tuple(n for n in dict.fromkeys(class_names.values()) if n in present)

    def _provenance(self, file: str) -> Provenance | None:
        if not self.facts.get("provenance"):
            return None
        try:
            return Provenance.from_facts(self.facts["provenance"])
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{file}: its provenance cannot be read: {error}") from None


def groups_of(values: Any, file: str, cells: int) -> list[str]:
    """The group of each cell as a text.

    Raises:
        DataError: not one a cell, or cells without one.
    """
    texts = as_texts(column(values, f"{file}: groups", cells, remedy=NO_GROUP))
    missing = sum(map(is_missing, texts))
    if missing:
        raise DataError(
            f"{file}: groups are missing for {missing} of {cells} cells: {NO_GROUP}", meant(texts)
        )
    return texts


def as_texts(values: NDArray[Any]) -> list[str]:
    """(N,) names or numbers as texts; whole numbers are written alike in every dtype."""
    if values.dtype.kind == "f":
        return [str(int(v)) if v.is_integer() else str(v) for v in values.tolist()]
    return [str(value) for value in values.tolist()]


def refuse_missing(texts: Sequence[str], file: str, *, but: Collection[str]) -> None:
    """Refuse labels of -1, NA and the like, which would become a class of their own.

    Args:
        texts: N labels.
        file: for the message.
        but: labels that somebody named as classes.

    Raises:
        DataError: there are such; how many cells have them.
    """
    words = sorted({text for text in texts if text == "-1" or (text and is_missing(text))})
    words = [word for word in words if word not in but]
    if words:
        count = sum(text in words for text in texts)
        raise DataError(
            f"{file}: labels of {count} of {len(texts)} cells are {listed(words)}, which says that "
            f"they are not known: {UNKNOWN}; a class that is really called so is named with ",
            Setting("class_names", f"{words[0]}=NAME,...", reader=True),
        )


def parted(facts: Any, file: str) -> Described:
    """Facts and columns of one mapping, as an OME-TIFF or OME-Zarr of ours holds them.

    Raises:
        DataError: not such a mapping, or of a later version.
    """
    if not isinstance(facts, dict) or not isinstance(facts.get("cells", {}), dict):
        raise DataError(f"{file}: what cellsearch wrote of its cells is damaged; convert it again")
    if facts.get("version", VERSION) != VERSION:
        raise DataError(
            f"{file}: written by a later cellsearch (version {facts['version']!r} of its facts, "
            f"this one reads {VERSION}); upgrade cellsearch"
        )
    columns = {name: facts["cells"][name] for name in COLUMNS if name in facts.get("cells", {})}
    return Described(columns, {key: facts[key] for key in facts if key != "cells"})
