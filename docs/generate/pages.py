"""The pages of the documents that are generated from the code, and their command.

``python docs/generate/pages.py`` writes them all below ``docs/`` of the folder it is run in;
``tests/test_reference.py`` fails where one is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import rooms

import cli_page
import manifest_page
import space_page

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": cli_page.page,
    "reference/manifest.md": manifest_page.page,
    "search-space.md": space_page.page,
    "images/rooms.svg": rooms.page,
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
