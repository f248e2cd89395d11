"""CellDataset: single-cell crops with labels, memory-mapped and the same for every worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.data import arrays as rules
from cellsearch.data import relabel
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.registry import folder_reader, layout
from cellsearch.data.storage import read_folder, write_folder
from cellsearch.errors import DataError

UNLABELLED = -1
ARRAYS = ("images", "labels", "ids", "sources", "object_numbers")


@dataclass(frozen=True)
class Provenance:
    """What a reader of a result must know of where the cells came from."""

    title: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    synthetic: bool = False
    label_free: tuple[str, ...] = ()
    pixel_size_um: float | None = None
    notes: str = ""


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
        sha256: hex digest of images, labels, groups, ids, class and channel names.
        folder: where the arrays lie as ``.npy``; None until saved.
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
    sha256: str = ""
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        return (
            f"CellDataset({self.name!r}, {n} cells, {len(self.classes)} classes, "
            f"{c} x {h} x {w} {self.images.dtype}, sha256 {self.sha256[:12]})"
        )

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
        layout: rules.Axes = "NCHW",
    ) -> Self:
        """A data set from arrays in memory; they are not copied, so leave them as they are.

        Args:
            images: (N, H, W), (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``; uint8, uint16
                and float32 are kept, other numbers become float32 where it holds them (said in
                the notes), bool becomes uint8.
            labels: (N,) class names or integers; with ``classes``, integers are positions in it
                and -1 is "not known".
            classes: class names in order; by default the distinct labels, sorted.
            channels: C names; by default ``channel-1`` ... ``channel-C``.
            groups: (N,) donor, plate or slide, which a split never tears apart.
            ids: (N,) unique; by default the cell's position, ``000000`` ...
            name: short name.
            provenance: licence, citation and the like.
            sources: (N,) file of each cell.
            object_numbers: (N,) number of each cell in its file.
            layout: what the axes of a four-dimensional array mean.

        Raises:
            DataError: shapes that disagree, more than 12 channels, NaN or infinite pixels,
                labels that are not among the classes, ids given twice.
        """
        pixels, note = rules.to_images(images, layout)
        count, depth = pixels.shape[:2]
        names = rules.check_names(
            channels if channels is not None else [f"channel-{k + 1}" for k in range(depth)],
            "channel",
        )
        if len(names) != depth:
            raise DataError(
                f"{depth} channels in the images, but {len(names)} names: {', '.join(names)}"
            )
        if ids is None:
            ids = [f"{cell:06d}" for cell in range(count)]
        texts = rules.to_texts(ids, "ids", count)
        rules.check_unique(texts)
        rules.check_finite(pixels, texts)
        positions, class_names = rules.to_labels(labels, classes, count)
        origin = provenance or Provenance()
        if note:
            origin = replace(origin, notes=f"{origin.notes}\n{note}".strip())
        dataset = cls(
            name=name,
            images=rules.read_only(pixels),
            labels=rules.read_only(positions),
            classes=class_names,
            channels=names,
            ids=rules.read_only(texts),
            sources=rules.read_only(
                rules.to_texts([""] * count if sources is None else sources, "sources", count)
            ),
            object_numbers=rules.read_only(rules.to_numbers(object_numbers, count)),
            groups=None
            if groups is None
            else rules.read_only(rules.to_texts(groups, "groups", count)),
            provenance=origin,
        )
        return dataset._derive()

    @classmethod
    def from_raw(
        cls, raw: RawCells, *, name: str | None = None, provenance: Provenance | None = None
    ) -> Self:
        """What a reader found, checked and in the types of a data set."""
        unlabelled = not any(raw.labels)
        return cls.from_arrays(
            raw.images if isinstance(raw.images, np.ndarray) else np.stack(list(raw.images)),
            np.full(len(raw.labels), UNLABELLED) if unlabelled else list(raw.labels),
            classes=() if unlabelled else raw.classes,
            channels=raw.channels,
            groups=None if raw.groups is None else list(raw.groups),
            ids=list(raw.ids),
            name=name or rules.slug(raw.name),
            provenance=provenance,
            sources=list(raw.sources),
            object_numbers=list(raw.object_numbers),
        )

    @classmethod
    def from_folder(cls, path: str | Path, **options: Any) -> Self:
        """Read a folder with a folder per class, of whole images or of channel files.

        Args:
            path: ``path/<class>/<image>`` or ``path/<class>/<id>_Ch<k>.tif``.
            options: of the reader, such as ``size="40x40"``, ``fit="pad"``, ``classes=[...]``.

        Raises:
            ConfigError: an option is not known or does not fit.
            DataError: no class folders, an empty one, images that cannot be read or differ.
        """
        reader = layout(folder_reader(Path(path)), options)
        return cls.from_raw(reader.read(Path(path)))

    @classmethod
    def from_table(cls, path: str | Path, **options: Any) -> Self:
        """Read the images that a CSV or TSV table names, a row a cell.

        Args:
            path: the table; paths in it are relative to its folder.
            options: of the reader, such as ``path_column="file"``, ``label_column="phase"``.

        Raises:
            ConfigError: an option is not known, or a column is not there or ambiguous.
            DataError: a row without label or file, images that cannot be read or differ.
        """
        return cls.from_raw(layout("table", options).read(Path(path)))

    def _derive(self, **changes: Any) -> Self:
        changed = replace(self, **changes, folder=None)
        header = {"classes": changed.classes, "channels": changed.channels}
        parts: list[NDArray[Any]] = [changed.images, changed.labels, changed.ids]
        if changed.groups is not None:
            header["groups"] = ("yes",)
            parts.append(changed.groups)
        return replace(changed, sha256=rules.digest(header, parts))

    def save(self, folder: str | Path) -> Self:
        """Write the arrays as ``.npy`` beside a ``dataset.json``, whole or not at all.

        Returns:
            The same data set, memory-mapped from ``folder``.

        Raises:
            DataError: the disk is full, or ``folder`` holds something else.
        """
        arrays = {name: getattr(self, name) for name in ARRAYS}
        if self.groups is not None:
            arrays["groups"] = self.groups
        description = {
            "name": self.name,
            "sha256": self.sha256,
            "shape": list(self.images.shape),
            "dtype": str(self.images.dtype),
            "classes": list(self.classes),
            "channels": list(self.channels),
            "provenance": asdict(self.provenance),
        }
        write_folder(Path(folder), arrays, description)
        return self.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Memory-map a saved data set; nothing is read but the description.

        Raises:
            DataError: no data set there, or a file is missing, truncated or of another version.
        """
        path = Path(folder).resolve()
        description, arrays = read_folder(path, ARRAYS)
        try:
            origin = dict(description["provenance"])
            origin["label_free"] = tuple(origin.get("label_free", ()))
            return cls(
                name=description["name"],
                classes=tuple(description["classes"]),
                channels=tuple(description["channels"]),
                provenance=Provenance(**origin),
                sha256=description["sha256"],
                folder=path,
                groups=arrays.get("groups"),
                **{name: arrays[name] for name in ARRAYS},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}/dataset.json describes no data set: {error!r}") from error

    def select_channels(self, names: Sequence[str]) -> Self:
        """Keep the named channels, in the order given.

        Raises:
            DataError: a name that is not among the channels, or none, or twice.
        """
        wanted = rules.check_names(names, "channel")
        unknown = [name for name in wanted if name not in self.channels]
        if unknown or not wanted:
            raise DataError(
                f"no channel {rules.listed(unknown) or 'is named'}; "
                f"{self.name} has {', '.join(self.channels)}"
            )
        if wanted == self.channels:
            return self
        picked = [self.channels.index(name) for name in wanted]
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
        return self._derive(
            images=rules.read_only(self.images[picked]),
            labels=rules.read_only(self.labels[picked]),
            ids=rules.read_only(self.ids[picked]),
            sources=rules.read_only(self.sources[picked]),
            object_numbers=rules.read_only(self.object_numbers[picked]),
            groups=None if self.groups is None else rules.read_only(self.groups[picked]),
        )
