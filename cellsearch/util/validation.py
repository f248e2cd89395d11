"""Pydantic's errors in plain words, at the place in the document where they lie."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of a document."""

    path: KeyPath
    text: str


MISSED = "; did you mean "


def near_miss(name: str, candidates: Iterable[str]) -> str:
    """``; did you mean 'jurkat'?``, or empty when nothing is near and nothing holds the name."""
    known = [str(candidate) for candidate in candidates]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    close = close or [each for each in known if len(str(name)) > 1 and str(name) in each]
    return f"{MISSED}'{close[0]}'?" if close else ""


def pointer(path: Sequence[str | int]) -> str:
    """``$.classes.2.count``."""
    return ".".join(["$", *map(str, path)])


def problems(model: type[BaseModel], failure: ValidationError, data: Any) -> list[Problem]:
    """Pydantic's errors in plain words; alternatives of a union at one place are joined."""
    texts: dict[KeyPath, list[str]] = {}
    values: dict[KeyPath, str] = {}
    for item in failure.errors(include_url=False):
        path, schema = _locate(model, item["loc"], data, absent=item["type"] == "missing")
        got = "" if item["type"] in _NO_VALUE else f", got {shown(item['input'])}"
        if item["type"] == "value_error" and isinstance(item["input"], str | int | float):
            got = f", got {shown(item['input'])}"
        text = _text(item, path, schema)
        said = texts.setdefault(path, [])
        # Of a union, what each alternative expects holds for the first of them already.
        if not any(text.removeprefix("expected ") in one for one in said):
            said.append(text)
        values[path] = got
    joined = []
    for path, said in texts.items():
        rest = [said[0], *(s.removeprefix("expected ") for s in said[1:])]
        expected, sign, hint = " or ".join(rest).partition(MISSED)
        joined.append(Problem(path, expected + values[path] + sign + hint))
    return joined


_NO_VALUE = {"missing", "extra_forbidden", "value_error", "union_tag_not_found", "assertion_error"}


