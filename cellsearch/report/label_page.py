"""The page of suspect labels: their counts, and pictures of the first of them."""

from __future__ import annotations

from pathlib import Path

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CellsearchError, RunError
from cellsearch.label.issues import LabelIssues
from cellsearch.report.mistakes import drawn
from cellsearch.report.page import render
from cellsearch.report.tables import pair_table
from cellsearch.report.write import refuse, save
from cellsearch.run.folder import read_record
from cellsearch.util.messages import Setting


def refuse_page(file: Path, card: Path) -> None:
    """Refuse, before the work, a place where the page cannot go.

    Raises:
        RunError: a folder, a file of another kind, or a place within the card.
    """
    refuse(file, None, setting="html")
    if file.resolve().is_relative_to(card.resolve()):
        raise RunError(Setting("html"), f": {file} is inside {card}, which is read; name another")


def write_label_page(found: LabelIssues, file: Path, *, most: int = 60) -> str:
    """Write the page.

    Args:
        found: of ``label_issues``.
        file: HTML.
        most: pictures.

    Returns:
        What it could not show, and why; empty where it shows all.

    Raises:
        RunError: the file cannot be written.
    """
    cells, missing = _cells(found.run)
    shown = found.suspects[:most]
    pictures, views = drawn(cells, [each.id for each in shown])
    text = render(
        "labels.html.j2",
        title=f"Suspect labels: {found.run.resolve().name}",
        found=found,
        pairs=pair_table(found),
        shown=shown,
        pictures=pictures,
        views=views,
        missing=missing,
    )
    save(file, text)
    return missing


def _cells(run: Path) -> tuple[CellDataset | None, str]:
    try:
        folder = run.parent if (run.name == "card" and not (run / "run.json").is_file()) else run
        return CellDataset.open(read_record(folder).dataset_folder), ""
    except CellsearchError as error:
        return None, f"no pictures, because the run's cells cannot be read: {error}"
