"""One ``.npz`` of arrays, as MedMNIST publishes, or with ``images`` and ``labels``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.axes import axes_of
from cellsearch.data.readers.options import Names, ReaderOptions, Renames, known_names, new_labels
from cellsearch.data.readers.self_described import (
    COLUMNS,
    KEY,
    Described,
    as_texts,
    groups_of,
    parted,
    refuse_missing,
)
from cellsearch.data.readers.stack import name_channels
from cellsearch.data.readers.table import no_groups
from cellsearch.errors import CellsearchError, ConfigError, DataError, ReadError
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Message, first_line
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

SPLITS = ("train", "val", "test")


LISTS = ("classes", "channels")


class Options(ReaderOptions):
    """Options of an ``.npz``."""

    layout_axes: Literal["auto", "NCHW", "NHWC"] = Field(
        "auto", description="what the axes of a four-dimensional array mean"
    )
    groups: str | None = Field(
        None, description="array of the groups; default: groups; none: no groups"
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

    Where the option names groups, ``train_NAME``, ``val_NAME`` and ``test_NAME`` are joined, too.
    Beside ``images`` and ``labels`` the arrays ``ids``, ``groups``, ``sources`` and
    ``object_numbers`` (a value a cell), ``classes`` and ``channels`` (names) are read; with
    ``classes``, labels are positions among them, -1 where a cell's is not known.

    Raises:
        ReadError: not an ``.npz``, truncated, damaged, or holding Python objects.
        DataError: keys missing, lengths or shapes that disagree, several labels a cell.
    """
    if on_progress:
        on_progress("reading arrays", 0, 1)
    try:
        # A file of our own is closed even where numpy gives up half-way.
        with root.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = _parts(root, list(archive.files), options)
            refuse_objects(root, archive, _read_in_full(archive, names, options))
            images = [whole(archive, f"{name}images") for name in names]
            if any(array.ndim == 0 for array in images):
                raise DataError(f"{root}: images holds one number; expected (N, C, H, W)")
            labels = [whole(archive, f"{n}labels") for n in names] if options.labelled else []
            counts = [len(array) for array in images]
            groups, others = None, {}  # type: tuple[NDArray[Any] | None, dict[str, list[str]]]
            if options.labelled:
                groups = groups_in(root, archive, names, counts, options.groups)
                others = group_like_in(archive, names, counts, options.groups)
            described = _described(root, archive, names, groups, others, options)
            written_axes = str(whole(archive, "axes")) if "axes" in archive.files else "auto"
    except FileNotFoundError:
        raise ReadError(f"{root}: no such file") from None
    except (CellsearchError, MemoryError):
        raise
    except Exception as error:  # zip and its codecs raise anything when bytes are changed
        raise ReadError(
            f"{root}: not an .npz of plain arrays, or truncated ({_reason(root, error)})"
        ) from None
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
    texts, notes = [""] * len(pixels), []  # type: tuple[list[str], list[Note]]
    renames = None
    if options.labelled:
        texts = _texts(root, names, images, labels)
        renames = new_labels(options.class_names, texts)
        refuse_missing(texts, root.name, but=renames or ())
    classes = sorted(set(texts), key=natural)
    if renames is not None:
        unknown = [text for text in classes if text not in renames]
        if unknown:
            raise DataError(f"option class_names: no name for the label {listed(unknown)}")
        texts = [renames[text] for text in texts]
        present = set(texts)
        classes = [name for name in dict.fromkeys(renames.values()) if name in present]
    declared = None
    if options.labelled:
        if groups is not None:
            declared = groups_of(groups, root.name, len(pixels))
        notes = notes_on(others, texts, declared, options.groups)
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
        groups=declared,
        classes=tuple(classes) if options.labelled else None,
        name=root.stem,
        provenance=Provenance().with_notes(*notes) if notes else None,
    )


