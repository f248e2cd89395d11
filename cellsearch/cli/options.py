"""Options that several commands share, so that each has one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellsearch.cli import completion
from cellsearch.errors import ConfigError

ReaderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="How to read the files, as name=value; may be given several times.",
        metavar="NAME=VALUE",
    ),
]
Mirror = Annotated[
    Path | None,
    typer.Option("--from", help="Folder that holds the files, instead of downloading them."),
]
Variant = Annotated[
    str | None, typer.Option(help="A named variant: a choice of channels, or merged classes.")
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        help="Channels to use, in this order; may be given several times, or as a JSON list.",
        metavar="A,B",
    ),
]
Merge = Annotated[
    list[str] | None,
    typer.Option(
        help="Classes to merge into one; may be given several times, or as a JSON object.",
        metavar="NAME=CLASS+CLASS",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Classes to keep, after --merge; may be given several times, or as a JSON list.",
        metavar="CLASS,CLASS",
    ),
]
OneVsRest = Annotated[
    str | None,
    typer.Option("--one-vs-rest", help="Train one class against all the others.", metavar="CLASS"),
]
Abstain = Annotated[
    str | None,
    typer.Option(
        help="When to call a cell uncertain: coverage=0.9 (the least certain tenth of each class) "
        "or "
        "precision=0.95 (cells that would be right less often). Thresholds come from out-of-fold "
        "cells.",
        metavar="RULE",
    ),
]
Sets = Annotated[
    float | None,
    typer.Option(
        "--prediction-sets",
        help="Also give each cell a set of classes that contains the true one this often, such as "
        "0.9.",
        metavar="SHARE",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        help="What to do with crops of another size: pad (cut the larger), shrink (the larger, pad "
        "the smaller), resize or refuse (default: as in training)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
RunArgument = Annotated[
    Path,
    typer.Argument(help="Folder of a run.", metavar="RUN", autocompletion=completion.runs),
]
SharedStorage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Find runs by name in this database, such as postgresql+psycopg://USER@HOST/DB.",
        metavar="URL",
    ),
]
CardArgument = Annotated[
    Path,
    typer.Argument(help="Folder of a model card.", metavar="CARD", autocompletion=completion.cards),
]
DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="A built-in name, a manifest, or a folder, table or file of cells.",
        metavar="DATASET",
        autocompletion=completion.datasets,
    ),
]
SpaceArgument = Annotated[
    str,
    typer.Argument(
        help="Name of a built-in space, or path of a YAML file.",
        metavar="SPACE",
        autocompletion=completion.spaces,
    ),
]


def reader_options(pairs: list[str] | None) -> dict[str, Any]:
    """``["size=40x40"]`` as a mapping.

    Raises:
        ConfigError: a pair without ``=``, or a name given twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise ConfigError(f"--option: expected NAME=VALUE, got {pair!r}")
        if name in options:
            raise ConfigError(f"--option: {name} is given twice")
        options[name] = value
    return options


def task_options(
    channels: list[str] | None,
    merge: list[str] | None,
    only: list[str] | None,
    one_vs_rest: str | None,
) -> dict[str, Any]:
    """Options of ``apply_task`` as they were typed; the cells decide which names they hold."""
    texts = {"channels": channels, "merge": merge, "only": only}
    return {
        "typed": {name: tuple(given) for name, given in texts.items() if given},
        "one_vs_rest": one_vs_rest,
    }
