"""``cellsearch spaces``: what may be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import Json, SpaceArgument
from cellsearch.errors import ConfigError

app = typer.Typer(help="Search spaces: list, show, validate, sample.", no_args_is_help=True)


@app.command(name="list")
def list_spaces(as_json: Json = False) -> None:
    """Names of the built-in spaces.

    Example: cellsearch spaces list
    """
    from cellsearch.space.search_space import SearchSpace
    from cellsearch.terminal.tables import say_json, table
    from cellsearch.util import yaml_files

    spaces = {name: SearchSpace.load(name) for name in yaml_files.names("search_spaces")}
    counts = {name: (space.drawn, len(space.entries)) for name, space in spaces.items()}
    if as_json:
        say_json(
            [
                {"name": name, "parameters": every, "drawn": drawn, "title": spaces[name].title}
                for name, (drawn, every) in counts.items()
            ]
        )
        return
    table(
        ("space", "drawn", "constant", "what it is"),
        [
            (name, str(drawn), str(every - drawn), spaces[name].title)
            for name, (drawn, every) in counts.items()
        ],
    )


@app.command()
def show(
    name: SpaceArgument,
    as_yaml: Annotated[
        bool,
        typer.Option("--yaml", help="Print the expanded space as YAML, to start your own from."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Every parameter of a space, with its range and condition.

    Example: cellsearch spaces show default

    Example: cellsearch spaces show quick --yaml > mine.yaml
    """
    from cellsearch.space.search_space import SearchSpace
    from cellsearch.terminal.tables import say_json, table

    if as_yaml and as_json:
        raise ConfigError("--yaml, --json: one document is printed, leave one of them out")
    space = SearchSpace.load(name)
    if as_yaml:
        typer.echo(space.to_yaml(), nl=False)
        return
    if as_json:
        facts = {"name": space.name, "title": space.title, "limits": space.limits}
        say_json(facts | {"parameters": space.describe(), "sha256": space.sha256})
        return
    table(
        ("parameter", "kind", "range", "when", "meaning"),
        [(r.name, r.kind, r.range, r.condition, r.meaning) for r in space.describe()],
    )
    typer.echo(f"limits: {space.limits}")


@app.command()
def validate(
    file: Annotated[
        Path,
        typer.Argument(
            help="A search space in YAML.", metavar="FILE", autocompletion=completion.spaces
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say what is wrong with a space, what in it has no effect, or that nothing is.

    Example: cellsearch spaces validate mine.yaml
    """
    from cellsearch.space.search_space import SearchSpace
    from cellsearch.space.without_effect import without_effect
    from cellsearch.terminal.tables import say_json

    space = SearchSpace.load(str(file))
    idle = without_effect(space)
    if as_json:
        facts = {"file": file, "valid": True, "parameters": len(space.entries)}
        say_json(facts | {"without_effect": idle})
        return
    typer.echo(f"{file}: a valid space of {len(space.entries)} parameters, {space.drawn} drawn")
    for line in idle:
        typer.echo(f"  {line}")


@app.command()
def sample(
    name: SpaceArgument,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many recipes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Recipes drawn at random, as the search would first draw them.

    Example: cellsearch spaces sample default -n 3 --seed 7
    """
    from cellsearch.space.search_space import SearchSpace, sample
    from cellsearch.terminal.tables import say_json

    if as_json:
        drawn = sample(SearchSpace.load(name), number, seed=seed)
        say_json([recipe.model_dump(mode="json") for recipe in drawn])
        return
    for index, recipe in enumerate(sample(SearchSpace.load(name), number, seed=seed), start=1):
        typer.echo(f"recipe {index}")
        for parameter, value in recipe.to_params().items():
            typer.echo(f"  {parameter}: {value}")
