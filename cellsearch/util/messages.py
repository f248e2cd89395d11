"""Messages that name settings as data, so that each surface words them in its own way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

Value = str | int | float | bool | tuple[str, ...] | list[str] | Mapping[str, str | list[str]]


@dataclass(frozen=True)
class Setting:
    """A setting that a message names, and the value to give it.

    Attributes:
        name: as Python spells it: a parameter of ``search``, or an option of a reader.
        value: what to set it to; None names the setting alone. A word in capitals stands for
            what the user chooses. A tuple is given as several values where a setting takes
            several; lists and mappings are written as JSON, which Python reads, too.
        reader: whether it is an option of a reader, such as ``group_column``.
    """

    name: str
    value: Value | None = None
    reader: bool = False

    @property
    def structure(self) -> str | None:
        """A list or mapping as JSON; None of another value."""
        if isinstance(self.value, list | Mapping):
            return json.dumps(self.value, ensure_ascii=False)
        return None


@dataclass(frozen=True)
class Message:
    """A text in which settings stand as data.

    Attributes:
        parts: texts and settings in reading order; no two texts are neighbours.
    """

    parts: tuple[str | Setting, ...]

    @classmethod
    def of(cls, *parts: str | Setting | Message) -> Message:
        """A message of texts, settings and other messages."""
        flat: list[str | Setting] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Message) else (part,))
        joined: list[str | Setting] = []
        for is_text, run in groupby(flat, lambda part: isinstance(part, str)):
            members = list(run)
            joined += ["".join(str(member) for member in members)] if is_text else members
        return cls(tuple(joined))

    def worded(self, render: Callable[[Setting], str]) -> str:
        """The text, with each setting as ``render`` words it."""
        return "".join(part if isinstance(part, str) else render(part) for part in self.parts)

    def __str__(self) -> str:
        return self.worded(as_parameter)


def as_parameter(setting: Setting) -> str:
    """A setting as Python callers write it: ``folds=3``, ``rare="keep"``, ``group_column``."""
    if setting.value is None:
        return setting.name
    if isinstance(setting.value, tuple):
        each = [f'"{value}"' for value in setting.value]
        return f"{setting.name}=({', '.join(each)}{',' * (len(each) == 1)})"
    value = f'"{setting.value}"' if isinstance(setting.value, str) else str(setting.value)
    value = setting.structure or value
    return f"{setting.name}={value}"


def some(messages: Sequence[Message], *, most: int = 10) -> Message:
    """``a, b, c and 37 more``."""
    shown = joined(messages[:most], ", ")
    return (
        shown if len(messages) <= most else Message.of(shown, f" and {len(messages) - most} more")
    )


def joined(messages: Sequence[Message], separator: str = "\n") -> Message:
    """Messages one after another, with a separator between them."""
    parts: list[str | Setting | Message] = []
    for number, message in enumerate(messages):
        parts += [separator, message] if number else [message]
    return Message.of(*parts)


def first_line(error: BaseException) -> str:
    """What an error of a library says, cut to its first line, without names of its objects."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    if " object at 0x" in lines[0]:
        return "damaged"
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", lines[0])
