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
        help="Classes to take as one; may be given several times, or as a JSON object.",
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
    typer.Option("--one-vs-rest", help="A class against all the others.", metavar="CLASS"),
]
Abstain = Annotated[
    str | None,
    typer.Option(
        help="When a cell is called uncertain: coverage=0.9 (the least sure tenth of each class) "
        "or precision=0.95 (what would be right less often); thresholds come of out-of-fold cells.",
        metavar="RULE",
    ),
]
Sets = Annotated[
    float | None,
    typer.Option(help="Prediction sets that hold the true class so often, such as 0.9."),
]
Fit = Annotated[
    str | None,
    typer.Option(
        help="Crops of another size: pad (or cut), shrink (the larger, and pad), resize or refuse "
        "(default: as in training)."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print facts as one JSON document on standard output.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
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
        help="Name of a built-in space, or path of a YAML.",
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
    """Options of ``apply_task`` as they were typed: which names they hold, the cells will tell."""
    texts = {"channels": channels, "merge": merge, "only": only}
    return {
        "typed": {name: tuple(given) for name, given in texts.items() if given},
        "one_vs_rest": one_vs_rest,
    }
