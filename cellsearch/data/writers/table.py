"""A table, ``cells.csv``, with a row a cell, and its image in ``images/``."""

from __future__ import annotations

import csv
from pathlib import Path

from cellsearch.data.dataset import CellDataset
from cellsearch.data.writers.manifest import write_manifest
from cellsearch.data.writers.place import MARK
from cellsearch.data.writers.tiff_images import ome_facts, write_image
from cellsearch.util.messages import Message, Setting
from cellsearch.util.progress import Progress

TABLE = "cells.csv"


def refusals(cells: CellDataset) -> list[Message]:
    """Labels that only some cells have, and texts that a row cannot hold as they are."""
    found = []
    unknown = int((cells.labels < 0).sum())
    if 0 < unknown < len(cells):
        found.append(
            Message.of(
                f"{unknown} of {len(cells)} cells have no label, and a table is read with all or "
                "none; choose ",
                Setting("to", "npz"),
            )
        )
    texts = [*cells.ids.tolist(), *cells.sources.tolist(), *cells.classes]
    texts += [] if cells.groups is None else cells.groups.tolist()
    odd = sorted({text for text in texts if text != text.strip() or "\n" in text or "\r" in text})
    if odd:
        found.append(
            Message.of(f"texts that begin or end with a space, or hold a line's end: {odd[:5]}")
        )
    return found


def write(cells: CellDataset, path: Path, on_progress: Progress | None = None) -> None:
    """Write ``cells.csv``, ``images/000000.tif`` ..., and ``dataset.yaml`` if labels are known."""
    facts = ome_facts(cells)
    labelled = bool((cells.labels >= 0).any())
    (path / "images").mkdir(parents=True)
    digits = max(6, len(str(len(cells))))
    header = ["path", "label", "id", "source", "object_number", "group"]
    if cells.groups is None:
        header.remove("group")
    if not labelled:
        header.remove("label")
    if not any(cells.sources.tolist()):
        header.remove("source")
    with (path / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for cell in range(len(cells)):
            if on_progress and cell % 256 == 0:
                on_progress("writing images", cell, len(cells))
            name = f"images/{cell:0{digits}d}.tif"
            write_image(path / name, cells.images[cell], facts)
            writer.writerow(
                {
                    "path": name,
                    "label": cells.classes[cells.labels[cell]] if labelled else "",
                    "id": cells.ids[cell],
                    "source": cells.sources[cell],
                    "object_number": int(cells.object_numbers[cell]),
                    "group": "" if cells.groups is None else cells.groups[cell],
                }
            )
    if on_progress:
        on_progress("writing images", len(cells), len(cells))
    options = {
        "id_column": "id",
        "number_column": "object_number",
        "path_column": "path",
        "size": "{}x{}".format(*cells.images.shape[2:]),
    }
    if labelled:
        options["label_column"] = "label"
        write_manifest(cells, path, reader="table", target=TABLE, options=options)
    else:
        (path / "README.txt").write_text(
            f"{MARK}Cells without labels: `cellsearch predict CARD {TABLE}`. To learn from them, "
            f"add a column label to {TABLE}.\n",
            encoding="utf-8",
        )
