"""What the shell offers for the values of options: found by names of files, nothing heavy loaded.

Each function takes what was typed so far. Reading catalogues and runs as they are read elsewhere
takes longer than a person waits for a tab, so they are listed by their file names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import get_args

DATA_SUFFIXES = (".yaml", ".yml", ".csv", ".tsv", ".npz", ".h5", ".hdf5", ".cif", ".rtdc", ".zarr")
METRICS = (
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "worst_recall",
    "accuracy",
)


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


def metrics(incomplete: str) -> list[str]:
    """What may be maximised."""
    return _beginning(METRICS, incomplete)


def runs(incomplete: str) -> list[str]:
    """Runs in ``runs/``, newest first, then folders."""
    found = sorted(Path("runs").glob("*/run.json"), key=lambda path: -path.stat().st_mtime)
    named = _beginning([path.parent.as_posix() for path in found], incomplete)
    return [*named, *(path for path in paths(incomplete) if path.rstrip("/") not in named)]


def cards(incomplete: str) -> list[str]:
    """Cards of the runs in ``runs/``, newest first, then folders."""
    found = sorted(Path("runs").glob("*/card/config.json"), key=lambda path: -path.stat().st_mtime)
    named = _beginning([path.parent.as_posix() for path in found], incomplete)
    return [*named, *(path for path in paths(incomplete) if path.rstrip("/") not in named)]


def precisions(incomplete: str) -> list[str]:
    """Number formats of training."""
    known = ("auto", "fp32", "bf16", "fp32+channels_last", "bf16+channels_last")
    return _beginning(known, incomplete)


def devices(incomplete: str) -> list[str]:
    """Where to train."""
    return _beginning(("auto", "cpu", "cuda", "mps"), incomplete)


def backends(incomplete: str) -> list[str]:
    """Who runs trials."""
    return _beginning(("ray", "local"), incomplete)


def rare(incomplete: str) -> list[str]:
    """What becomes of classes too small for the folds."""
    return _beginning(("keep", "drop", "merge="), incomplete)


def findings(incomplete: str) -> list[str]:
    """Kinds of findings of the check."""
    from cellsearch.data.findings import Kind

    return _beginning(get_args(Kind), incomplete)


def finals(incomplete: str) -> list[str]:
    """What the card's model is."""
    return _beginning(("refit", "ensemble"), incomplete)


def parts(incomplete: str) -> list[str]:
    """Which cells runs are compared on."""
    return _beginning(("holdout", "oof"), incomplete)


def card_formats(incomplete: str) -> list[str]:
    """What a card is exported to."""
    from cellsearch.interop.exporters import EXPORTERS

    return _beginning(tuple(EXPORTERS), incomplete)


def cell_formats(incomplete: str) -> list[str]:
    """What cells are converted to."""
    return _beginning(("folder", "table", "npz", "zarr", "hdf5", "tiff"), incomplete)
