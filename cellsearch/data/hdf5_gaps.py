"""What the HDF5 library would fill in for data that are not there: found before they are read.

A virtual dataset whose source is gone, a chunk that nobody wrote and a raw file that is too short
all read as the fill value, mostly 0, without a word.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.holes import holes, in_holes, ranged
from cellsearch.util.messages import first_line

LOCKED = ("unable to lock file", "already open for")
MOST_CHUNKS = 10_000_000
DEEPEST = 8
"""Virtual datasets of virtual datasets that are followed."""


def is_dataset(value: object) -> bool:
    """Whether a value is a dataset of h5py, without importing it."""
    return type(value).__module__.partition(".")[0] == "h5py" and hasattr(value, "virtual_sources")


def gaps(dataset: Any, *, depth: int = 0) -> list[str]:
    """What of a dataset is not there and would read as its fill value; [] where it is whole.

    Args:
        dataset: of h5py, in an open file; its first axis counts cells.
        depth: how many virtual datasets led to it.
    """
    shape = dataset.shape
    if shape and dataset.is_virtual:
        return [*_of_virtual(dataset, depth), *_beyond(dataset)]
    if not shape or 0 in shape:
        return []
    if dataset.external:
        return list(_of_raw_files(dataset))
    if dataset.chunks:
        return list(_of_chunks(dataset))
    return list(_of_one_piece(dataset))


def filled_with(dataset: Any) -> str:
    """What HDF5 gives for what is missing, as a text."""
    return f"{dataset.fillvalue}" if dataset.dtype.kind in "biuf" else "nothing"


def companions(dataset: Any, *, depth: int = 0) -> set[Path]:
    """Other files that are there and that reading a dataset opens: virtual sources, raw files."""
    found: set[Path] = set()
    if dataset.is_virtual and depth < DEEPEST:
        for file_name, dataset_name, _, _ in _sources(dataset):
            path = found_beside(dataset, file_name)
            if path is None:
                continue
            found.add(path)
            with _opened(dataset, file_name, path) as (file, _):
                source = None if file is None else _got(file, dataset_name)
                if is_dataset(source):
                    found |= companions(source, depth=depth + 1)
    for name, _, _ in dataset.external or ():
        if (path := _raw_file(dataset, name)) is not None:
            found.add(path)
    return found - {Path(dataset.file.filename)}


def found_beside(dataset: Any, name: str) -> Path | None:
    """Where HDF5 finds a file that a virtual dataset or an external link names; None: nowhere.

    In the folder of the file that names it, else in the current one; of an absolute path that is
    gone, the last part is sought there.
    """
    if name == ".":
        return Path(dataset.file.filename)
    folders = [Path(dataset.file.filename).resolve().parent, Path.cwd()]
    if prefix := os.environ.get("HDF5_VDS_PREFIX"):
        folders.insert(0, Path(prefix))
    if Path(name).is_absolute():
        places = [Path(name), *(folder / Path(name).name for folder in folders)]
    else:
        places = [folder / name for folder in folders]
    return next((place for place in places if place.is_file()), None)


def locked(error: Exception) -> str:
    """In words of a user what keeps a sound file from being opened; "" where it is not sound."""
    reason = str(error)
    if "h5clear" in reason:
        return (
            "is open for writing in another program, or was when that one died; close it there, or "
            "copy the file; where no program has it open, `h5clear -s FILE` of the HDF5 tools "
            "frees it"
        )
    if "errno = 37" in reason or "errno = 38" in reason or "errno = 95" in reason:
        return "lies where files cannot be locked; copy it to a disk of this machine"
    if any(mark in reason for mark in LOCKED):
        return "is open in another program; close it there, or copy the file"
    return ""


def why_not_opened(error: Exception) -> str:
    """In words of a user why h5py cannot open a file, as what is said of it."""
    return locked(error) or f"is not an HDF5 file, or truncated ({first_line(error)})"


def missing_filters(dataset: Any) -> list[str]:
    """Names of the filters that a dataset is packed by and that this HDF5 does not have."""
    import h5py

    made = dataset.id.get_create_plist()
    filters = [made.get_filter(number) for number in range(made.get_nfilters())]
    lacking = [each for each in filters if not h5py.h5z.filter_avail(each[0])]
    if lacking and find_spec("hdf5plugin") is not None:
        import_module("hdf5plugin")  # registers the filters that it brings
        lacking = [each for each in lacking if not h5py.h5z.filter_avail(each[0])]
    return [each[3].decode("utf-8", "replace") or f"number {each[0]}" for each in lacking]


@contextmanager
def _opened(dataset: Any, name: str, path: Path) -> Iterator[tuple[Any, str]]:
    """The file of a virtual source while it is looked at; or None and why it cannot be opened."""
    import h5py

    if name == ".":
        yield dataset.file, ""
        return
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        yield None, why_not_opened(error)
        return
    with file:
        yield file, ""


def _sources(dataset: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """File and dataset of each source, and where it goes; names with %b once a block."""
    import h5py

    for source in dataset.virtual_sources():
        file_name, name = source.file_name, source.dset_name
        if "%b" not in file_name + name:
            yield file_name, name, source.vspace, source.src_space
            continue
        for block in range(_blocks(dataset.shape, source.vspace, h5py)):
            yield (
                file_name.replace("%b", str(block)).replace("%%", "%"),
                name.replace("%b", str(block)).replace("%%", "%"),
                None,
                source.src_space,
            )


def _beyond(dataset: Any) -> Iterator[str]:
    """Files of a numbered row of sources that HDF5 leaves out because one before them is gone."""
    import h5py

    for source in dataset.virtual_sources():
        pattern = source.file_name
        if pattern.count("%b") != 1:
            continue
        taken = _blocks(dataset.shape, source.vspace, h5py)
        folder = Path(dataset.file.filename).resolve().parent / Path(pattern).parent
        number = re.compile(re.escape(Path(pattern).name).replace("%b", r"(\d+)"))
        found = [number.fullmatch(path.name) for path in folder.glob("*")]
        later = [match[0] for match in found if match and int(match[1]) > taken]
        if later and found_beside(dataset, pattern.replace("%b", str(taken))) is None:
            yield (
                f"{pattern.replace('%b', str(taken))} is a source, and there is no such file, "
                f"though there is {min(later)}"
            )


def _blocks(shape: Sequence[int], space: Any, h5py: Any) -> int:
    start, stride, count, _ = space.get_regular_hyperslab()
    for axis, number in enumerate(count):
        if number == h5py.h5s.UNLIMITED:
            return math.ceil(int(shape[axis] - start[axis]) / int(stride[axis]))
    return int(np.prod(count))


def _of_virtual(dataset: Any, depth: int) -> Iterator[str]:
    import h5py

    mapped = 0
    whole = True
    for file_name, name, to, taken in _sources(dataset):
        unlimited = to is None or h5py.h5s.UNLIMITED in to.get_simple_extent_dims(True)
        place = "" if to is None else _place(to, dataset.shape)
        if to is None or not _limited(to):
            whole = False
        else:
            mapped += int(to.get_select_npoints())
        where = f"dataset {name.strip('/')}" + ("" if file_name == "." else f" of {file_name}")
        path = found_beside(dataset, file_name)
        if path is None:
            yield f"{place}{where} is its source, and there is no such file"
            continue
        with _opened(dataset, file_name, path) as (file, reason):
            if file is None:
                yield f"{place}{where} is its source, and that file {reason}"
                continue
            source = _got(file, name)
            if not is_dataset(source):
                yield f"{place}{where} is its source, and the file holds no such dataset"
                continue
            needed = _needed(to, taken, dataset.shape)
            if needed is not None and _too_small(source.shape, needed):
                yield (
                    f"{place}{where} is its source and has shape {tuple(source.shape)}, too small "
                    f"for what is taken from it"
                )
                continue
            if unlimited and to is not None and not _limited(to):
                missing = _shortfall(to, taken, dataset.shape, source.shape)
                if missing:
                    yield f"{place}{where} is its source and ends {missing} too early"
                    continue
            if depth < DEEPEST:
                for gap in gaps(source, depth=depth + 1):
                    yield f"{place}{where} is its source and is not whole itself: {gap}"
    total = math.prod(dataset.shape)
    if whole and mapped < total:
        yield f"{total - mapped:,} of its {total:,} values come from no source"


def _got(file: Any, name: str) -> Any:
    try:
        return file[name]
    except (KeyError, OSError, RuntimeError):
        return None


def _limited(space: Any) -> bool:
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return True
    _, _, count, block = space.get_regular_hyperslab()
    return h5py.h5s.UNLIMITED not in (*count, *block)


def _place(space: Any, shape: Sequence[int]) -> str:
    """``cells 4 to 7 of 8: `` of a selection that is not the whole."""
    if not _limited(space):
        return ""
    try:
        low, high = space.get_select_bounds()
    except ValueError:
        return ""
    if not low or (low[0] == 0 and high[0] == shape[0] - 1):
        return ""
    return f"cells {ranged(range(low[0], high[0] + 1))} of {shape[0]}: "


def _needed(to: Any, taken: Any, shape: Sequence[int]) -> tuple[int, ...] | int | None:
    """The least shape of a source, or its least number of values; None where it may grow."""
    import h5py

    if taken.get_select_type() == h5py.h5s.SEL_ALL:
        if to is None or not _limited(to):
            return None
        # The extent of a source that is taken whole is not kept.
        try:
            return int(to.get_select_npoints())
        except ValueError:
            return math.prod(shape)
    if not _limited(taken):
        return None
    try:
        return tuple(int(last) + 1 for last in taken.get_select_bounds()[1])
    except ValueError:
        return None


def _too_small(shape: Sequence[int], needed: tuple[int, ...] | int) -> bool:
    if isinstance(needed, int):
        return math.prod(shape) < needed
    return len(shape) != len(needed) or any(a < b for a, b in zip(shape, needed, strict=True))


def _shortfall(to: Any, taken: Any, shape: Sequence[int], source: Sequence[int]) -> int:
    """How many rows along its unlimited axis a source has too few."""
    return max(0, _rows(to, shape) - _rows(taken, source))


def _rows(space: Any, shape: Sequence[int]) -> int:
    import h5py

    start, stride, count, block = space.get_regular_hyperslab()
    for axis in range(len(shape)):
        length = shape[axis] - start[axis]
        if block[axis] == h5py.h5s.UNLIMITED:
            return max(0, int(length))
        if count[axis] == h5py.h5s.UNLIMITED:
            whole, rest = divmod(max(0, length), stride[axis])
            return int(whole * block[axis] + min(rest, block[axis]))
    return 0


def _raw_file(dataset: Any, name: str) -> Path | None:
    if Path(name).is_absolute():
        return Path(name) if Path(name).is_file() else None
    folders = (Path(dataset.file.filename).resolve().parent, Path.cwd())
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _of_raw_files(dataset: Any) -> Iterator[str]:
    import h5py

    left = math.prod(dataset.shape) * dataset.dtype.itemsize
    for name, offset, size in dataset.external:
        wanted = left if size == h5py.h5f.UNLIMITED else min(left, int(size))
        left -= wanted
        path = _raw_file(dataset, name)
        if path is None:
            yield f"its pixels lie in the raw file {name}, and there is no such file"
        elif (there := path.stat().st_size - offset) < wanted:
            yield (
                f"its pixels lie in the raw file {name}, which is too short: "
                f"{max(0, there):,} bytes of {wanted:,}"
            )
    if left > 0:
        yield f"its raw files are {left:,} bytes too short"


def _of_chunks(dataset: Any) -> Iterator[str]:
    grid = tuple(
        math.ceil(side / chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True)
    )
    there, total = dataset.id.get_num_chunks(), math.prod(grid)
    path = Path(dataset.file.filename)
    if there == total and not holes(path):
        return
    if total > MOST_CHUNKS:
        # A damaged shape may tell of more chunks than memory holds.
        if there < total:
            yield f"{total - there:,} of {total:,} chunks were never written"
        return
    written = np.zeros(grid, np.bool_)
    ranges: list[tuple[int, int]] = []
    places: list[tuple[int, ...]] = []

    def keep(info: Any) -> None:
        # A chunk beyond the shape is left where a dataset was made smaller.
        place = tuple(
            o // chunk for o, chunk in zip(info.chunk_offset, dataset.chunks, strict=True)
        )
        if all(at < side for at, side in zip(place, grid, strict=True)):
            written[place] = True
            places.append(place)
            ranges.append((info.byte_offset, info.byte_offset + info.size))

    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(keep)
    else:
        for number in range(there):
            keep(dataset.id.get_chunk_info(number))
    for number in in_holes(path, ranges):
        written[places[number]] = False
    if not written.all():
        rows = np.flatnonzero(~written.reshape(grid[0], -1).all(axis=1))
        cells = _cells(rows.tolist(), dataset.chunks[0], dataset.shape[0])
        yield (
            f"{int((~written).sum()):,} of {total:,} chunks were never written "
            f"(cells {ranged(cells)} of {dataset.shape[0]})"
        )


def _of_one_piece(dataset: Any) -> Iterator[str]:
    import h5py

    if dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED:
        yield "it was made and never written"
        return
    place = dataset.id.get_offset()
    path = Path(dataset.file.filename)
    if place is None or not holes(path):
        return
    row = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    ranges = [(place + k * row, place + (k + 1) * row) for k in range(dataset.shape[0])]
    empty = in_holes(path, ranges)
    if empty:
        yield (
            f"cells {ranged(empty)} of {dataset.shape[0]} were never written (they lie in a hole "
            "of the file)"
        )


def _cells(rows: Sequence[int], step: int, cells: int) -> list[int]:
    return [cell for row in rows for cell in range(row * step, min(cells, (row + 1) * step))]
