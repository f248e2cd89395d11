"""The pages of the documents that are generated from the code, and their command.

``python -m cellsearch.reference.__main__`` writes them all below ``docs/`` of the folder it is run in;
``tests/test_reference.py`` fails where one is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cellsearch.reference import cli as cli
from cellsearch.reference import manifest as manifests
from cellsearch.reference import space as spaces

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": cli.page,
    "reference/manifest.md": manifests.page,
    "search-space.md": spaces.page,
}
"""Path below ``docs/`` to what makes the page."""


def write(docs: Path) -> list[Path]:
    """Write every page that has changed.

    Returns:
        The pages written.
    """
    written = []
    for name, page in PAGES.items():
        path, text = docs / name, page()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    for path in write(Path("docs")):
        sys.stdout.write(f"{path}\n")
