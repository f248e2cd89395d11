"""Options of the readers: typed, coerced from the command line's texts, with located errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from cellsearch.data.names import COMMA, as_list, as_pairs, parse_names, parse_renames
from cellsearch.errors import ConfigError
from cellsearch.util.messages import Setting
from cellsearch.util.yaml_files import near_miss, problems

O = TypeVar("O", bound=BaseModel)  # noqa: E741


def _size(value: Any) -> Any:
    if isinstance(value, str) and (
        match := re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX,]\s*(\d{1,9}))?\s*", value)
    ):
        return int(match[1]), int(match[2] or match[1])
    if isinstance(value, str):
        raise ValueError("expected HEIGHTxWIDTH in px, such as 40x40")
    return (value, value) if isinstance(value, int) else value


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if (names := as_list(value)) is not None:
        return names
    return value if COMMA in value else tuple(filter(None, [value.strip()]))


def _new_names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if (names := as_list(value)) is not None:
        return names
    return tuple(part.strip() for part in value.split(COMMA) if part.strip())


def _renames(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if (pairs := as_pairs(value)) is not None:
        return pairs
    if "=" not in value:
        raise ValueError('expected "value=name,value=name"')
    return value


Pixels = Annotated[int, Field(ge=1, le=65536)]
Size = Annotated[tuple[Pixels, Pixels], BeforeValidator(_size)]
NewNames = Annotated[tuple[str, ...], BeforeValidator(_new_names)]
"""Names that are given rather than found, so that a comma in a text parts them."""
Names = Annotated[tuple[str, ...] | str, BeforeValidator(_names)]
"""Names that there are; a text of several, until a reader has found them (``known_names``)."""
Renames = Annotated[Mapping[str, str] | str, BeforeValidator(_renames)]
"""Labels that there are, and new names; a text until a reader has found them (``new_labels``)."""


def known_names(
    given: tuple[str, ...] | str | None, known: Collection[str], *, option: str, what: str
) -> tuple[str, ...] | None:
    """The names that an option gives, a text read by those that there are.

    Raises:
        ConfigError: a text with a name that is not known, or with several readings.
    """
    if not isinstance(given, str):
        return given
    return parse_names(given, known, setting=Setting(option, reader=True), what=what)


def new_labels(
    given: Mapping[str, str] | str | None, labels: Collection[str]
) -> Mapping[str, str] | None:
    """Label -> name of the option ``class_names``, a text read by the labels that there are.

    Raises:
        ConfigError: a text that is no such pairs, or has several readings.
    """
    if not isinstance(given, str):
        return given
    return parse_renames(given, set(labels), setting=Setting("class_names", reader=True))


class ReaderOptions(BaseModel):
    """What every reader understands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: NewNames | None = Field(None, description="channel names, in the order of the planes")


class ImageOptions(ReaderOptions):
    """What every reader of single image files understands."""

    size: Size | None = Field(
        None,
        description="bring every crop to HEIGHTxWIDTH, px; default: their own, and where these "
        "differ, a square that holds 99 % of them, at most 256x256",
    )
    fit: Literal["pad", "resize", "shrink", "refuse"] | None = Field(
        None,
        description="how: pad centres, and fills the edges with the border's median; resize "
        "stretches to the size; shrink pads, and shrinks what is larger, its aspect kept; refuse "
        "takes crops of one size alone; default: pad with a size, else shrink",
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
