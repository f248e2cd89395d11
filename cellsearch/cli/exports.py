"""``cellsearch export`` and ``cellsearch push``: a card in the hands of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import CardArgument, Force, Json
from cellsearch.errors import ConfigError

if TYPE_CHECKING:
    from cellsearch.interop.rdf import About
    from cellsearch.interop.references import Reference


def export(
    card: CardArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Format: bioimageio, huggingface or onnx.",
            metavar="FORMAT",
            autocompletion=completion.card_formats,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder to write (for onnx: a file); bioimageio adds OUT.zip."
        ),
    ],
    author: Annotated[
        list[str] | None,
        typer.Option(
            help="bioimageio: an author, who answers for it; may be given several times.",
            metavar="'NAME; AFFILIATION; ORCID'",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="bioimageio: SPDX id, by default that of the cells.", metavar="ID"),
    ] = None,
    cite: Annotated[
        list[str] | None,
        typer.Option(help="bioimageio: a further work to cite.", metavar="'TEXT DOI'"),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="bioimageio: side of a pixel, micrometres.", min=1e-6)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="bioimageio: name of the model.", metavar="NAME")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a card for another tool: a BioImage.IO package, a folder for the Hub, one ONNX file.

    A package is tested with bioimageio.core before it is put in place.

    Example: cellsearch export runs/demo/card --to bioimageio -o demo-model --author "Ada Byron"
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.interop.exporters import EXPORTERS
    from cellsearch.run.history import require_card
    from cellsearch.terminal.tables import say, say_json
    from cellsearch.util.validation import near_miss
    from cellsearch.util.wording import worded

    if to not in EXPORTERS:
        hint = "; TorchScript is not written: BioImage.IO, onnxruntime and the Hub take ONNX"
        raise ConfigError(
            f"--to: must be one of {', '.join(EXPORTERS)}, got {to!r}"
            + (hint if to == "torchscript" else near_miss(to, EXPORTERS))
        )
    given = {"--author": author, "--licence": licence, "--cite": cite} | {
        "--pixel-size": pixel_size,
        "--name": name,
    }
    idle = [option for option, value in given.items() if value is not None]
    if to != "bioimageio" and idle:
        raise ConfigError(f"{', '.join(idle)}: only for --to bioimageio")
    require_card(card)
    if out.resolve() == card.resolve() or card.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--out: {out} holds the card itself; name another place")
    opened = ModelCard.load(card)
    made = EXPORTERS[to](
        opened, out, about=_about(author, licence, cite, pixel_size, name), force=force
    )
    if as_json:
        say_json({"format": to, **made.facts})
    else:
        for line in made.lines:
            say(worded(line))


def push(
    card: CardArgument,
    repository: Annotated[str, typer.Argument(help="On the Hub: OWNER/NAME.", metavar="REPO")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            help="Default: HF_TOKEN, or the token of `hf auth login`. A shell remembers what is "
            "typed."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be sent; send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload a card to the Hugging Face Hub, without local paths; its README is the model card.

    Example: cellsearch push runs/demo/card anna/demo-phases --private --dry-run
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.interop.hub import shortened_paths
    from cellsearch.interop.push import push as upload
    from cellsearch.run.history import require_card
    from cellsearch.terminal.tables import say, say_json, table

    require_card(card)
    pushed = upload(ModelCard.load(card), repository, private=private, token=token, dry_run=dry_run)
    if as_json:
        say_json(
            {
                "repository": repository,
                "dry_run": dry_run,
                "url": pushed.url,
                "files": pushed.files,
                "cleaned": pushed.cleaned,
            }
        )
        return
    if dry_run:
        table(("file", "bytes"), [(file, f"{size:,}") for file, size in pushed.files.items()])
    for line in shortened_paths(pushed.cleaned):
        say(line)
    total = sum(pushed.files.values())
    what = f"{len(pushed.files)} files, {total / 1e6:.1f} MB"
    say(
        f"{what} would be sent to {repository}; nothing was sent"
        if dry_run
        else f"{what}: {pushed.url}"
    )


def _about(
    author: list[str] | None,
    licence: str | None,
    cite: list[str] | None,
    pixel_size: float | None,
    name: str | None,
) -> About:
    from cellsearch.interop.rdf import About, Author
    from cellsearch.interop.references import references

    authors = []
    for text in author or ():
        who, *rest = (part.strip() or None for part in text.split(";"))
        if who is None or len(rest) > 2:
            raise ConfigError(f"--author: expected 'NAME; AFFILIATION; ORCID', got {text!r}")
        authors.append(Author(who, *rest))
    works: list[Reference] = []
    for text in cite or ():
        found = references(text)
        if not found:
            raise ConfigError(
                f"--cite: no DOI in {text!r}; bioimage.io wants one, such as 10.1038/ncomms10256"
            )
        works.extend(found)
    return About(tuple(authors), licence, tuple(works), pixel_size, name)
