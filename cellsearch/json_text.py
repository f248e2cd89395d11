"""Facts as JSON: what ``--json`` prints, and what the web page is told."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel


def json_text(facts: object) -> str:
    """One JSON document (UTF-8 text, indented by 2).

    Args:
        facts: mappings, sequences, dataclasses, pydantic models, numpy arrays and scalars, paths.

    Raises:
        TypeError: something else, which is a mistake of the caller.
    """
    return json.dumps(plain(facts), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: object) -> Any:
    """The same in dicts, lists, text, numbers, bools and None; not finite numbers are None."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")
