"""Options of the readers: typed, coerced from the command line's texts, with located errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from cellsearch.catalog import near_miss, problems
from cellsearch.errors import ConfigError

O = TypeVar("O", bound=BaseModel)  # noqa: E741


def _size(value: Any) -> Any:
    if isinstance(value, str) and (
        match := re.fullmatch(r"\s*(\d+)\s*(?:[xX,]\s*(\d+))?\s*", value)
    ):
        return int(match[1]), int(match[2] or match[1])
    if isinstance(value, str):
        raise ValueError("expected HEIGHTxWIDTH in px, such as 40x40")
    return (value, value) if isinstance(value, int) else value


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _renames(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not sign or not old.strip() or not new.strip() for old, sign, new in pairs):
        raise ValueError('expected "value=name,value=name"')
    return {old.strip(): new.strip() for old, _, new in pairs}


Pixels = Annotated[int, Field(ge=1, le=65536)]
Size = Annotated[tuple[Pixels, Pixels], BeforeValidator(_size)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Renames = Annotated[Mapping[str, str], BeforeValidator(_renames)]


class ReaderOptions(BaseModel):
    """What every reader understands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Names | None = Field(None, description="channel names, in the order of the planes")


class ImageOptions(ReaderOptions):
    """What every reader of single image files understands."""

    size: Size | None = Field(None, description="bring every crop to HEIGHTxWIDTH, px")
    fit: Literal["pad", "resize"] = Field(
        "pad", description="how: centred, edges filled with the border's median; or interpolated"
    )
    cut: bool = Field(
        False, description="with fit=pad, cut larger crops about their centre: else refused"
    )
    nan: FiniteFloat | Literal["lowest"] | None = Field(
        None,
        description="what pixels of NaN (a background) become: a number, or lowest: the lowest "
        "value of each channel of an image; default: refused",
    )
    group_pattern: str | None = Field(
        None, description="regular expression with one group, searched in the file's path"
    )


def parse_options(model: type[O], options: Mapping[str, Any], *, reader: str) -> O:
    """Build a reader's options from texts or values.

    Raises:
        ConfigError: options that are not known (with the nearest and all known names) or do not
            fit; all at once, a line each.
    """
    known = list(model.model_fields)
    found = [
        f"option {name}: {reader} has no such option{near_miss(name, known)}; "
        f"options: {', '.join(known)}"
        for name in options
        if name not in known
    ]
    try:
        parsed = model.model_validate({k: v for k, v in options.items() if k in known})
    except ValidationError as failure:
        found += [
            f"option {'.'.join(map(str, problem.path))}: {problem.text}"
            for problem in problems(model, failure, dict(options))
        ]
    if found:
        raise ConfigError("\n".join(found))
    return parsed
