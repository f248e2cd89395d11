"""CellDataset: single-cell crops with labels, memory-mapped and the same for every worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.data import arrays as rules
from cellsearch.data import relabel
from cellsearch.data.arrays import digest
from cellsearch.data.checked_arrays import checked
from cellsearch.data.file_traits import TraitTable, as_stored
from cellsearch.data.notes import Note, NoteKind
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.registry import folder_reader, layout
from cellsearch.data.source_columns import SourceColumns
from cellsearch.data.storage import read_folder, write_folder
from cellsearch.data.thumbnails import chosen_rows, colour_blocks, scaled
from cellsearch.errors import DataError
from cellsearch.util.html import Markup, block, line, note, picture, side_by_side, table
from cellsearch.util.named_path import named_path, require_nameable
from cellsearch.util.tables import Table

if TYPE_CHECKING:
    from anndata import AnnData


__all__ = ["ARRAYS", "CellDataset", "Provenance"]


@dataclass(frozen=True, eq=False)
class CellDataset:
    """Single-cell crops, their labels, and what ties them to their source.

    Attributes:
        name: short name, as in ``--dataset NAME``.
        images: (N, C, H, W), uint8, uint16 or float32; read-only, usually memory-mapped.
        labels: (N,) int64 in ``0 .. len(classes) - 1``; ``UNLABELLED`` (-1) where not known.
        classes: class names, in the order of the labels.
        channels: C channel names.
        ids: (N,) str, unique.
        sources: (N,) str, file each cell was read from, relative to the dataset's root.
        object_numbers: (N,) int64, the cell's number in its source (0 where there is none).
        groups: (N,) str, donor, plate, slide or montage; None where cells are independent.
        provenance: licence, citation and the like.
        columns: what the source calls the groups, and what could be the groups instead.
        sha256: hex digest of images, labels, groups, ids, class and channel names.
        folder: where the arrays lie as ``.npy``; None until saved.
        file_traits: (N,) how the files of each cell were saved, see ``FileTraits``; None where
            cells have no files of their own. Not part of the digest.
    """

    name: str
    images: NDArray[Any]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    ids: NDArray[np.str_]
    sources: NDArray[np.str_]
    object_numbers: NDArray[np.int64]
    groups: NDArray[np.str_] | None = None
    provenance: Provenance = field(default_factory=Provenance)
    columns: SourceColumns = field(default_factory=SourceColumns)
    sha256: str = ""
    folder: Path | None = None
    file_traits: TraitTable | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        return (
            f"CellDataset({self.name!r}, {n} cells, {len(self.classes)} classes, "
            f"{c} x {h} x {w} {self.images.dtype}, sha256 {self.sha256[:12]})"
        )

    def _repr_html_(self) -> str:

        return dataset_html(self)

    def notes_of(self, kind: NoteKind) -> tuple[Note, ...]:
        """What the reader noted of one kind, such as ``ignored-files`` or ``crop-sizes``."""
        return tuple(each for each in self.provenance.reader_notes if each.kind == kind)

    @property
    def group_notes(self) -> tuple[Note, ...]:
        """Columns that could be the groups; where cells have groups, those that lie across them."""
        return self.notes_of("undeclared-groups" if self.groups is None else "crossing-groups")

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K,) int64 cells of each class."""
        known = self.labels[self.labels >= 0]
        return np.bincount(known, minlength=len(self.classes)).astype(np.int64)

    @classmethod
    def from_arrays(
        cls,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        classes: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        ids: ArrayLike | None = None,
        name: str = "custom",
        provenance: Provenance | None = None,
        sources: ArrayLike | None = None,
        object_numbers: ArrayLike | None = None,
        layout: rules.Layout = "auto",
    ) -> Self:
        """A data set from arrays in memory; they are not copied, so leave them as they are.

        Args:
            images: (N, H, W), (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``; uint8, uint16
                and float32 are kept, other numbers become float32 where it holds them (said in
                the notes), bool becomes uint8. A list of (h, w) or (C, h, w) of several sizes is
                brought to one as the readers do it, which a note says.
            labels: (N,) class names, integers, or true and false; with ``classes``, integers are
                positions in it and -1 is "not known".
            classes: list of class names in order; by default the distinct labels, sorted.
            channels: C names; by default ``channel-1`` ... ``channel-C``.
            groups: (N,) donor, plate or slide, which a split never tears apart.
            ids: (N,) unique; by default the cell's position, ``000000`` ...
            name: short name.
            provenance: licence, citation and the like.
            sources: (N,) file of each cell.
            object_numbers: (N,) number of each cell in its file.
            layout: what the axes of a four-dimensional array mean; ``auto``: (N, C, H, W), and
                what may as well be (N, H, W, C), as (9, 12, 12, 3), is refused.

        Raises:
            DataError: shapes that disagree or may be read in two ways, more than 12 channels, NaN,
                infinite or masked pixels, labels or groups that are missing for a cell (None, NaN,
                NA, masked), labels that are not among the classes, ids given twice.

        Example:
            >>> images = np.zeros((4, 2, 32, 32), np.uint16)
            >>> cells = CellDataset.from_arrays(images, ["a", "a", "b", "b"])
        """
        found = checked(
            images,
            labels,
            classes=classes,
            channels=channels,
            groups=groups,
            ids=ids,
            name=name,
            provenance=provenance or Provenance(),
            sources=sources,
            object_numbers=object_numbers,
            layout=layout,
        )
        return cls(**found)._derive()

    @classmethod
    def from_raw(
        cls, raw: RawCells, *, name: str | None = None, provenance: Provenance | None = None
    ) -> Self:
        """What a reader found, checked and in the types of a data set; raises as above."""
        labels, classes = rules.to_known(raw.labels, raw.classes)
        found = cls.from_arrays(
            raw.images if isinstance(raw.images, np.ndarray) else np.stack(list(raw.images)),
            labels,
            classes=classes,
            channels=raw.channels,
            groups=None if raw.groups is None else list(raw.groups),
            ids=list(raw.ids),
            name=name or rules.slug(raw.name),
            provenance=provenance or raw.provenance,
            sources=list(raw.sources),
            object_numbers=list(raw.object_numbers),
            layout="NCHW",
        )
        return replace(found, columns=raw.columns, file_traits=raw.file_traits)

    @classmethod
    def from_folder(cls, path: str | Path, **options: Any) -> Self:
        """Read a folder with a folder per class, of whole images or of channel files.

        Args:
            path: ``path/<class>/<image>`` or ``path/<class>/<id>_Ch<k>.tif``.
            options: of the reader, such as ``size="40x40"``, ``fit="shrink"``, ``classes=[...]``.

        Raises:
            ConfigError: an option is not known or does not fit.
            DataError: no class folders, an empty one, images that cannot be read or differ.

        Example:
            >>> cells = CellDataset.from_folder("cells", size="40x40", fit="shrink")
        """
        place = named_path(Path(path))
        reader = layout(folder_reader(place), options)
        return cls.from_raw(reader.read(place))

    @classmethod
    def from_table(cls, path: str | Path, **options: Any) -> Self:
        """Read the images that a CSV or TSV table names, a row a cell.

        Args:
            path: the table; paths in it are relative to its folder.
            options: of the reader, such as ``path_column="file"``, ``label_column="phase"``.

        Raises:
            ConfigError: an option is not known, or a column is not there or ambiguous.
            DataError: a row without label or file, images that cannot be read or differ.

        Example:
            >>> cells = CellDataset.from_table("cells/labels.csv", label_column="phase")
        """
        return cls.from_raw(layout("table", options).read(named_path(Path(path))))

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        *,
        images: str = "images",
        label_key: str | None = None,
        group_key: str | None = None,
        shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        source_key: str | None = None,
        number_key: str | None = None,
        name: str = "anndata",
        provenance: Provenance | None = None,
    ) -> Self:
        """A data set from an AnnData object; ids are its ``obs_names``. Needs the extra anndata.

        Args:
            adata: N observations, a cell each.
            images: key in ``obsm`` of (N, C, H, W) or (N, H, W) pixels, or of rows of C * H * W
                with ``shape``; ``"X"`` takes ``adata.X``.
            label_key: column of ``obs`` with the classes; missing ones are "not known".
            group_key: column of ``obs`` with donor, plate or slide.
            shape: (C, H, W) or (H, W) of flattened crops.
            classes: class names in order; by default the categories, or the labels sorted.
            channels: C names; by default ``adata.uns["channels"]``, else ``channel-1`` ...
            source_key: column of ``obs`` with each cell's file.
            number_key: column of ``obs`` with each cell's number in its file.
            name: short name.
            provenance: licence, citation and the like.

        Raises:
            DataError: a key that is not there, a shape that does not fit, or as ``from_arrays``.

        Example:
            >>> adata = anndata.read_h5ad("cells.h5ad")
            >>> cells = CellDataset.from_anndata(adata, images="crops", label_key="cell_type")
        """
        from cellsearch.data.from_anndata import arguments

        found = arguments(
            adata,
            images=images,
            shape=shape,
            keys={
                "labels": label_key,
                "groups": group_key,
                "sources": source_key,
                "object_numbers": number_key,
            },
            classes=classes,
            channels=channels,
            provenance=provenance or Provenance(),
        )
        columns = found.pop("columns")
        return replace(cls.from_arrays(**found, name=name), columns=columns)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        every = {name: getattr(self, name) for name in (*ARRAYS, "groups", "file_traits")}
        return {name: array for name, array in every.items() if array is not None}

    def _derive(self, **changes: Any) -> Self:
        changed = replace(self, **changes, folder=None)
        return replace(changed, sha256=sha256_of(changed))

    def save(self, folder: str | Path) -> Self:
        """Write the arrays as ``.npy`` beside a ``dataset.json``, whole or not at all.

        Returns:
            The same data set, memory-mapped from ``folder``.

        Raises:
            DataError: the disk is full, or ``folder`` holds something else.
        """
        write_folder(Path(folder), self._arrays() | self.columns.arrays(), described(self))
        return self.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Memory-map a saved data set; nothing is read but the description.

        Raises:
            DataError: no data set there, or a file is missing, truncated or of another version.
        """
        require_nameable(Path(folder))
        return cls(**fields_in(Path(folder).resolve()))

    def select_channels(self, names: Sequence[str]) -> Self:
        """Keep the named channels, in the order given.

        Raises:
            DataError: a name that is not among the channels, or none, or twice.
        """
        wanted, picked = rules.to_channels(names, self.channels, self.name)
        if wanted == self.channels:
            return self
        free = tuple(name for name in self.provenance.label_free if name in wanted)
        return self._derive(
            images=rules.read_only(self.images[:, picked]),
            channels=wanted,
            provenance=replace(self.provenance, label_free=free),
        )

    def merge_classes(self, merge: Mapping[str, Sequence[str]]) -> Self:
        """Give several classes one name, ``{"interphase": ["G1", "S", "G2"]}``.

        The merged class stands where the first of its members stood.

        Raises:
            DataError: a member that is no class or is named twice, or a name already borne.
        """
        classes, lookup = relabel.merged(self.classes, merge)
        return self._derive(labels=rules.read_only(lookup[self.labels]), classes=classes)

    def drop_classes(self, names: Sequence[str]) -> Self:
        """Leave out the cells of the named classes, and the classes themselves.

        Raises:
            DataError: a name that is not a class, or no class or cell would be left.
        """
        classes, lookup = relabel.without(self.classes, names)
        labels = lookup[self.labels]
        kept = labels != relabel.DROPPED
        rest = self.subset(np.flatnonzero(kept))
        return rest._derive(labels=rules.read_only(labels[kept]), classes=classes)

    def subset(self, indices: ArrayLike) -> Self:
        """The cells at ``indices`` (int, (M,), in that order); classes stay, even if empty.

        Raises:
            DataError: no index, an index twice, or one beyond the cells.
        """
        picked = rules.to_indices(indices, len(self))
        held = self._arrays().items()
        return self._derive(
            columns=self.columns.subset(picked),
            **{name: rules.read_only(array[picked]) for name, array in held},
        )


ARRAYS = ("images", "labels", "ids", "sources", "object_numbers")


def described(cells: CellDataset) -> dict[str, Any]:
    """All that is no array, as plain values."""
    return {
        "name": cells.name,
        "sha256": cells.sha256,
        "shape": list(cells.images.shape),
        "dtype": str(cells.images.dtype),
        "classes": list(cells.classes),
        "channels": list(cells.channels),
        "provenance": asdict(cells.provenance),
        "columns": cells.columns.described(),
    }


def sha256_of(cells: CellDataset) -> str:
    """Hex sha256 of pixels, labels, ids, groups, and the names of classes and channels."""
    header = {"classes": cells.classes, "channels": cells.channels}
    parts = [cells.images, cells.labels, cells.ids]
    if cells.groups is not None:
        header["groups"] = ("yes",)
        parts.append(cells.groups)
    return digest(header, parts)


def require_unchanged(cells: CellDataset) -> None:
    """Refuse arrays in memory that are no more what they were.

    Raises:
        DataError: their digest is another one than when the data set was made of them.
    """
    if sha256_of(cells) != cells.sha256:
        raise DataError(
            f"{cells.name}: its arrays were changed after the data set was made of them; make it "
            "anew from the arrays that are meant, or from a copy"
        )


def fields_in(folder: Path) -> dict[str, Any]:
    """The fields of the data set that ``folder`` holds; its arrays are memory-mapped.

    Raises:
        DataError: no data set there, or a file is missing, truncated or of another version.
    """
    description, arrays = read_folder(folder, ARRAYS)
    try:
        return {
            "name": description["name"],
            "classes": tuple(description["classes"]),
            "channels": tuple(description["channels"]),
            "provenance": Provenance.from_facts(description["provenance"]),
            "columns": _columns(description, arrays),
            "sha256": description["sha256"],
            "folder": folder,
            "groups": arrays.get("groups"),
            "file_traits": as_stored(arrays.get("file_traits")),
            **{name: arrays[name] for name in ARRAYS},
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder}/dataset.json describes no data set: {error!r}") from error


def _columns(description: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SourceColumns:
    """Those saved; none of a data set that was saved before there were any."""
    if "columns" not in description:
        return SourceColumns()
    return SourceColumns.from_described(description["columns"], arrays)


CELLS = 6


CLASSES = 20


BLOCKS = 4


SIDE = 48
"""Height of a thumbnail on the page, px."""


LARGEST = 2 * SIDE
"""Most pixels of a thumbnail's side; larger crops are made smaller, so that a page stays light."""


