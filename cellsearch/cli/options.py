"""Options that several commands share, so that each has one name and one meaning."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from cellsearch.cli import completion
from cellsearch.errors import ConfigError
from cellsearch.run.config import RunConfig

_TEXTS = {"options", "channels", "merge", "only", "accept"}
"""Fields that are typed as texts, each several times."""
_ON_THE_LINE: Mapping[str, Mapping[str, Any]] = {
    "dataset": {"autocompletion": completion.datasets},
    "space": {"autocompletion": completion.spaces},
    "init_from": {"metavar": "CARD", "autocompletion": completion.cards},
    "seconds": {"flag": "--time", "metavar": "SPAN"},
    "mirror": {"flag": "--from"},
    "options": {"flag": "--option", "metavar": "NAME=VALUE"},
    "channels": {"metavar": "A,B"},
    "merge": {"metavar": "NAME=CLASS+CLASS"},
    "only": {"metavar": "CLASS,CLASS"},
    "one_vs_rest": {"metavar": "CLASS"},
    "split": {"metavar": "70/10/20"},
    "accept": {"metavar": "FINDING"},
    "abstain": {"metavar": "RULE"},
    "address": {"metavar": "HOST:PORT"},
    "sets": {"flag": "--prediction-sets", "metavar": "SHARE"},
    "slots": {"flag": "--max-concurrent-trials", "metavar": "N"},
    "race": {"flag": "--race/--no-race"},
    "ladder": {"flag": "--ladder/--no-ladder"},
}
"""What a terminal adds to a field: another name, what stands for its value, files to offer."""
TASK = ("variant", "mirror", "options", "channels", "merge", "only", "one_vs_rest")
"""Fields that say which cells, channels and classes of a data set are meant."""
_FIRST = ("dataset", "space", "budget", "seconds")
_BY_OTHERS = ("folds", "holdout", "budget")
"""Fields whose default depends on what else is given."""


def of_run(field: str) -> Any:
    """The option of a field of ``RunConfig``: its description is the help, its choices complete."""
    found = RunConfig.model_fields[field]
    more = dict(_ON_THE_LINE.get(field, {}))
    words = found.examples or (
        get_args(found.annotation) if get_origin(found.annotation) is Literal else ()
    )
    if words:
        more["autocompletion"] = completion.among(words)
    more.pop("flag", None)
    return typer.Option(_flag(field), help=help_of(field), **more)


def help_of(field: str) -> str:
    """The description of a field, with the fields that it names as options."""

    def as_option(named: re.Match[str]) -> str:
        return _flag(named[1]) if named[1] in RunConfig.model_fields else named[0]

    return re.sub(r"`(\w+)`", as_option, RunConfig.model_fields[field].description or "")


def _flag(field: str) -> str:
    flag: str = _ON_THE_LINE.get(field, {}).get("flag", f"--{field.replace('_', '-')}")
    return flag


ReaderOptions = Annotated[list[str] | None, of_run("options")]
Mirror = Annotated[Path | None, of_run("mirror")]
Variant = Annotated[str | None, of_run("variant")]
Abstain = Annotated[str | None, of_run("abstain")]
Sets = Annotated[float | None, of_run("sets")]
Fit = Annotated[
    str | None,
    typer.Option(
        help="What to do with crops of another size: pad (cut the larger), shrink (the larger, pad "
        "the smaller), resize or refuse (default: as in training)."
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Another name that the server answers to, as of a proxy before it; may be repeated.",
        metavar="NAME",
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


NO_READER = {
    "mirror": "; give the folder of the files with --from",
    "variant": "; give --variant",
    "cache": "; set CELLSEARCH_CACHE",
    "on_progress": "",
}
"""Keywords of ``load_dataset`` that are not the reader's, and what to give in their place."""


def reader_options(pairs: list[str] | None) -> dict[str, Any]:
    """``["size=40x40"]`` as a mapping.

    Raises:
        ConfigError: a pair without ``=``, a name given twice, or one that no reader has.
    """
    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise ConfigError(f"--option: expected NAME=VALUE, got {pair!r}")
        if name in options:
            raise ConfigError(f"--option: {name} is given twice")
        if name in NO_READER:
            raise ConfigError(f"--option: no reader has {name}{NO_READER[name]}")
        options[name] = value
    return options


def run_options(*fields: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each of these fields of ``RunConfig``, or for all of them.

    The command gets them as keywords, as ``run_values`` takes them; help lists them behind what
    the command needs and before its own options. Where fields are named, none of them has a
    default: what is not given stays as it was.
    """
    rest = [name for name in RunConfig.model_fields if name not in (*_FIRST, "typed")]
    names = fields or (*_FIRST, *rest)

    def parameter(name: str) -> inspect.Parameter:
        found = RunConfig.model_fields[name]
        default = found.default if not (fields or name in (*_BY_OTHERS, *_TEXTS)) else None
        default = inspect.Parameter.empty if default is PydanticUndefined else default
        kind: Any = list[str] if name in _TEXTS else found.annotation
        if name == "seconds" or get_origin(kind) is Literal:
            kind = str
        if default is None:
            kind = kind | None
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, of_run(name)],
        )

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())[:-1]
        needed = [p for p in own if p.default is inspect.Parameter.empty]
        others = [p for p in own if p.default is not inspect.Parameter.empty]
        every = [*needed, *map(parameter, names), *others]
        command.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        return command

    return decorated


def run_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for ``RunConfig.of`` from options as they were typed; those not given are absent.

    Raises:
        ConfigError: a span of time, or options of a reader, that cannot be read.
    """
    from cellsearch.util.durations import seconds

    values = {name: value for name, value in given.items() if value is not None}
    if "seconds" in values:
        values["seconds"] = seconds(values["seconds"])
    if "options" in values:
        values["options"] = reader_options(values["options"])
    if "accept" in values:
        values["accept"] = tuple(values["accept"])
    # Which names they hold, the cells tell.
    texts = {name: values.pop(name) for name in ("channels", "merge", "only") if name in values}
    typed = {name: tuple(given) for name, given in texts.items() if given}
    return values | ({"typed": typed} if typed else {})