def _text(item: Any, path: KeyPath, schema: list[_Schema]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    match kind:
        case "missing":
            return "required, but missing"
        case "extra_forbidden":
            known = [n for s in schema for n in s.fields]
            hint = near_miss(str(path[-1]), known)
            return f"unknown key{hint or ('; known: ' + ', '.join(known) if known else '')}"
        case "value_error" | "assertion_error":
            return str(context.get("error") or item["msg"])
        case "union_tag_invalid":
            wanted = context["expected_tags"].replace("'", "").split(", ")
            hint = near_miss(str(context["tag"]), wanted)
            return (
                f"expected {context['discriminator'].strip(chr(39))} to be one of "
                f"{', '.join(wanted)}{hint}"
            )
        case "union_tag_not_found":
            return f"needs the key {context['discriminator']}"
        case "string_pattern_mismatch":
            return f"expected text that matches {context['pattern']}"
        case "literal_error" | "enum":
            return f"expected one of {context['expected'].replace(' or ', ', ')}"
    expected = dict.fromkeys(text for s in schema if (text := s.expectation()))
    if expected:
        return f"expected {' or '.join(expected)}"
    message: str = item["msg"]
    return message[0].lower() + message[1:].replace("Input should be", "expected")


def shown(value: Any) -> str:
    """A value as it stands in a message, cut short where it is long."""
    if isinstance(value, dict | list | tuple) and len(str(value)) > 40:
        return kind_of(value)
    words = {True: "true", False: "false", None: "nothing"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    text = kind_of(value) if isinstance(value, date) else text
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(value: Any) -> str:
    """``a mapping``, ``a list``, or the value itself."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, date):
        return f"a date ({value}); put it in quotes"
    return "a list" if isinstance(value, list | tuple) else repr(value)


@dataclass(frozen=True)
class _Schema:
    """An annotation and its constraints at one place of a model."""

    annotation: Any
    bounds: tuple[Any, ...] = ()

    @classmethod
    def of(cls, annotation: Any, bounds: Iterable[Any] = ()) -> list[_Schema]:
        """The annotation, its Annotated and unions taken apart."""
        origin = get_origin(annotation)
        if origin is Annotated:
            base, *extra = get_args(annotation)
            inner = [m for e in extra for m in (e.metadata if isinstance(e, FieldInfo) else [e])]
            return cls.of(base, (*bounds, *inner))
        if origin in (Union, types.UnionType):
            return [s for a in get_args(annotation) for s in cls.of(a, bounds)]
        return [] if annotation is type(None) else [cls(annotation, tuple(bounds))]

    @property
    def model(self) -> type[BaseModel] | None:
        known = isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)
        return self.annotation if known else None

    @property
    def fields(self) -> list[str]:
        """Keys that a model takes."""
        if self.model is None:
            return []
        return [info.alias or name for name, info in self.model.model_fields.items()]

    def step(self, key: str | int) -> list[_Schema] | None:
        """What lies under a key or index; None where this annotation has no such place."""
        if self.model is not None:
            for name, info in self.model.model_fields.items():
                former = info.validation_alias
                names = former.choices if isinstance(former, AliasChoices) else ()
                if key in (name, info.alias, *names):
                    return self.of(info.annotation, info.metadata)
            return None
        arguments = [a for a in get_args(self.annotation) if a is not Ellipsis]
        container = get_origin(self.annotation)
        if not isinstance(container, type) or not arguments:
            return None
        if issubclass(container, Mapping):
            return self.of(arguments[-1])
        if issubclass(container, Iterable) and isinstance(key, int):
            fixed = container is tuple and key < len(arguments)
            return self.of(arguments[key] if fixed else arguments[0])
        return None

    def expectation(self) -> str:
        """``an integer >= 0``; empty where the annotation has no plain words."""
        plain = get_origin(self.annotation) or self.annotation
        if plain is Literal:
            return "one of " + ", ".join(map(repr, get_args(self.annotation)))
        words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
        words |= {Path: "a path", dict: "a mapping", list: "a list", tuple: "a list"}
        words |= {Mapping: "a mapping", Sequence: "a list"}
        text = words.get(plain) or ("a mapping" if self.model else "")
        signs = [(Gt, "gt", ">"), (Ge, "ge", ">="), (Lt, "lt", "<"), (Le, "le", "<=")]
        limits = [
            f"{sign} {getattr(b, name):g}"
            for of, name, sign in signs
            for b in self.bounds
            if isinstance(b, of)
        ]
        counts = {b.min_length for b in self.bounds if isinstance(b, MinLen)}
        if counts & {b.max_length for b in self.bounds if isinstance(b, MaxLen)}:
            return f"{text} of {min(counts)} items" if text else ""
        lengths = [f"at least {b.min_length}" for b in self.bounds if isinstance(b, MinLen)]
        lengths += [f"at most {b.max_length}" for b in self.bounds if isinstance(b, MaxLen)]
        of_what = "characters" if plain is str else "items"
        suffix = f" of {' and '.join(lengths)} {of_what}" if lengths else ""
        return f"{text}{' ' if limits else ''}{' and '.join(limits)}{suffix}" if text else ""


def _locate(
    model: type[BaseModel], loc: tuple[str | int, ...], data: Any, *, absent: bool
) -> tuple[KeyPath, list[_Schema]]:
    """Where an error lies in the document, and the schema there.

    Pydantic's ``loc`` also holds tags of unions and names of validators; the document tells
    them apart from keys. For an unknown key the schema is its parent's.
    """
    schema, here = [_Schema(model)], data
    path: KeyPath = ()
    for position, key in enumerate(loc):
        last = position == len(loc) - 1
        under = isinstance(here, Mapping) and key in here
        under = under or (isinstance(here, list | tuple) and key in range(len(here)))
        if not under and not (absent and last):
            named = [s for s in schema if s.model and s.model.__name__ == key]
            schema = named or schema
            continue
        path = (*path, key)
        inner = [s.step(key) for s in schema]
        here = here[key] if under else None
        if any(i is not None for i in inner):
            schema = [s for i in inner if i is not None for s in i]
    return path, schema
