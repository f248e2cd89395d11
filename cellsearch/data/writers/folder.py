"""A folder per class with a TIFF a cell, its id for a name; groups are folders between."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cellsearch.data.arrays import listed
from cellsearch.data.dataset import CellDataset
from cellsearch.data.passed_over import is_visible
from cellsearch.data.writers.manifest import write_manifest
from cellsearch.data.writers.tiff_images import ome_facts, write_image
from cellsearch.util.messages import Message, Setting
from cellsearch.util.progress import Progress

_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f]')
LONGEST_NAME = 240
TABLE = Setting("to", "table")


def _quoted(text: str) -> str:
    """A text as a file's name can hold it, so that ``urllib.parse.unquote`` gives it back."""

    def code(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode())

    quoted = _UNSAFE.sub(code, text)
    # Readers pass over hidden and system files, and some systems over what ends so.
    if not is_visible(quoted):
        quoted = re.sub(r"^.", code, quoted)
    return re.sub(r"[. ]$", lambda m: code(m), quoted)


def refusals(cells: CellDataset) -> list[Message]:
    """Cells without a label, and names that no folder can bear."""
    found = []
    unknown = int((cells.labels < 0).sum())
    if unknown:
        found.append(
            Message.of(
                f"{unknown} of {len(cells)} cells have no label, and so no folder; choose ", TABLE
            )
        )
    empty = [n for n, count in zip(cells.classes, cells.counts, strict=True) if not count]
    if empty and not unknown:
        found.append(
            Message.of(
                f"classes without a cell, and so no folder: {listed(empty)}; leave them out with ",
                Setting("only"),
                ", or choose ",
                Setting("to", "npz"),
            )
        )
    odd = [name for name in cells.classes if _quoted(name) != name]
    if odd:
        found.append(
            Message.of(
                f"classes whose name no folder can bear: {listed(odd)}; choose ",
                TABLE,
                ", or give them other names with ",
                Setting("merge"),
            )
        )
    long = [name for name in cells.ids.tolist() if len(_quoted(name).encode()) > LONGEST_NAME]
    if long:
        found.append(
            Message.of(
                f"{len(long)} ids too long for a file's name: {listed(long, most=3)}; choose ",
                TABLE,
            )
        )
    return found


def losses(cells: CellDataset) -> list[str]:
    """The order of the cells, object numbers and sources."""
    found = []
    if len(cells) and not (np.diff(cells.labels) >= 0).all():
        found.append("the order of the cells (they are sorted by class)")
    if cells.object_numbers.any():
        found.append("object numbers")
    if any(cells.sources.tolist()):
        found.append("sources")
    return found


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write ``<class>/<id>.tif``, or ``<class>/<group>/<id>.tif``, and ``dataset.yaml``."""
    facts = ome_facts(cells)
    path.mkdir()
    natural = _path_names(cells)
    made: set[Path] = set()
    for cell, label in enumerate(cells.labels.tolist()):
        if on_progress and cell % 256 == 0:
            on_progress("writing images", cell, len(cells))
        folder = path / cells.classes[label]
        name = _quoted(str(cells.ids[cell]))
        if natural is not None:
            name = natural[cell]
        elif cells.groups is not None:
            folder = folder / _quoted(str(cells.groups[cell]))
        target = folder / f"{name}.tif"
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        write_image(target, cells.images[cell], facts)
    if on_progress:
        on_progress("writing images", len(cells), len(cells))
    options: dict[str, object] = {"ids": "path" if natural is not None else "name"}
    if cells.groups is not None:
        options["group_pattern"] = "^[^/]+/([^/]+)/"
    options |= _size_option(cells)
    write_manifest(cells, path, reader="folders", target=".", options=options)


def _size_option(cells: CellDataset) -> dict[str, object]:
    # Readers ask back where a crop is large; these are meant so.
    size: dict[str, object] = {"size": "{}x{}".format(*cells.images.shape[2:])}
    # New crops are brought to the size as these were.
    return size | ({"fit": cells.provenance.fit} if cells.provenance.fit else {})


def _path_names(cells: CellDataset) -> list[str] | None:
    """Names below the class folder, where ids are paths such as ``class/donor/name`` already."""
    if cells.groups is not None:
        return None
    names = []
    for cell, label in zip(cells.ids.tolist(), cells.labels.tolist(), strict=True):
        first, sign, rest = cell.partition("/")
        parts = rest.split("/")
        if not sign or first != cells.classes[label]:
            return None
        if any(not part or _quoted(part) != part for part in parts):
            return None
        names.append(rest)
    return names
