"""Finds a YAML by built-in name or by path, reads it, and locates what is wrong in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cellsearch.errors import CatalogError, ConfigError
from cellsearch.util.named_path import named_path, special_kind, taken_for
from cellsearch.util.validation import (
    KeyPath,
    Problem,
    kind_of,
    near_miss,
    pointer,
    problems,
    shown,
)

__all__ = [
    "Document",
    "KeyPath",
    "Kind",
    "Problem",
    "find",
    "kind_of",
    "listing",
    "names",
    "near_miss",
    "pointer",
    "problems",
    "read_yaml",
    "shown",
    "validate",
]

Kind = Literal["datasets", "search_spaces"]
M = TypeVar("M", bound=BaseModel)

_SINGULAR = {"datasets": "data set", "search_spaces": "search space"}
_BEGUN_BY = {
    "datasets": "`cellsearch init FOLDER` writes one for your cells",
    "search_spaces": "`cellsearch spaces show default --yaml > my.yaml` writes one to start from",
}
_SUFFIXES = (".yaml", ".yml")
WITHIN = "dataset.yaml"
"""A manifest of this name lies in the folder of the cells that it describes."""


@dataclass(frozen=True)
class Document:
    """One YAML file as plain values, with the line of each key and list item.

    Attributes:
        path: the file; None for values that were built in Python.
        data: dict, list, str, int, float, bool, None and dates only.
    """

    path: Path | None
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def line(self, of: Sequence[str | int]) -> int:
        """Line, from 1, of a key or item; of its nearest parent where it is absent."""
        path = tuple(of)
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def at(self, of: Sequence[str | int]) -> str:
        """`` (jurkat.yaml:31)``; empty for values built in Python."""
        return f" ({self.path.name}:{self.line(of)})" if self.path else ""


def find(kind: Kind, name_or_path: str) -> Path:
    """File of a built-in name, or of a path that ends in .yaml or .yml.

    A folder that holds a ``dataset.yaml``, as ``cellsearch convert`` writes, stands for it.

    Raises:
        CatalogError: there is no such file or name; the nearest name is offered.
    """
    path = named_path(Path(name_or_path).expanduser())
    if kind == "datasets" and (path / WITHIN).is_file():
        return path / WITHIN
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        if path.is_file():
            return path
        if special := special_kind(path):
            raise CatalogError(f"{_SINGULAR[kind]} '{name_or_path}': {special}, not a file")
        beside = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise CatalogError(
            f"{_SINGULAR[kind]} '{name_or_path}': no such file{near_miss(path.name, beside)}; "
            f"{_BEGUN_BY[kind]}"
        )
    folder = _folder(kind)
    if folder is not None and (folder / f"{name_or_path}.yaml").is_file():
        return folder / f"{name_or_path}.yaml"
    known = names(kind)
    here = f"no file or folder here either{taken_for(path)}"
    other = here if kind == "datasets" else "a path ends in .yaml"
    raise CatalogError(
        f"no {_SINGULAR[kind]} '{name_or_path}'{near_miss(name_or_path, known)} "
        f"(built in: {', '.join(known) or 'none'}; {other})"
    )


def names(kind: Kind) -> list[str]:
    """Sorted names of the files that come with cellsearch."""
    folder = _folder(kind)
    return sorted(p.stem for p in folder.glob("*.yaml")) if folder else []


def _folder(kind: Kind) -> Path | None:
    package = Path(str(files("cellsearch")))
    # An editable install does not see what the wheel force-includes.
    for folder in (package / "_shipped" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    return None


LARGEST = 500_000
"""Bytes of a YAML file; more takes the parser many seconds."""

MOST_LISTED = 20
DEEPEST = 100
FREE_VALUES = 1000


def read_yaml(path: Path) -> Document:
    """Read one YAML 1.2 mapping; duplicated keys and tags are refused.

    Raises:
        ConfigError: the file is absent, too large, not UTF-8, not YAML or not a mapping.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(
                f"{path.name}: {path.stat().st_size / 1e6:.3g} MB, where such a file holds at most "
                f"{LARGEST / 1e6:g} MB of text; give another"
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"not UTF-8 text ({path.name}:{line})") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        # A zero byte in the path.
        raise ConfigError(f"{ascii(str(path))[1:-1]}: {error}") from None
    _require_shallow(text, path)
    lines: dict[KeyPath, int] = {}
    # What is written out takes a character each; beyond that aliases multiply.
    budget = _Budget(path, FREE_VALUES + len(text))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = _plain(YAML(typ="rt").load(text), (), lines, budget)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise ConfigError(f"not valid YAML: {_first_line(error.problem)} ({where})") from None
    except YAMLError as error:
        raise ConfigError(f"not valid YAML: {_first_line(str(error))} ({path.name})") from None
    except RecursionError:
        raise _too_deep(path) from None
    except (ValueError, TypeError, OverflowError) as error:
        # A date of a 13th month, a number of thousands of digits, a list as a key.
        raise ConfigError(f"not valid YAML: {_first_line(str(error))} ({path.name})") from None
    if not isinstance(data, dict):
        found = "an empty file" if data is None else kind_of(data)
        raise ConfigError(f"$: expected a mapping of keys to values, got {found} ({path.name}:1)")
    return Document(path, data, lines)


