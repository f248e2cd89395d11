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
from cellsearch.data.readers import Progress, RawCells
from cellsearch.data.readers.folders import natural
from cellsearch.data.readers.options import Names, ReaderOptions, Renames
from cellsearch.data.readers.self_described import COLUMNS, KEY, Described, parted
from cellsearch.data.readers.stack import name_channels
from cellsearch.errors import ConfigError, DataError, ReadError

SPLITS = ("train", "val", "test")


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
            described = _described(root, archive, names)
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
        )
    texts = _texts(root, names, images, labels) if options.labelled else [""] * len(pixels)
    classes = sorted(set(texts), key=natural)
    if options.class_names is not None and options.labelled:
        renames = options.class_names
        unknown = [text for text in classes if text not in renames]
        if unknown:
            raise DataError(f"option class_names: no name for the label {listed(unknown)}")
        texts = [renames[text] for text in texts]
        present = set(texts)
        classes = [name for name in dict.fromkeys(renames.values()) if name in present]
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


def _described(root: Path, archive: Any, names: list[str]) -> Described | None:
    """What ``cellsearch convert`` wrote beside the arrays; None in other files."""
    if names != [""] or KEY not in archive.files:
        return None
    try:
        facts = json.loads(str(archive[KEY]))
    except ValueError:
        raise DataError(f"{root.name}: its array {KEY} is not JSON; convert it again") from None
    columns = {name: archive[name] for name in COLUMNS if name in archive.files}
    columns.pop("labels", None)
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