def _reason(root: Path, error: Exception) -> str:
    """Why numpy gives up, without its advice to load objects of a file that is no archive."""
    with root.open("rb") as file:
        start = file.read(6)
    if not start:
        return "an empty file"
    if start == b"\x93NUMPY":
        return "its bytes are one array, as of an .npy: save it with np.savez(path, images=...)"
    if not start.startswith(b"PK"):
        return "its bytes are no zip archive"
    return first_line(error)


def _parts(root: Path, keys: list[str], options: Options) -> list[str]:
    """Prefixes of the arrays to join: ``["train_", "val_"]`` or ``[""]``."""
    there = [f"{split}_" for split in SPLITS if f"{split}_images" in keys]
    if options.use_split:
        splits = [name.removesuffix("_") for name in there]
        asked = known_names(options.use_split, splits, option="use_split", what="split")
        wanted = [f"{split}_" for split in asked or ()]
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


def _read_in_full(archive: Any, names: list[str], options: Options) -> list[str]:
    """Keys of the arrays that are read whatever else there is."""
    wanted = ("images", "labels") if options.labelled else ("images",)
    keys = [f"{name}{what}" for name in names for what in wanted]
    if names == [""]:
        keys += [key for key in COLUMNS if key not in (*keys, "groups") and key in archive.files]
    return keys


def _described(
    root: Path,
    archive: Any,
    names: list[str],
    groups: NDArray[Any] | None,
    others: dict[str, list[str]],
    options: Options,
) -> Described | None:
    """What stands beside images and labels; None where nothing does, and in parts."""
    if names != [""]:
        return None
    beside = [n for n in COLUMNS if n in archive.files and n not in ("labels", "groups")]
    columns = {name: decoded(whole(archive, name)) for name in beside}
    if groups is not None:
        columns["groups"] = groups
    if KEY not in archive.files:
        lists = {name: plain(archive, name) for name in LISTS if name in archive.files}
        named = {
            name: array.ravel().tolist() for name, array in lists.items() if array.dtype.kind == "U"
        }
        told = columns or named or others
        if not told:
            return None
        return Described(columns, named, others, remedies(others), options.groups or DEFAULT)
    try:
        facts = from_json(str(whole(archive, KEY)))
    except ValueError:
        raise DataError(f"{root.name}: its array {KEY} is not JSON; convert it again") from None
    known = parted(facts, root.name).facts
    return Described(columns, known, others, remedies(others), options.groups or DEFAULT)


