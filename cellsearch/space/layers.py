"""A space's document and those that it extends, read, merged and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cellsearch.errors import CatalogError, ConfigError, SpaceError
from cellsearch.space.entry import Entry
from cellsearch.space.expand import Written, expand, listing
from cellsearch.space.language import SpaceFile
from cellsearch.space.recipe import Recipe
from cellsearch.util import yaml_files
from cellsearch.util.yaml_files import Document, Problem


@dataclass(frozen=True)
class Layer:
    """One document with all that it inherits.

    Attributes:
        limits: as written, by key; None lifts a parent's.
        starts: recipes of the initial trials; a document that names some replaces its parent's.
        written: by name, what the entries were made from.
    """

    file: SpaceFile
    limits: dict[str, Any]
    starts: tuple[Recipe, ...]
    written: dict[str, Written]
    entries: tuple[Entry, ...]


def read_document(path: Path) -> Document:
    """A YAML file, whose errors are a search space's.

    Raises:
        SpaceError: it cannot be read.
    """
    try:
        return yaml_files.read_yaml(path)
    except ConfigError as error:
        raise SpaceError(error) from None


def read_layer(document: Document, chain: Sequence[Path] = ()) -> Layer:
    """Check one document, its parents first.

    Args:
        chain: the files that led here by `extends`.

    Raises:
        SpaceError: all problems of the document, a line each.
    """
    found: list[tuple[Document, Problem]] = []
    file: SpaceFile | None = None
    try:
        file = SpaceFile.model_validate(document.data)
    except ValidationError as failure:
        problems = yaml_files.problems(SpaceFile, failure, document.data)
        found += [(document, problem) for problem in problems]
    parent = _parent(document, chain, found)
    written = dict(parent.written) if parent else {}
    own = document.data.get("parameters")
    for name, raw in own.items() if isinstance(own, dict) else ():
        if raw is None and str(name) in written:
            del written[str(name)]
        elif raw is None:
            text = "has no value, and no inherited parameter to remove"
            found.append((document, Problem(("parameters", str(name)), text)))
        else:
            written[str(name)] = Written(document, raw)
    starts = parent.starts if parent else ()
    if file is not None and "initial" in file.model_fields_set:
        starts = _starts(file, document, found)
    entries, wrong = expand(written, document)
    if file is None or found or wrong:
        raise SpaceError(listing(found + wrong))
    limits = dict(parent.limits) if parent else {}
    limits |= file.limits.model_dump(exclude_unset=True)
    return Layer(file, limits, starts, written, entries)


def _starts(
    file: SpaceFile, document: Document, found: list[tuple[Document, Problem]]
) -> tuple[Recipe, ...]:
    key = "initial" if "initial" in document.data else "starts"
    starts = []
    for index, params in enumerate(file.initial):
        try:
            starts.append(Recipe.from_params(params))
        except SpaceError as error:
            found += [(document, Problem((key, index), line)) for line in str(error).splitlines()]
    return tuple(starts)


def _parent(
    document: Document, chain: Sequence[Path], found: list[tuple[Document, Problem]]
) -> Layer | None:
    extends = document.data.get("extends")
    if not isinstance(extends, str):
        return None
    beside = document.path.parent / extends if document.path else Path(extends)
    is_file = beside.suffix in (".yaml", ".yml") and beside.is_file()
    try:
        path = beside if is_file else yaml_files.find("search_spaces", extends)
    except CatalogError as error:
        found.append((document, Problem(("extends",), str(error))))
        return None
    visited = [*chain, *([document.path.resolve()] if document.path else [])]
    if path.resolve() in visited:
        names = " -> ".join(p.stem for p in [*visited, path])
        found.append((document, Problem(("extends",), f"extends itself in a circle: {names}")))
        return None
    return read_layer(read_document(path), visited)