def _first_line(text: str | None) -> str:
    return (text or "unreadable").strip().splitlines()[0]


def _require_shallow(text: str, path: Path) -> None:
    """Refuse brackets in brackets in brackets, over which the parser takes many seconds.

    Brackets within quotes and comments count, too; nobody nests so deeply in earnest.
    """
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > DEEPEST:
            raise _too_deep(path)


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(f"not valid YAML: nested too deeply ({path.name})")


@dataclass
class _Budget:
    """How many values a document may still have."""

    file: Path
    values: int

    def spend(self) -> None:
        self.values -= 1
        if self.values < 0:
            raise ConfigError(
                f"{self.file.name}: far more values than are written in it, by aliases such as *a; "
                "write out what is meant"
            )


def _plain(value: Any, path: KeyPath, lines: dict[KeyPath, int], budget: _Budget) -> Any:
    budget.spend()
    file = budget.file
    if isinstance(value, CommentedMap):
        result = {}
        for key, item in value.items():
            name = _plain(key, path, {}, budget)
            # A key that was merged in by `<<` has no line of its own.
            if key in (value.lc.data or {}):
                lines[(*path, name)] = value.lc.key(key)[0] + 1
            result[name] = _plain(item, (*path, name), lines, budget)
        return result
    if isinstance(value, CommentedSeq):
        for i in range(len(value)):
            # A list that bears a tag has no lines.
            if i in (value.lc.data or {}):
                lines[(*path, i)] = value.lc.item(i)[0] + 1
        return [_plain(item, (*path, i), lines, budget) for i, item in enumerate(value)]
    if isinstance(value, TaggedScalar) or type(value).__name__ == "CommentedSet":
        line = Document(file, {}, lines).line(path)
        raise ConfigError(f"{pointer(path)}: tags such as '!x' are not read ({file.name}:{line})")
    if isinstance(value, bool) or value is None:
        return value
    # Scalars come as subclasses that remember how they were written.
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if type(value).__name__ == "ScalarBoolean":
        return bool(value)
    return value


def validate(model: type[M], document: Document, *, error: type[ConfigError]) -> M:
    """Build ``model`` from a document.

    Raises:
        error: all problems, a line each:
            ``$.classes.2.count: expected an integer >= 0, got 'many' (jurkat.yaml:31)``.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as failure:
        found = problems(model, failure, document.data)
    raise error(listing(document, found))


def listing(document: Document, found: Sequence[Problem]) -> str:
    """The problems of a document as one message, a line each, in the order of the file."""
    order = sorted(found, key=lambda p: document.line(p.path))
    shown = order[:MOST_LISTED]
    lines = [f"{pointer(p.path)}: {p.text}{document.at(p.path)}" for p in shown]
    more = [f"and {len(order) - len(shown):,} more like these"] if len(order) > len(shown) else []
    return "\n".join([*lines, *more])
