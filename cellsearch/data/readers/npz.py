"""One ``.npz`` of arrays, as MedMNIST publishes, or with ``images`` and ``labels``."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import MAX_CHANNELS, listed
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import Progress, RawCells, column_notes
from cellsearch.data.readers.folders import natural
from cellsearch.data.readers.options import Names, ReaderOptions, Renames
from cellsearch.data.readers.self_described import COLUMNS, KEY, Described, parted, refuse_missing
from cellsearch.data.readers.stack import name_channels
from cellsearch.errors import ConfigError, DataError, ReadError

SPLITS = ("train", "val", "test")
LISTS = ("classes", "channels")
DECLARE = "to declare them, save it as the array groups, beside images and labels"


class Options(ReaderOptions):
    """Options of an ``.npz``."""

    layout_axes: Literal["auto", "NCHW", "NHWC"] = Field(
        "auto", description="what the axes of a four-dimensional array mean"
    )
    use_split: Names | None = Field(None, description="train, val, test; default: all that exist")
    class_names: Renames | None = Field(None, description="0=basophil,1=eosinophil; in order")
    labelled: bool = Field(True, description="false: labels are neither needed nor read")


def files(root: Path, options: Options) -> list[Path]:
    """The file itself."""
    del options
    return [root]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Join ``train_``, ``val_`` and ``test_images`` with their labels, or take ``images``.

    Beside ``images`` and ``labels`` the arrays ``ids``, ``groups``, ``sources`` and
    ``object_numbers`` (a value a cell), ``classes`` and ``channels`` (names) are read; with
    ``classes``, labels are positions among them, -1 where a cell's is not known.

    Raises:
        ReadError: not an ``.npz``, truncated, or holding Python objects.
        DataError: keys missing, lengths or shapes that disagree, several labels a cell.
    """
    if on_progress:
        on_progress("reading arrays", 0, 1)
    try:
        # A file of our own is closed even where numpy gives up half-way.
        with root.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = _parts(root, list(archive.files), options)
            images = [archive[f"{name}images"] for name in names]
            labels = [archive[f"{name}labels"] for name in names] if options.labelled else []
            counts = [len(array) for array in images]
            others = _group_like(archive, names, counts) if options.labelled else {}
            described = _described(root, archive, names, others)
            written_axes = str(archive["axes"]) if "axes" in archive.files else "auto"
    except FileNotFoundError:
        raise ReadError(f"{root}: no such file") from None
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ReadError(f"{root}: not an .npz of plain arrays, or truncated ({error})") from None
    shapes = {(array.dtype.str, *array.shape[1:]) for array in images}
    if len(shapes) > 1:
        raise DataError(f"{root.name}: images of different shapes or dtypes: {sorted(shapes)}")
    joined = np.concatenate(images) if len(images) > 1 else images[0]
    axes = options.layout_axes if options.layout_axes != "auto" else written_axes
    pixels = _channels_first(root, joined, axes)
    if described is not None:
        if options.labelled:
            described.columns["labels"] = np.concatenate(labels).ravel()
        return described.raw(
            pixels,
            file=root.name,
            stem=root.stem,
            channels=options.channels,
            class_names=options.class_names,
            labelled=options.labelled,
            colour=not described.of_ours,
        )
    texts, notes = [""] * len(pixels), []  # type: tuple[list[str], list[str]]
    if options.labelled:
        texts = _texts(root, names, images, labels)
        refuse_missing(texts, root.name, but=options.class_names or ())
    classes = sorted(set(texts), key=natural)
    if options.class_names is not None and options.labelled:
        renames = options.class_names
        unknown = [text for text in classes if text not in renames]
        if unknown:
            raise DataError(f"option class_names: no name for the label {listed(unknown)}")
        texts = [renames[text] for text in texts]
        present = set(texts)
        classes = [name for name in dict.fromkeys(renames.values()) if name in present]
    if options.labelled:
        remedies = dict.fromkeys(others, f"{DECLARE} of all splits together")
        notes = column_notes.of_groups(others, texts, remedies=remedies)
    numbers = [number for array in images for number in range(len(array))]
    owners = [name for name, array in zip(names, images, strict=True) for _ in array]
    channels = name_channels(options.channels, pixels.shape[1], colour=True)
    return RawCells(
        images=pixels,
        labels=texts,
        ids=[
            f"{owner.replace('_', '/')}{number:06d}"
            for owner, number in zip(owners, numbers, strict=True)
        ],
        sources=[root.name] * len(pixels),
        object_numbers=numbers,
        channels=channels,
        classes=tuple(classes) if options.labelled else None,
        name=root.stem,
        provenance=Provenance().with_notes(*notes) if notes else None,
    )


