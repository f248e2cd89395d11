"""The first look at a folder, a table or a file of cells, and whose it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellsearch.data.dataset import CellDataset
from cellsearch.data.manifest import load_manifest
from cellsearch.data.readers import registry
from cellsearch.data.readers.stack import relative
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.scan.crops import MOST_SECONDS, Crops, read_crops
from cellsearch.scan.found import FirstLook
from cellsearch.scan.layout import Layout, of_folder
from cellsearch.scan.survey import Survey, survey
from cellsearch.scan.table import of_table, passed_over, table_beside
from cellsearch.scan.weigh import check, choose, weigh
from cellsearch.util.named_path import named_path, require_no_pipe, require_utf8, taken_for
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import names as built_in


def first_look(
    path: Path,
    options: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
    *,
    most_seconds: float = MOST_SECONDS,
) -> FirstLook:
    """Look at cells without changing anything.

    Args:
        path: a folder, a table, or a file that a reader knows.
        options: of the reader.
        on_progress: told what is being done.
        most_seconds: spent on opening images; beyond it a random sample was looked at.

    Raises:
        ConfigError: an option is wrong, or the path is a manifest already.
        DataError: nothing there that could be learnt from.
    """
    given = dict(options or {})
    path = named_path(path.expanduser())
    require_utf8([str(path)])
    if not path.exists():
        raise ReadError(
            f"{path}: no such file or folder{taken_for(path)}; give the folder that holds your "
            "images"
        )
    require_no_pipe(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        raise ConfigError(
            f"{path} is a manifest already: cellsearch datasets check {shlex.quote(str(path))}"
        )
    found: Survey | None = None
    if path.is_file() or "layout" in given:
        layout = _of_file(path, given, on_progress)
    else:
        found = survey(path, on_progress)
        layout = _of_survey(path, found, given, on_progress)
    if isinstance(layout, FirstLook):
        return layout
    result = FirstLook(path, layout, Crops())
    if found is not None:
        result.hidden, result.others = found.hidden, dict(found.others.most_common())
        layout.notes += found.notes
        layout.problems += [f"{fault.path} {fault.why}" for fault in found.faults]
        result.known_as = _known(path, found)
        if result.known_as:
            return result
    result.crops = read_crops(layout.cells, on_progress, most_seconds=most_seconds)
    weigh(result, given, on_progress)
    return result


def _of_survey(
    path: Path, found: Survey, given: dict[str, Any], on_progress: Progress | None
) -> Layout | FirstLook:
    if not found.images and _reader_of(path) is not None:
        return _of_reader(path, str(_reader_of(path)), given, on_progress)
    beside = table_beside(found.tables) if found.images else None
    if beside is not None:
        beside.notes.insert(0, f"{beside.target.name} names the images and their classes")
        left = len(found.images) - len(beside.cells)
        if left > 0:
            beside.notes.append(f"{left} images that no row names are ignored")
        return beside
    layout = of_folder(found)
    layout.options = given
    if layout.kind == "flat":
        layout.notes += passed_over(found.tables)
    return layout


def _of_file(path: Path, given: dict[str, Any], on_progress: Progress | None) -> Layout | FirstLook:
    reader, rest = registry.chosen(path, given)
    if reader == "table":
        return of_table(path, rest)
    return _of_reader(path, reader, rest, on_progress)


def _reader_of(path: Path) -> str | None:
    """A reader that takes a folder which holds no images, as an OME-Zarr."""
    try:
        return registry.detect(path)
    except DataError:
        return None


def _of_reader(
    path: Path, reader: str, given: dict[str, Any], on_progress: Progress | None
) -> FirstLook:
    """Whatever another reader reads, all of it."""
    raw = registry.layout(reader, given).read(path, on_progress)
    try:
        cells = CellDataset.from_raw(raw)
    except DataError as error:
        raise DataError(f"{path}: ", error) from None
    layout = Layout(
        reader,
        reader,
        path,
        [(path,)] * len(cells),
        [cells.classes[k] if k >= 0 else "" for k in cells.labels.tolist()],
        groups=None if cells.groups is None else cells.groups.tolist(),
        group_word="group",
        options=given,
        notes=[note.message for note in cells.group_notes],
        groups_noted=cells.groups is None and len(cells.group_notes) > 0,
    )
    crops = Crops(list(range(len(cells))), list(cells.images), {}, len(cells), len(cells))
    result = FirstLook(path, layout, crops, channels=cells.channels)
    check(result, cells, on_progress)
    choose(result, cells.sources.tolist(), one_cell_a_file=False)
    return result


def _known(path: Path, found: Survey) -> str:
    """The built-in data set whose files, by path and size, these are."""
    there = {relative(image, path): image for image in found.images}
    for name in built_in("datasets"):
        source = load_manifest(name).source
        if source is None or not source.files:
            continue
        same = sum(
            file.path in there and there[file.path].stat().st_size == file.size
            for file in source.files
        )
        if 2 * same > len(source.files):
            return name
    return ""
