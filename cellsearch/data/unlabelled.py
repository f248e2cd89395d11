"""Cells whose labels do not matter: images to classify, and files to convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.arrays import DTYPES
from cellsearch.data.dataset import CellDataset
from cellsearch.data.folder_walk import images_below, visible
from cellsearch.data.manifest import load_manifest
from cellsearch.data.readers import RawCells, plain
from cellsearch.data.readers.ome_tiff import holds_many, refuse_slices
from cellsearch.data.readers.options import parse_options
from cellsearch.data.readers.plain import lie_loose
from cellsearch.data.readers.registry import (
    BY_SUFFIX,
    is_zarr,
    layout,
    many_celled_in,
    option_names,
    options_of,
    with_fitting,
)
from cellsearch.data.source import is_path, load_dataset, refuse_of_manifests
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting
from cellsearch.util.named_path import named_path, require_utf8
from cellsearch.util.progress import Progress


def read_unlabelled(
    path: str | Path,
    *,
    channels: int | None,
    defaults: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Images without labels, or whose labels do not matter; not cached.

    Args:
        path: one image; a folder of images, however deep, or of channel files
            (``<id>_Ch<k>``; one such file stands for its cell when it holds one channel and more
            are needed); a ``.csv`` or ``.tsv`` table with a path column; or a file of many cells:
            ``.npz``, ``.h5``, OME-TIFF, OME-Zarr, ``.cif``, ``.rtdc``.
        channels: number of channels that the images must have; None takes what they have.
        defaults: options where none is given; those that the reader lacks are passed over.
        on_progress: told what is being done, how many are done, how many there are.
        reader_options: options of the reader, such as ``size="40x40"`` and ``codes="Ch3,Ch6"``.

    Returns:
        Cells with ``labels`` all ``UNLABELLED`` and no classes.

    Raises:
        ConfigError: an option is not known or does not fit.
        DataError: images that cannot be read, differ in size, or have other channels.
    """
    root = named_path(Path(path).expanduser())
    return _unlabelled(root, channels, defaults, on_progress, reader_options)


def _unlabelled(
    root: Path,
    channels: int | None,
    defaults: Mapping[str, Any] | None,
    on_progress: Progress | None,
    reader_options: dict[str, Any],
    *,
    dtype: str | None = None,
) -> CellDataset:
    """As ``read_unlabelled``; readers have an option that is called ``channels``, too."""
    require_utf8([str(root)])
    reader = _many_celled(root, reader_options)
    schema = plain.Options if reader is None else options_of(reader)
    known = {k: v for k, v in (defaults or {}).items() if k in schema.model_fields}
    reader_options = known | reader_options
    if reader is not None:
        # Readers without the option have labels in the names of files; nobody asks for them here.
        without = {"labelled": False} if "labelled" in schema.model_fields else {}
        raw = layout(reader, {**without, **reader_options}).read(root, on_progress)
        raw = replace(raw, labels=[""] * len(raw.labels), classes=None)
    else:
        asked = parse_options(plain.Options, reader_options, reader="prediction")
        raw = with_fitting(plain.read(root, channels, asked, on_progress))
    if dtype is not None:
        _refuse_other_dtype(root, raw, dtype)
    try:
        dataset = CellDataset.from_raw(raw)
    except DataError as error:
        raise DataError(f"{root}: ", error) from None
    if channels is not None and len(dataset.channels) != channels:
        raise DataError(
            f"{root}: {len(dataset.channels)} channels ({', '.join(dataset.channels)}), "
            f"but {channels} are needed"
        )
    return dataset


def _refuse_other_dtype(root: Path, raw: RawCells, dtype: str) -> None:
    """Refuse by the files' own dtype: a data set holds other numbers than these as float32."""
    held = np.dtype(raw.images.dtype if isinstance(raw.images, np.ndarray) else raw.images[0].dtype)
    held = held.newbyteorder("=")
    if held not in (*DTYPES, np.dtype(bool)) and dtype != str(np.dtype(np.float32)):
        raise DataError(
            f"{root}: images of {held}, and {dtype} is needed, as the card was trained on: give "
            f"the raw intensities of the same camera settings, saved as {dtype}"
        )


def _many_celled(root: Path, options: dict[str, Any]) -> str | None:
    """The reader of one file (or store) of many cells; None for images of one cell each."""
    if "layout" in options:
        return str(options.pop("layout"))
    if root.is_dir():
        return "ome_zarr" if is_zarr(root) else _of_files(root)
    reader = BY_SUFFIX.get(root.suffix.lower()) if root.is_file() else None
    if reader == "ome_tiff" and "axes" not in options:
        refuse_slices(root)
    # One cell of several pages is an image as any other.
    return None if reader == "ome_tiff" and not holds_many(root) else reader


def _of_files(root: Path) -> str | None:
    """The reader of a folder that holds files of many cells and no images; None of any other."""
    if images_below(root):
        return None
    return many_celled_in(root, *(each for each in visible(root) if each.is_dir()))


def cells_to_convert(
    name_or_path: str,
    *,
    variant: str | None = None,
    mirror: Path | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """As ``load_dataset``; a folder of images and nothing else is read too, without labels.

    Raises:
        ConfigError: a name, option or manifest is wrong.
        DataError: files cannot be had or read.
    """
    path = named_path(Path(name_or_path).expanduser())
    if is_path(name_or_path) and "layout" not in reader_options and lie_loose(path):
        refuse_of_manifests(variant, mirror)
        return _unlabelled(path, None, None, on_progress, reader_options)
    return load_dataset(
        name_or_path, variant=variant, mirror=mirror, on_progress=on_progress, **reader_options
    )


def _fit_of_prediction(error: DataError) -> Message:
    """What a reader says of its option ``fit``, which whoever predicts gives beside the options."""
    return Message.of(
        *(
            replace(part, reader=False)
            if isinstance(part, Setting) and part.name == "fit"
            else part
            for part in error.message.parts
        )
    )


def cells_to_predict(
    name_or_path: str,
    *,
    channels: Sequence[str],
    dtype: str | None = None,
    variant: str | None = None,
    mirror: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Images by path, or the cells of a data set by name, with a card's channels.

    A data set that has these channels among others gives them in this order. ``defaults`` are as in
    ``read_unlabelled``, and come before what a manifest says. ``dtype`` is that of the card.
    ``options`` are further options of the reader, such as its own ``channels``.

    Raises:
        ConfigError: a name or option is wrong.
        DataError: images cannot be read, or have other channels or numbers than the card takes.
    """
    reader_options |= dict(options or {})
    if is_path(name_or_path):
        refuse_of_manifests(variant, mirror)
        path = named_path(Path(name_or_path).expanduser())
        try:
            return _unlabelled(
                path, len(channels), defaults, on_progress, reader_options, dtype=dtype
            )
        except DataError as error:
            raise type(error)(_fit_of_prediction(error)) from None
    manifest = load_manifest(name_or_path).layout
    taken = option_names(manifest.reader)
    known = {name: value for name, value in (defaults or {}).items() if name in taken}
    if "size" not in known and "size" in manifest.options:
        # It says for its own size how crops are brought to it.
        known.pop("fit", None)
    cells = load_dataset(
        name_or_path,
        variant=variant,
        mirror=mirror,
        on_progress=on_progress,
        **(known | reader_options),
    )
    if cells.channels != tuple(channels) and set(channels) <= set(cells.channels):
        return cells.select_channels(channels)
    return cells
