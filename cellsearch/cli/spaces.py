"""``cellsearch spaces``: what may be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Search spaces: list, show, validate, sample.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="Name of a built-in space, or path of a YAML.")]


@app.command(name="list")
def list_spaces() -> None:
    """Names of the built-in spaces."""
    from cellsearch import catalog
    from cellsearch.report import table
    from cellsearch.space.search_space import SearchSpace

    rows = []
    for name in catalog.names("search_spaces"):
        space = SearchSpace.load(name)
        rows.append((name, str(len(space.describe())), space.title))
    table(("space", "parameters", "what it is"), rows)


@app.command()
def show(name: NameArgument) -> None:
    """Every parameter of a space, with its range and condition."""
    from cellsearch.report import table
    from cellsearch.space.search_space import SearchSpace

    space = SearchSpace.load(name)
    table(
        ("parameter", "kind", "range", "when", "meaning"),
        [(r.name, r.kind, r.range, r.condition, r.meaning) for r in space.describe()],
    )
    typer.echo(f"limits: {space.limits}")


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="A search space in YAML.")]) -> None:
    """Say what is wrong with a space, or that nothing is."""
    from cellsearch.space.search_space import SearchSpace

    space = SearchSpace.load(str(file))
    typer.echo(f"{file}: a valid space of {len(space.describe())} parameters")


@app.command()
def sample(
    name: NameArgument,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many recipes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Recipes drawn at random, as the search would first draw them."""
    from cellsearch.space.search_space import SearchSpace, sample

    for index, recipe in enumerate(sample(SearchSpace.load(name), number, seed=seed), start=1):
        typer.echo(f"recipe {index}")
        for parameter, value in recipe.to_params().items():
            typer.echo(f"  {parameter}: {value}")