def dataset_html(dataset: CellDataset) -> str:
    """Counts and a few cells of each class, a column for each channel."""
    _, channels, height, width = dataset.images.shape
    facts = dataset.provenance
    made = ", generated, not real cells" if facts.synthetic else ""
    title = f"{dataset.name}: {len(dataset):,} cells{made}"
    about = (
        f"{channels} x {height} x {width} px (channels x height x width), {dataset.images.dtype}"
    )
    if facts.pixel_size_um:
        about += f", {facts.pixel_size_um:g} um a pixel"
    if dataset.groups is not None:
        about += f", {len(np.unique(dataset.groups)):,} groups"
    rows = chosen_rows(dataset, CELLS, seed=0)
    shown, hidden = rows[:CLASSES], rows[CLASSES:]
    blocks = colour_blocks(dataset)
    columns = [_thumbnails(dataset, shown, planes, name) for name, planes in blocks[:BLOCKS]]
    headers = ["class", "cells", "share", *(name for name, _ in blocks[:BLOCKS])]
    body = []
    for place, (title_of_row, _) in enumerate(shown):
        name, _, count = title_of_row.rpartition("\n")
        share = 100 * int(count.replace(",", "")) / max(1, len(dataset))
        body.append([name, count, f"{share:.1f} %", *(column[place] for column in columns)])
    parts = [line(about), table(Table.of(headers, body, numbers=(1, 2)))]
    if hidden:
        parts.append(note(f"and {len(hidden):,} more classes"))
    if len(blocks) > BLOCKS:
        names = ", ".join(name for name, _ in blocks[BLOCKS:])
        parts.append(note(f"channels not shown: {names}"))
    cited = " · ".join(text for text in (facts.licence, facts.citation) if text)
    if cited:
        parts.append(note(cited))
    return block(title, *parts)


def _thumbnails(
    dataset: CellDataset, rows: list[tuple[str, NDArray[np.int64]]], planes: list[int], channel: str
) -> list[Markup]:
    """The cells of each row side by side; contrast is the same for all rows."""
    from PIL import Image

    cells = np.concatenate([cells for _, cells in rows])
    step = max(1, -(-max(dataset.images.shape[2:]) // LARGEST))
    # A memory map gives only the cells, planes and lines that are shown.
    images = np.asarray(dataset.images[cells[:, None], planes][..., ::step, ::step])
    pictures = (scaled(images) * 255).round().astype(np.uint8)
    found, at = [], 0
    for title, members in rows:
        tiles = []
        for pixels in pictures[at : at + len(members)]:
            png = BytesIO()
            Image.fromarray(pixels).save(png, "PNG", optimize=True)
            says = f"{_name(title)}, {channel}"
            tiles.append(picture(png.getvalue(), says=says, height=SIDE))
        at += len(members)
        found.append(side_by_side(tiles))
    return found


def _name(title: str) -> str:
    """The class in the title of a row, which ends with its number of cells."""
    return title.rpartition("\n")[0]
