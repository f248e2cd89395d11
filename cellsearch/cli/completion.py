"""What the shell offers for the values of options: found by names of files, nothing heavy loaded.

Each function takes what was typed so far. Reading catalogues and runs as they are read elsewhere
takes longer than a person waits for a tab, so they are listed by their file names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path

DATA_SUFFIXES = (".yaml", ".yml", ".csv", ".tsv", ".npz", ".h5", ".hdf5", ".cif", ".rtdc", ".zarr")


def _built_in(kind: str) -> list[str]:
    package = Path(str(files("cellsearch")))
    for folder in (package / "_shipped" / kind, package.parent / kind):
        if folder.is_dir():
            return sorted(path.stem for path in folder.glob("*.yaml"))
    return []


def _beginning(words: Iterable[str], typed: str) -> list[str]:
    return [word for word in words if word.startswith(typed)]


def paths(typed: str, suffixes: tuple[str, ...] = ()) -> Iterator[str]:
    """Folders, and files of these suffixes, that begin as typed."""
    parent = Path(typed) if typed.endswith("/") else Path(typed).parent
    shown = typed[: typed.rfind("/") + 1]
    try:
        entries = sorted(parent.expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        text = f"{shown}{entry.name}"
        hidden = entry.name.startswith(".") and not Path(typed).name.startswith(".")
        if hidden or not text.startswith(typed):
            continue
        if entry.is_dir():
            yield f"{text}/"
        elif entry.suffix.lower() in suffixes:
            yield text


def datasets(incomplete: str) -> list[str]:
    """Built-in names, folders, and files that may be read as cells."""
    return [
        *_beginning(_built_in("datasets"), incomplete),
        *paths(incomplete, DATA_SUFFIXES),
    ]


def spaces(incomplete: str) -> list[str]:
    """Built-in search spaces, and YAML files."""
    return [
        *_beginning(_built_in("search_spaces"), incomplete),
        *paths(incomplete, (".yaml", ".yml")),
    ]


def runs(incomplete: str) -> list[str]:
    """Runs in ``runs/``, newest first, then folders."""
    return _newest("*/run.json", incomplete)


def cards(incomplete: str) -> list[str]:
    """Cards of the runs in ``runs/``, newest first, then folders."""
    return _newest("*/card/config.json", incomplete)


def _newest(pattern: str, incomplete: str) -> list[str]:
    found = sorted(Path("runs").glob(pattern), key=lambda path: -path.stat().st_mtime)
    named = _beginning([path.parent.as_posix() for path in found], incomplete)
    return [*named, *(path for path in paths(incomplete) if path.rstrip("/") not in named)]


def among(known: Iterable[str]) -> Callable[[str], list[str]]:
    """What offers the words of a list."""
    words = tuple(known)

    def offered(incomplete: str) -> list[str]:
        return _beginning(words, incomplete)

    return offered


def card_formats(incomplete: str) -> list[str]:
    """What a card is exported to."""
    from cellsearch.interop.exporters import EXPORTERS

    return _beginning(tuple(EXPORTERS), incomplete)