def _channels_first(root: Path, pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim != 4:
        raise DataError(
            f"{root.name}: images of shape {pixels.shape}; expected (N, H, W) or (N, H, W, C)"
        )
    axes = axes_of(pixels.shape, axes, root.name)
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


DEFAULT = "groups"


def whole(archive: Any, key: str) -> NDArray[Any]:
    """An array of an open ``.npz``, which fills its part of the file to the last byte.

    Raises:
        ValueError: Python objects, no array, or a header that tells of more or fewer values.
        zipfile.BadZipFile: bytes that do not match their checksum.
    """
    shape, dtype, length = _header(archive, key)
    if dtype.hasobject:
        raise ValueError(f"array {key} holds Python objects")
    needed = math.prod(shape) * dtype.itemsize
    if length != needed:
        raise ValueError(f"array {key} has {length:,} bytes, its header declares {needed:,}")
    found: NDArray[Any] = archive[key]
    return found


def refuse_objects(root: Path, archive: Any, keys: Sequence[str]) -> None:
    """Refuse arrays of Python objects, which only running code from the file would read.

    Raises:
        ReadError: which arrays, and how each is saved so that it can be read; all at once.
    """
    found = []
    for key in keys:
        shape, dtype, _ = _header(archive, key)
        if not dtype.hasobject:
            continue
        if key.endswith("images"):
            how = (
                "crops of several sizes: pad them to one and save np.stack(crops), or save each as "
                "an image in a folder per class"
                if len(shape) == 1
                else "save it as numbers: images.astype(np.uint16), say"
            )
        else:
            how = f"save it as texts: np.array({key}, dtype=str), or as integers"
        found.append(f"{key} holds Python objects; {how} (its shape is {shape})")
    if found:
        raise ReadError(f"{root.name}: not an .npz of plain arrays: {'; '.join(found)}")


def _header(archive: Any, key: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and dtype of an array, and the bytes that follow its header."""
    names = set(archive.zip.namelist())
    member = f"{key}.npy" if f"{key}.npy" in names else key
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        return shape, dtype, archive.zip.getinfo(member).file_size - file.tell()


def groups_in(
    root: Path, archive: Any, names: Sequence[str], counts: Sequence[int], asked: str | None
) -> NDArray[Any] | None:
    """The groups of all parts, one after the other; None where there are none.

    Args:
        root: the file, for messages.
        archive: of ``np.load``.
        names: prefixes of the parts.
        counts: cells of each part.
        asked: name of the array without a prefix, ``none``, or None for ``groups``.

    Raises:
        DataError: an array that is not there, or in some parts alone, or not one group a cell.
    """
    bare = _bare(archive, names)
    if no_groups(asked, bare):
        return None
    name = asked or DEFAULT
    keys = [f"{part}{name}" for part in names]
    missing = [key for key in keys if key not in archive.files]
    if len(missing) == len(keys) and asked is None:
        return None
    if missing:
        hint = near_miss(name, bare) if len(missing) == len(keys) else ""
        parts = " of each part" if len(keys) > 1 else ""
        raise DataError(
            f"{root.name}: no array {listed(missing)}: give option groups the name of an array"
            f"{parts}{hint}, or none; there are {listed(sorted(bare))}"
        )
    found = []
    for key, count in zip(keys, counts, strict=True):
        refuse_objects(root, archive, [key])
        values = decoded(whole(archive, key))
        if values.shape not in ((count,), (count, 1)):
            raise DataError(
                f"{root.name}: {key} of shape {values.shape} for {count} images; expected one "
                "group a cell"
            )
        found.append(values.ravel())
    if len(found) == 1:
        return found[0]
    # Numbers in one part and texts in another would make two donors of one.
    return np.array([text for values in found for text in as_texts(values)])


def group_like_in(
    archive: Any, names: Sequence[str], counts: Sequence[int], asked: str | None
) -> dict[str, list[str]]:
    """Arrays of a value a cell that are called as donors or plates are, and that nobody reads."""
    bare = _bare(archive, names)
    if no_groups(asked, bare):
        return {}
    taken = {asked or DEFAULT, *(COLUMNS if list(names) == [""] else ())}
    found: dict[str, list[str]] = {}
    for name in column_notes.group_like(bare - taken):
        keys = [f"{part}{name}" for part in names]
        parts = [plain(archive, key) for key in keys if key in archive.files]
        if [part.shape for part in parts] in (
            [(n,) for n in counts],
            [(n, 1) for n in counts],
        ):
            found[name] = [text for part in parts for text in as_texts(part.ravel())]
    return found


def remedies(others: dict[str, list[str]]) -> dict[str, Message]:
    """How each of these arrays is declared."""
    return {name: column_notes.option("groups", name) for name in others}


def notes_on(
    others: dict[str, list[str]],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    asked: str | None,
) -> list[Note]:
    """What is told of arrays that look like groups."""
    how = remedies(others)
    if groups is None:
        return column_notes.of_groups(others, labels, remedies=how)
    return column_notes.of_crossing(others, labels, groups, taken=asked or DEFAULT, remedies=how)


def plain(archive: Any, key: str) -> NDArray[Any]:
    """An array that nobody asked for; an empty one where it holds Python objects."""
    try:
        return decoded(whole(archive, key))
    except ValueError:
        return np.empty(0)


def decoded(array: NDArray[Any]) -> NDArray[Any]:
    """Bytes as the texts they hold; anything else as it is."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _bare(archive: Any, names: Sequence[str]) -> set[str]:
    """Arrays of the parts, without ``train_``, ``val_`` and ``test_``."""
    return {
        key.removeprefix(part) for part in names for key in archive.files if key.startswith(part)
    }
