"""One file per layout; each has ``Options``, ``files`` and ``read``.

``read(root, options, on_progress) -> RawCells`` turns a folder or file into crops and labels,
``files(root, options)`` lists what it would read, for the cache's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cellsearch.data.crop_sizes import Fitting
from cellsearch.data.file_traits import TraitTable
from cellsearch.data.provenance import Provenance
from cellsearch.data.source_columns import SourceColumns


@dataclass(frozen=True, eq=False)
class RawCells:
    """What a reader found: N crops of one size, in a stable order.

    Attributes:
        images: (N, C, H, W), or N arrays (C, H, W); the dtype of the files.
        labels: N class names; "" where not known.
        ids: N unique names.
        sources: N files, relative to the root.
        object_numbers: N numbers of the cell in its file; 0 where there is none.
        channels: C names.
        groups: N names of what must not be torn apart; None where cells are independent.
        classes: class names in their order; None leaves them to the manifest or the alphabet.
        name: what the reader would call the data set.
        provenance: what the files say of licence, pixel size and the like; None: nothing.
        columns: what the groups are called, and columns that could be the groups instead.
        fitting: how crops of several sizes were brought to one; None where they have one.
        file_traits: (N,) how the files of each cell were saved; None where a file holds many cells.
    """

    images: NDArray[Any] | Sequence[NDArray[Any]]
    labels: Sequence[str]
    ids: Sequence[str]
    sources: Sequence[str]
    object_numbers: Sequence[int]
    channels: tuple[str, ...]
    groups: Sequence[str] | None = None
    classes: tuple[str, ...] | None = None
    name: str = "custom"
    provenance: Provenance | None = None
    columns: SourceColumns = field(default_factory=SourceColumns)
    fitting: Fitting | None = None
    file_traits: TraitTable | None = None
