"""What a run begins with: its space, its cells with the task applied, its frozen splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from cellsearch.data.arrays import digest
from cellsearch.data.cache import key_of
from cellsearch.data.dataset import CellDataset, described, require_unchanged
from cellsearch.data.near_duplicates import DuplicatePair, find_duplicates
from cellsearch.data.plan import folds_of
from cellsearch.data.rare import apply_rare
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.data.task import apply_task
from cellsearch.errors import CellsearchError, MismatchError, RunError
from cellsearch.run.check import Checked, drawn_soundly
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import RunRecord, read_record
from cellsearch.run.observer import Silent
from cellsearch.space.search_space import SearchSpace
from cellsearch.util.user_folders import cache_folder

if TYPE_CHECKING:
    from cellsearch.run.observer import RunObserver


def built_in_python(
    dataset: object, space: object, settings: Mapping[str, Any]
) -> tuple[CellDataset | None, SearchSpace | None]:
    """Cells and space where they were handed over rather than named.

    Raises:
        RunError: neither cells nor a name; or settings of a reader for cells that were read.
        SpaceError: what is wrong with a space given as a mapping.
    """
    if not isinstance(dataset, CellDataset | str | Path):
        raise RunError(
            f"dataset: expected a CellDataset, a name or a path, got {type(dataset).__name__}; "
            "CellDataset.from_arrays(images, labels) makes one of arrays"
        )
    if not isinstance(space, SearchSpace | Mapping | str | Path):
        raise RunError(
            "space: expected a SearchSpace, a mapping, a name or a path, got "
            f"{type(space).__name__}"
        )
    cells = dataset if isinstance(dataset, CellDataset) else None
    idle = [name for name in ("options", "variant", "mirror") if settings.get(name)]
    if cells is not None and idle:
        raise RunError(
            f"{', '.join(idle)}: of a reader, but these cells were read already; give them to "
            "CellDataset.from_folder, from_table or load_dataset"
        )
    if isinstance(space, Mapping):
        return cells, SearchSpace.from_dict(space)
    return cells, space if isinstance(space, SearchSpace) else None


@dataclass(frozen=True)
class Given:
    """What was built in Python rather than named.

    Attributes:
        cells: task and rare classes applied, on disk; None where they are named.
        duplicates: of the cells, where these had to be found already.
        space: None where it is named.
    """

    cells: CellDataset | None = None
    duplicates: Sequence[DuplicatePair] | None = None
    space: SearchSpace | None = None

    @classmethod
    def of(
        cls,
        config: RunConfig,
        cells: CellDataset | None,
        space: SearchSpace | None,
        observer: RunObserver | None = None,
    ) -> Self:
        """Cells and space as they were handed over.

        Raises:
            CellsearchError: the task or the rule for rare classes does not fit the cells.
        """
        if cells is None:
            return cls(space=space)
        ready, duplicates = cells_and_duplicates(config, None, cells, observer or Silent())
        return cls(ready, duplicates, space)

    @property
    def built(self) -> tuple[Literal["cells", "space"], ...]:
        """Which of the two there are, as ``run.json`` names them."""
        there: tuple[tuple[Literal["cells", "space"], object], ...]
        there = (("cells", self.cells), ("space", self.space))
        return tuple(name for name, each in there if each is not None)

    def or_of(self, old: RunRecord, folder: Path) -> Self:
        """The same, and what a run's own Python code gave it where nothing is given now.

        A name that Python code gave its cells may be a built-in's too, or a folder's.

        Raises:
            RunError: the run's cells do not lie here any more.
        """
        cells, space = self.cells, self.space
        if cells is None and "cells" in old.built:
            if not old.dataset_folder.is_dir():
                raise RunError(
                    f"{folder}: its cells were built in Python and are no longer in "
                    f"{old.dataset_folder}; call search(...) again with the same cells and out"
                )
            cells = CellDataset.open(old.dataset_folder)
        if space is None and "space" in old.built:
            space = SearchSpace.load(str(folder / "space.yaml"))
        return replace(self, cells=cells, space=space)


NOTHING_GIVEN = Given()


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
    return cells_and_duplicates(config, folder, cells, observer)[0]


def cells_and_duplicates(
    config: RunConfig, folder: Path | None, cells: CellDataset | None, observer: RunObserver
) -> tuple[CellDataset, Sequence[DuplicatePair] | None]:
    """The cells that a run learns from, and their duplicates where these had to be found."""
    if cells is None:
        cells = _cells_of(config, folder, observer)
    else:
        cells = apply_task(cells, **config.task)
    if config.rare in ("keep", "refuse"):
        return _saved(cells), None
    duplicates = find_duplicates(cells.images)
    folds = folds_of(config.folds, cells.groups)
    left = apply_rare(
        cells, rare=config.rare, folds=folds, split=config.split, duplicates=duplicates
    )
    # Those of the cells that are left are others, where some were dropped.
    return _saved(left), duplicates if len(left) == len(cells) else None


def _saved(cells: CellDataset) -> CellDataset:
    """Cells on disk, where every worker maps them."""
    if cells.folder is not None:
        return cells
    require_unchanged(cells)
    # The same pixels and labels may bear another name, or notes that the card must tell; and they
    # may be of other files.
    origins = digest({}, [cells.sources, cells.object_numbers])
    folder = cache_folder() / "arrays" / key_of(described(cells) | {"origins": origins})
    return CellDataset.open(folder) if folder.is_dir() else cells.save(folder)


def frozen_splits(folder: Path | None, cells: CellDataset) -> Splits | None:
    """The splits of a run that was begun, None of one that is new.

    Raises:
        MismatchError: they were drawn from other cells.
    """
    path = None if folder is None else folder / "splits.json"
    return None if path is None or not path.exists() else Splits.load(path, cells)


def splits_for(
    config: RunConfig, cells: CellDataset, given: Splits | None, checked: Checked
) -> Splits:
    """The splits of a new run on cells without errors: those given, or drawn.

    Raises:
        MismatchError: the given splits were drawn from other cells.
        DataError: errors of the check that were not accepted; or no splits can be drawn.
    """
    if given is not None and given.dataset_sha256 != cells.sha256:
        raise MismatchError("the given splits were drawn from another data set")

    def draw() -> Splits:
        return given or draw_splits(
            cells,
            folds=config.folds,
            holdout=config.holdout,
            split=config.split,
            seed=config.seed,
            rare=config.rare,
            duplicates=checked.duplicates,
        )

    return drawn_soundly(cells.name, checked, config.accept, draw)
