"""What a run begins with: its space, its cells with the task applied, its frozen splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.data.cache import key_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.rare import apply_rare
from cellsearch.data.saved_dataset import described
from cellsearch.data.source import cache_folder, load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.data.task import apply_task
from cellsearch.errors import CellsearchError, DataError, MismatchError
from cellsearch.run_folder import RunConfig, read_record
from cellsearch.space.search_space import SearchSpace

if TYPE_CHECKING:
    from cellsearch.progress import RunObserver


def space_for(config: RunConfig, folder: Path | None) -> SearchSpace:
    """The space by name or path; a space built in Python is read back from the run."""
    stored = folder / "space.yaml" if folder else None
    try:
        return SearchSpace.load(config.space)
    except CellsearchError:
        if stored is None or not stored.exists():
            raise
        return SearchSpace.load(str(stored))


def _cells_of(config: RunConfig, folder: Path | None, observer: RunObserver) -> CellDataset:
    """The cells by name or path; arrays given in Python are read back from the cache."""
    options: dict[str, Any] = dict(config.options)
    try:
        cells = load_dataset(
            config.dataset,
            variant=config.variant,
            mirror=config.mirror,
            on_progress=observer.progress,
            **options,
        )
    except CellsearchError:
        if folder is None or not (folder / "run.json").exists():
            raise
        stored = read_record(folder).dataset_folder
        if not stored.is_dir():
            raise
        # They were stored with the task applied.
        return CellDataset.open(stored)
    return apply_task(cells, **config.task)


def cells_for(
    config: RunConfig, folder: Path | None, cells: CellDataset | None, observer: RunObserver
) -> CellDataset:
    """The cells that a run learns from, on disk: task and rare classes applied."""
    if cells is None:
        cells = _cells_of(config, folder, observer)
    else:
        cells = apply_task(cells, **config.task)
    cells = apply_rare(cells, rare=config.rare, folds=config.folds, split=config.split)
    if len(cells.classes) == 1:
        raise DataError(
            f"{cells.name}: one class alone, {cells.classes[0]}, and two are needed to tell apart: "
            "put the cells of each class into a folder of its name, or give a table of labels"
        )
    return _saved(cells)


def _saved(cells: CellDataset) -> CellDataset:
    """Cells on disk, where every worker maps them."""
    if cells.folder is not None:
        return cells
    # The same pixels and labels may bear another name, or notes that the card must tell.
    folder = cache_folder() / "arrays" / key_of(described(cells))
    return CellDataset.open(folder) if folder.is_dir() else cells.save(folder)


def splits_for(
    config: RunConfig,
    folder: Path,
    cells: CellDataset,
    given: Splits | None,
    observer: RunObserver,
) -> Splits:
    """The frozen splits of the run, else those given, else new ones."""
    if (folder / "splits.json").exists():
        return Splits.load(folder / "splits.json", cells)
    if given is not None:
        if given.dataset_sha256 != cells.sha256:
            raise MismatchError("the splits given were drawn from another data set")
        return given
    observer.message("looking for twins and drawing the splits")
    return draw_splits(
        cells,
        folds=config.folds,
        holdout=config.holdout,
        split=config.split,
        seed=config.seed,
        rare=config.rare,
    )
