"""``cellsearch export`` and ``cellsearch push``: a card in the hands of others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import CardArgument, Force, Json
from cellsearch.errors import ConfigError

if TYPE_CHECKING:
    from cellsearch.interop.rdf import About
    from cellsearch.interop.references import Reference

FORMATS = ("bioimageio", "huggingface", "onnx")


def export(
    card: CardArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="bioimageio, huggingface or onnx.",
            metavar="FORMAT",
            autocompletion=completion.among(FORMATS),
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
            help="bioimageio: who answers for it; may be given several times.",
            metavar="'NAME; AFFILIATION; ORCID'",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="bioimageio: SPDX id, by default that of the cells.", metavar="ID"),
    ] = None,
    cite: Annotated[
        list[str] | None,
        typer.Option(
            help="bioimageio: a work to cite, beside that of the cells.", metavar="'TEXT DOI'"
        ),
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
    """Write a card as others take it: a BioImage.IO package, a folder for the Hub, one ONNX file.

    A package is tested with bioimageio.core before it is put in place.

    Example: cellsearch export runs/demo/card --to bioimageio -o demo-model --author "Ada Byron"
    """
    from cellsearch.card.card import ModelCard
    from cellsearch.run.history import require_card
    from cellsearch.terminal.tables import say, say_json
    from cellsearch.util.validation import near_miss

    if to not in FORMATS:
        hint = "; TorchScript is not written: BioImage.IO, onnxruntime and the Hub take ONNX"
        raise ConfigError(
            f"--to: must be one of {', '.join(FORMATS)}, got {to!r}"
            + (hint if to == "torchscript" else near_miss(to, FORMATS))
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
    if to == "onnx":
        from cellsearch.interop.onnx_file import write_onnx

        write_onnx(opened, out, force=force)
        facts: dict[str, object] = {"format": to, "file": out}
        lines = [f"{out}: classes, channels, dtype and size are in its metadata"]
    elif to == "huggingface":
        from cellsearch.interop.hub import write_hub_folder

        made = write_hub_folder(opened, out, force=force)
        facts = {"format": to, "folder": out, "files": made.files, "cleaned": made.cleaned}
        lines = [
            f"{out}: {len(made.files)} files, front matter and links checked, card verified",
            *_cleaned(made.cleaned),
            f"push it: cellsearch push {shlex.quote(str(card))} OWNER/NAME",
        ]
    else:
        from cellsearch.interop.bioimageio import export_bioimageio

        about = _about(author, licence, cite, pixel_size, name)
        package = export_bioimageio(opened, out, about, force=force)
        facts = {
            "format": to,
            "folder": out,
            "archive": package.archive,
            "status": package.status,
            "missing": package.notes,
            "report": package.report,
        }
        lines = [f"{out} and {package.archive}: bioimageio.core's test {package.status}"]
        if package.notes:
            from cellsearch.util.wording import worded

            lines.append(
                f"before an upload bioimage.io will ask for {', '.join(map(worded, package.notes))}"
            )
    if as_json:
        say_json(facts)
    else:
        for line in lines:
            say(line)


def push(
    card: CardArgument,
    repository: Annotated[str, typer.Argument(help="On the Hub: OWNER/NAME.", metavar="REPO")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            help="By default HF_TOKEN, or that of `hf auth login`; a shell remembers what is typed."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go; nothing is sent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload a card to the Hugging Face Hub, without local paths; its README is the model card.

    Example: cellsearch push runs/demo/card anna/demo-phases --private --dry-run
    """
    from cellsearch.card.card import ModelCard
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
    for line in _cleaned(pushed.cleaned):
        say(line)
    total = sum(pushed.files.values())
    what = f"{len(pushed.files)} files, {total / 1e6:.1f} MB"
    say(
        f"{what} would go to {repository}; nothing was sent" if dry_run else f"{what}: {pushed.url}"
    )


def _cleaned(cleaned: dict[str, int]) -> list[str]:
    if not cleaned:
        return []
    named = ", ".join(f"{count} in {file}" for file, count in cleaned.items())
    return [f"paths of this machine cut to their last part: {named}"]


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
