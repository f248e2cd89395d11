"""Options that several commands share, so that each has one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")]


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
