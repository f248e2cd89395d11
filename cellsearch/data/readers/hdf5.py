"""One HDF5 file with a dataset of crops, and one value a cell in others; needs the extra hdf5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.catalog import near_miss
from cellsearch.data.arrays import MAX_CHANNELS, listed
from cellsearch.data.readers import Progress, RawCells, column_notes
from cellsearch.data.readers.options import ImageOptions, Renames
from cellsearch.data.readers.self_described import COLUMNS, KEY, Described, parted
from cellsearch.data.readers.spool import spooled_to_size
from cellsearch.data.readers.table_groups import no_groups
from cellsearch.errors import ConfigError, DataError, ReadError

CHUNK_BYTES = 16 * 2**20


class Options(ImageOptions):
    """Options of HDF5 crops: which dataset holds what."""

    images: str | None = Field(None, description="dataset of the crops; default: images")
    labels: str | None = Field(None, description="dataset of the labels; default: labels")
    ids: str | None = Field(None, description="dataset of the ids; default: ids")
    sources: str | None = Field(None, description="dataset of the sources; default: sources")
    object_numbers: str | None = Field(None, description="dataset; default: object_numbers")
    groups: str | None = Field(
        None, description="dataset of the groups; default: groups; none: no groups"
    )
    class_list: str | None = Field(None, description="dataset of class names; default: classes")
    channel_list: str | None = Field(None, description="dataset of channel names; def.: channels")
    layout_axes: Literal["auto", "NCHW", "NHWC"] = Field(
        "auto", description="what the axes of a four-dimensional dataset mean"
    )
    class_names: Renames | None = Field(None, description="0=basophil,1=eosinophil; in order")
    labelled: bool = Field(True, description="false: labels are neither needed nor read")


def files(root: Path, options: Options) -> list[Path]:
    """The file itself."""
    del options
    return [root]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read the crops in chunks of 16 MiB, and what the file says of each.

    Raises:
        ReadError: no such file, not HDF5, or truncated.
        DataError: a dataset that is not there or of an unfit shape; those there are are named.
        ConfigError: axes that cannot be told apart.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(
            "HDF5 crops need the extra 'hdf5': pip install 'cellsearch[hdf5]'"
        ) from None
    if not root.is_file():
        raise ReadError(f"{root}: no such file")
    try:
        with h5py.File(root, "r") as file:
            return _read(root, file, options, on_progress)
    except (OSError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ReadError(f"{root}: not an HDF5 file, or truncated ({reason})") from None


def _read(root: Path, file: Any, options: Options, on_progress: Progress | None) -> RawCells:
    shapes = _shapes(file)
    images = file[_images_name(root, shapes, options)]
    axes = _axes(root, images, options)
    without = no_groups(options.groups, list(shapes)) or not options.labelled
    names = {
        name: given
        for name in COLUMNS
        if (name != "groups" or not without)
        and (given := _wanted(root, shapes, getattr(options, name), name))
    }
    if not options.labelled:
        names.pop("labels", None)
    columns = {name: _values(root, file[given]) for name, given in names.items()}
    facts: dict[str, Any] = {}
    if KEY in file.attrs:
        facts = dict(parted(_json(root, file.attrs[KEY]), root.name).facts)
    for key, given in (("classes", options.class_list), ("channels", options.channel_list)):
        where = _wanted(root, shapes, given, key)
        if where:
            facts[key] = [str(value) for value in _values(root, file[where])]
    count = len(images)
    cells, fitting = spooled_to_size(_chunks(images, axes), count, options, root.name, on_progress)
    others: dict[str, list[str]] = {}
    if not without:
        left = {name for name, shape in shapes.items() if shape in ((count,), (count, 1))}
        for name in column_notes.group_like(left - set(names.values())):
            others[name] = [str(value) for value in _values(root, file[name])]
    remedies = {name: column_notes.option("groups", name) for name in others}
    return Described(columns, facts, others, remedies, names.get("groups", "")).raw(
        cells,
        file=root.name,
        stem=root.stem,
        channels=options.channels,
        class_names=options.class_names,
        labelled=options.labelled,
        fitting=fitting,
    )


def _shapes(file: Any) -> dict[str, tuple[int, ...]]:
    """Every dataset of the file, however deep, with its shape."""
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = tuple(item.shape or ())

    file.visititems(visit)
    return found


def _there(shapes: dict[str, tuple[int, ...]]) -> str:
    return listed([f"{name} {shape}" for name, shape in shapes.items()]) or "no datasets"


def _wanted(
    root: Path, shapes: dict[str, tuple[int, ...]], given: str | None, default: str
) -> str | None:
    if given is None:
        return default if default in shapes else None
    if given.strip("/") not in shapes:
        raise DataError(
            f"{root.name}: no dataset {given!r}{near_miss(given, shapes)}; "
            f"it holds {_there(shapes)}"
        )
    return given.strip("/")


def _images_name(root: Path, shapes: dict[str, tuple[int, ...]], options: Options) -> str:
    name = _wanted(root, shapes, options.images, "images")
    if name is None:
        fits = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
        if len(fits) != 1:
            raise DataError(
                f"{root.name}: no dataset 'images'; name the one of the crops with option images; "
                f"it holds {_there(shapes)}"
            )
        name = fits[0]
    if len(shapes[name]) not in (3, 4) or 0 in shapes[name]:
        raise DataError(
            f"{root.name}: dataset {name} of shape {shapes[name]}; expected (N, H, W), "
            "(N, C, H, W) or (N, H, W, C)"
        )
    return name


def _axes(root: Path, images: Any, options: Options) -> str:
    shape = images.shape
    if len(shape) == 3:
        return "NHW"
    if options.layout_axes != "auto":
        return options.layout_axes
    written = images.attrs.get("axes")
    if isinstance(written, bytes):
        written = written.decode()
    if written in ("NCHW", "NHWC"):
        return str(written)
    first, last = shape[1] <= MAX_CHANNELS, shape[3] <= MAX_CHANNELS
    if first == last:
        raise ConfigError(
            f"{root.name}: crops of shape {tuple(shape)}: give option layout_axes=NCHW or NHWC"
        )
    return "NCHW" if first else "NHWC"


def _chunks(images: Any, axes: str) -> Iterator[NDArray[Any]]:
    row = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(images), step):
        chunk = np.asarray(images[start : start + step])
        chunk = chunk.astype(chunk.dtype.newbyteorder("="), copy=False)
        if axes == "NHW":
            chunk = chunk[:, None]
        yield np.moveaxis(chunk, 3, 1) if axes == "NHWC" else chunk


def _values(root: Path, dataset: Any) -> list[Any]:
    shape = dataset.shape
    if len(shape) == 2 and shape[1] == 1:
        values = np.asarray(dataset[:, 0])
    elif len(shape) == 1:
        values = np.asarray(dataset[...])
    else:
        raise DataError(
            f"{root.name}: dataset {dataset.name.strip('/')} of shape {tuple(shape)}; "
            "expected one value a cell"
        )
    # Of another encoding a name stays a name, which is all that it is needed for.
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist()]


def _json(root: Path, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        raise DataError(f"{root.name}: its attribute {KEY} is not JSON") from None
