"""A command as a user types it, and a folder of images for it to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from cellsearch import cli
from cellsearch.data.dataset import CellDataset


def cellsearch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["cellsearch", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), printed.out, printed.err


def write_folder(root: Path, cells: CellDataset) -> Path:
    for index, label in enumerate(cells.labels):
        folder = root / cells.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cells.images[index, 0]).save(folder / f"{index:03d}.png")
    return root
