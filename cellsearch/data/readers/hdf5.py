"""One HDF5 file with a dataset of crops, and one value a cell in others; needs the extra hdf5."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.hdf5_gaps import (
    companions,
    filled_with,
    found_beside,
    gaps,
    locked,
    missing_filters,
    why_not_opened,
)
from cellsearch.data.hdf5_probe import fatal
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.axes import axes_of
from cellsearch.data.readers.options import ImageOptions, Renames
from cellsearch.data.readers.self_described import COLUMNS, KEY, Described, parted
from cellsearch.data.readers.spool import spooled_to_size
from cellsearch.data.readers.table import no_groups
from cellsearch.errors import DataError, ReadError
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting, first_line
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

CHUNK_BYTES = 16 * 2**20
GAPS_REMEDY = (
    "bring back what is missing, or leave these cells out; where that value is meant, write it"
)


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


@dataclass(frozen=True)
class _Contents:
    """Datasets of a file by name, with their shapes, and names whose link leads nowhere."""

    shapes: dict[str, tuple[int, ...]]
    dangling: dict[str, str]


def files(root: Path, options: Options) -> list[Path]:
    """The file itself, and those that its links and virtual datasets lead to."""
    del options
    if fatal([root]):
        return [root]
    try:
        import h5py

        with h5py.File(root, "r") as file:
            found = set()
            for name in _contents(file).shapes:
                dataset = _dataset(file, name)
                found |= {Path(dataset.file.filename)} | companions(dataset)
    except (ImportError, OSError, RuntimeError, KeyError):
        return [root]  # what is wrong is said when it is read
    return [root, *sorted(found - {root})]


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read the crops in chunks of 16 MiB, and what the file says of each.

    Raises:
        ReadError: no such file, not HDF5, truncated, or open in another program; or a dataset that
            is not whole: a source, chunk, raw file or what a link leads to is missing.
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
    if fatal([root]):
        raise ReadError(f"{root}: damaged, so that the HDF5 library itself fails; copy it again")
    try:
        with h5py.File(root, "r") as file:
            return _read(root, file, options, on_progress)
    except (OSError, RuntimeError, KeyError) as error:
        said = locked(error) or f"not an HDF5 file, or truncated ({first_line(error)})"
        raise ReadError(f"{root}: {said}") from None


def _read(root: Path, file: Any, options: Options, on_progress: Progress | None) -> RawCells:
    contents = _contents(file)
    shapes = contents.shapes
    images = _whole(root, file, _images_name(root, contents, options))
    _require_crops(root, images)
    axes = _axes(root, images, options)
    without = no_groups(options.groups, list(shapes)) or not options.labelled
    names = {
        name: given
        for name in COLUMNS
        if (name != "groups" or not without)
        and (given := _wanted(root, contents, getattr(options, name), name))
    }
    if not options.labelled:
        names.pop("labels", None)
    columns = {name: _values(root, _whole(root, file, given)) for name, given in names.items()}
    facts: dict[str, Any] = {}
    if KEY in file.attrs:
        facts = dict(parted(_json(root, file.attrs[KEY]), root.name).facts)
    for key, given in (("classes", options.class_list), ("channels", options.channel_list)):
        where = _wanted(root, contents, given, key)
        if where:
            facts[key] = [str(value) for value in _values(root, _whole(root, file, where))]
    count = len(images)
    cells, fitting = spooled_to_size(_chunks(images, axes), count, options, root.name, on_progress)
    others: dict[str, list[str]] = {}
    if not without:
        left = {name for name, shape in shapes.items() if shape in ((count,), (count, 1))}
        for name in column_notes.group_like(left - set(names.values())):
            dataset = _dataset(file, name)
            if not gaps(dataset):
                others[name] = [str(value) for value in _values(root, dataset)]
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


def _contents(file: Any) -> _Contents:
    """Every dataset of the file, however deep, also behind links; each group is entered once."""
    found = _Contents({}, {})
    _enter(file, "", set(), found)
    return found


def _enter(group: Any, above: str, seen: set[tuple[int, int]], found: _Contents) -> None:
    import h5py

    info = h5py.h5o.get_info(group.id)
    place = (info.fileno, info.addr)
    if place in seen:
        return
    seen.add(place)
    for name in group:
        full = f"{above}{name}"
        try:
            item = group[name]
        except (KeyError, OSError, RuntimeError) as error:
            found.dangling[full] = _dangling(group, name, error)
            continue
        if isinstance(item, h5py.Dataset):
            found.shapes[full] = tuple(item.shape or ())
        elif isinstance(item, h5py.Group):
            _enter(item, f"{full}/", seen, found)


def _dangling(group: Any, name: str, error: Exception) -> str:
    """Where a link leads and why there is nothing."""
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        target = f"a link to {link.path.strip('/')} in {link.filename}"
        path = found_beside(group, link.filename)
        if path is None:
            return f"{target}, and there is no such file beside it: put it there"
        try:
            with h5py.File(path, "r"):
                return f"{target}, and that file holds no such dataset"
        except (OSError, RuntimeError) as failure:
            return f"{target}, and that file {why_not_opened(failure)}"
    if isinstance(link, h5py.SoftLink):
        return f"a link to {link.path}, which is not there"
    return f"damaged ({first_line(error)})"


def _dataset(file: Any, name: str) -> Any:
    """The dataset of a name; its raw files are sought beside the file that names them."""
    import h5py

    dataset = file[name]
    if not dataset.external:
        return dataset
    folder = Path(dataset.file.filename).resolve().parent
    names = [Path(each) for each, _, _ in dataset.external]
    if not all(each.is_absolute() or (folder / each).is_file() for each in names):
        return dataset
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(os.fsencode(folder))
    owner, place = dataset.file, dataset.name.encode()
    # HDF5 opens a dataset by another prefix only where nobody has it open.
    del dataset
    return h5py.Dataset(h5py.h5d.open(owner.id, place, access))


def _whole(root: Path, file: Any, name: str) -> Any:
    """The dataset of a name, where every value of it is there.

    Raises:
        ReadError: parts of it were never written, or lie in files that are gone.
    """
    dataset = _dataset(file, name)
    if lacking := missing_filters(dataset):
        raise DataError(
            f"{root.name}: dataset {name} is packed by {listed(lacking)}, which this HDF5 cannot "
            "unpack: pip install hdf5plugin, or write it again with gzip"
        )
    if found := gaps(dataset):
        raise ReadError(
            f"{root.name}: dataset {name} is not whole, and what is missing would read as "
            f"{filled_with(dataset)}: {listed(found)}; {GAPS_REMEDY}"
        )
    return dataset


def _there(contents: _Contents) -> str:
    shapes = [f"{name} {shape}" for name, shape in contents.shapes.items()]
    links = [f"{name}, which is {why}" for name, why in contents.dangling.items()]
    return listed(shapes + links) or "no datasets"


def _wanted(root: Path, contents: _Contents, given: str | None, default: str) -> str | None:
    name = default if given is None else given.strip("/")
    for link, why in contents.dangling.items():
        if name == link or name.startswith(f"{link}/"):
            raise ReadError(f"{root.name}: {link} is {why}")
    if name in contents.shapes:
        return name
    if given is None:
        return None
    raise DataError(
        f"{root.name}: no dataset {given!r}{near_miss(given, contents.shapes)}; "
        f"it holds {_there(contents)}"
    )


def _images_name(root: Path, contents: _Contents, options: Options) -> str:
    shapes = contents.shapes
    name = _wanted(root, contents, options.images, "images")
    if name is None:
        fits = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
        if len(fits) != 1:
            raise DataError(
                f"{root.name}: no dataset 'images'; name the one of the crops: ",
                Setting("images", "NAME", reader=True),
                f"; it holds {_there(contents)}",
            )
        name = fits[0]
    return name


def _require_crops(root: Path, images: Any) -> None:
    name, shape = images.name.strip("/"), images.shape or ()
    if len(shape) not in (3, 4) or 0 in shape:
        raise DataError(
            f"{root.name}: dataset {name} of shape {shape}; expected (N, H, W), (N, C, H, W) or "
            "(N, H, W, C)"
        )
    if images.dtype.kind not in "biuf":
        raise DataError(f"{root.name}: dataset {name} of {images.dtype}; expected numbers")


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
    return axes_of(shape, "", root.name)


def _chunks(images: Any, axes: str) -> Iterator[NDArray[Any]]:
    row = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(images), step):
        chunk = np.asarray(images[start : start + step])
        chunk = chunk.astype(chunk.dtype.newbyteorder("="), copy=False)
        if axes == "NHW":
            chunk = chunk[:, None]
        yield np.moveaxis(chunk, 3, 1) if axes == "NHWC" else chunk


def _kind(dtype: np.dtype[Any]) -> str:
    import h5py

    if h5py.check_ref_dtype(dtype) is not None:
        return "references to other datasets"
    return "records of several fields" if dtype.names else f"values of {dtype}"


def _values(root: Path, dataset: Any) -> list[Any]:
    shape: tuple[int, ...] = dataset.shape or ()
    if len(shape) == 2 and shape[1] == 1:
        values = np.asarray(dataset[:, 0])
    elif len(shape) == 1:
        values = np.asarray(dataset[...])
    else:
        raise DataError(
            f"{root.name}: dataset {dataset.name.strip('/')} of shape {tuple(shape)}; "
            "expected one value a cell"
        )
    if any(not isinstance(value, str | bytes | int | float) for value in values.tolist()):
        raise DataError(
            f"{root.name}: dataset {dataset.name.strip('/')} holds {_kind(dataset.dtype)}; "
            "expected names or integers"
        )
    # Of another encoding a name stays a name, which is all that it is needed for.
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist()]


def _json(root: Path, text: Any) -> Any:
    try:
        return from_json(text)
    except (TypeError, ValueError):
        raise DataError(f"{root.name}: its attribute {KEY} is not JSON") from None
