"""Facts as JSON: what ``--json`` prints, and what the web page is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from cellsearch.util.messages import Message, Setting, as_parameter


def json_text(facts: object, *, word: Callable[[Setting], str] = as_parameter) -> str:
    """One JSON document (UTF-8 text, indented by 2).

    Args:
        facts: mappings, sequences, dataclasses, pydantic models, numpy arrays and scalars, paths,
            messages.
        word: how a setting in a message is worded.

    Raises:
        TypeError: something else, which is a mistake of the caller.
    """
    return json.dumps(plain(facts, word=word), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: object, *, word: Callable[[Setting], str] = as_parameter) -> Any:
    """The same in dicts, lists, text, numbers, bools and None; not finite numbers are None."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item(), word=word)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), word=word)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Message):
        return value.worded(word)
    if isinstance(value, BaseModel):
        return plain(value.model_dump(), word=word)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), word=word) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item, word=word) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, word=word) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def from_json(text: str | bytes) -> Any:
    """Plain values of one JSON document that somebody else may have written.

    Raises:
        ValueError: no JSON, or brackets within brackets by the hundred.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def facts_in(path: Path) -> dict[str, Any] | None:
    """The mapping of a JSON file; None where there is none, or none that can be read."""
    try:
        facts = from_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