def _parts(root: Path, keys: list[str], options: Options) -> list[str]:
    """Prefixes of the arrays to join: ``["train_", "val_"]`` or ``[""]``."""
    there = [f"{split}_" for split in SPLITS if f"{split}_images" in keys]
    if options.use_split:
        wanted = [f"{split}_" for split in options.use_split]
        missing = [name for name in wanted if name not in there]
        if missing:
            raise ConfigError(
                f"option use_split: {root.name} has no {listed([m[:-1] for m in missing])}; "
                f"there are {', '.join(name[:-1] for name in there) or 'no splits'}"
            )
        there = wanted
    names = there or [""]
    needed = [f"{name}{what}" for name in names for what in ("images", "labels")]
    if not options.labelled:
        needed = [key for key in needed if key.endswith("images")]
    missing = [key for key in needed if key not in keys]
    if missing:
        raise DataError(
            f"{root.name}: no array {listed(missing)}; expected images and labels, or "
            f"train_images, train_labels, ...; it holds {listed(keys) or 'nothing'}"
        )
    return names


def _group_like(archive: Any, names: list[str], counts: list[int]) -> dict[str, list[str]]:
    """Arrays of a value a cell that are called as donors or plates are, and that nobody reads."""
    first = names[0]
    bare = {key.removeprefix(first) for key in archive.files if key.startswith(first)}
    found: dict[str, list[str]] = {}
    for name in column_notes.group_like(bare - (set(COLUMNS) if first == "" else set())):
        keys = [f"{part}{name}" for part in names]
        parts = [_values(archive, key) for key in keys if key in archive.files]
        if [part.shape for part in parts] in (
            [(n,) for n in counts],
            [(n, 1) for n in counts],
        ):
            found[name] = [str(value) for part in parts for value in part.ravel().tolist()]
    return found


def _values(archive: Any, key: str) -> NDArray[Any]:
    """An array that nobody asked for; an empty one where it holds Python objects."""
    try:
        return _decoded(archive[key])
    except ValueError:
        return np.empty(0)


def _decoded(array: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _described(
    root: Path, archive: Any, names: list[str], others: dict[str, list[str]]
) -> Described | None:
    """What stands beside images and labels; None where nothing does, and in parts."""
    if names != [""]:
        return None
    beside = [name for name in COLUMNS if name in archive.files and name != "labels"]
    columns = {name: _decoded(archive[name]) for name in beside}
    if KEY not in archive.files:
        lists = {name: _values(archive, name) for name in LISTS if name in archive.files}
        named = {
            name: array.ravel().tolist() for name, array in lists.items() if array.dtype.kind == "U"
        }
        told = columns or named or others
        return Described(columns, named, others, dict.fromkeys(others, DECLARE)) if told else None
    try:
        facts = json.loads(str(archive[KEY]))
    except ValueError:
        raise DataError(f"{root.name}: its array {KEY} is not JSON; convert it again") from None
    return Described(columns, parted(facts, root.name).facts)


def _channels_first(root: Path, pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim != 4:
        raise DataError(
            f"{root.name}: images of shape {pixels.shape}; expected (N, H, W) or (N, H, W, C)"
        )
    if axes not in ("NCHW", "NHWC"):
        first, last = pixels.shape[1] <= MAX_CHANNELS, pixels.shape[3] <= MAX_CHANNELS
        if first == last:
            raise ConfigError(
                f"{root.name}: images of shape {pixels.shape}: give option layout_axes=NCHW or NHWC"
            )
        axes = "NCHW" if first else "NHWC"
    return pixels if axes == "NCHW" else np.ascontiguousarray(np.moveaxis(pixels, 3, 1))


def _texts(
    root: Path, names: list[str], images: list[NDArray[Any]], labels: list[NDArray[Any]]
) -> list[str]:
    texts: list[str] = []
    for name, pixels, values in zip(names, images, labels, strict=True):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.shape != (len(pixels),):
            raise DataError(
                f"{root.name}: {name}labels of shape {values.shape} for {len(pixels)} images; "
                "expected one label a cell"
            )
        if values.dtype.kind == "f" and (values % 1 == 0).all():
            values = values.astype(np.int64)
        if values.dtype.kind not in "iuU":
            raise DataError(
                f"{root.name}: {name}labels of {values.dtype}; expected names or integers"
            )
        texts += [str(value) for value in values.tolist()]
    return texts
