"""Names of classes and channels in one typed text, told apart by the names that there are.

A name may hold any sign, also the one between names: ``CD4+``, ``NK, dim``, ``a=b``. A typed text
stays as it is until the known names are there, and is then read as a sequence of them. A JSON list
(``["NK, dim", "B"]``) or object (``{"T": ["CD4+", "CD8"]}``) needs no reading and always works.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from cellsearch.errors import ConfigError
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.yaml_files import near_miss

COMMA = ","
MEMBER = ",+"
"""What may stand between the classes of a merge; one of the two throughout."""


def as_list(text: str) -> tuple[str, ...] | None:
    """The names of a JSON list of texts; None where the text is something else."""
    found = _json(text, "[")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return None
    return tuple(found)


def parse_names(
    text: str,
    known: Collection[str],
    *,
    setting: Setting,
    separators: str = COMMA,
    what: str = "class",
) -> tuple[str, ...]:
    """The known names that a typed text holds, in its order.

    Args:
        text: known names with a separator (and spaces, if one likes) between them, or a JSON list.
        known: every name that there is.
        setting: what was given, for messages.
        separators: signs that may stand between names; one text uses one of them.
        what: what a name is of, for messages.

    Raises:
        ConfigError: a name that is not known, with the nearest; or several readings, which are all
            shown with a way to write each.
    """
    if (names := as_list(text)) is not None:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(setting, ": ", unknown_names(unknown, known, what))
        return names
    found = readings(text, known, separators)
    if len(found) == 1:
        return found[0]
    if not found:
        unknown = _unread(text.strip(), known, separators)
        raise ConfigError(setting, ": ", unknown_names(unknown, known, what))
    ways = [
        Message.of(Setting(setting.name, list(names), reader=setting.reader)) for names in found
    ]
    raise ConfigError(setting, ": ", _several(text, ways))


def parse_several(
    texts: Sequence[str],
    known: Collection[str],
    *,
    setting: Setting,
    separators: str = COMMA,
    what: str = "class",
) -> tuple[str, ...]:
    """The names of texts that were given one after another; see ``parse_names``."""
    return tuple(
        name
        for text in texts
        for name in parse_names(text, known, setting=setting, separators=separators, what=what)
    )


def parse_merges(texts: Sequence[str], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """New names and the classes that each stands for, of texts such as ``T=CD4++CD8``.

    Args:
        texts: a new name, ``=`` and classes with ``+`` (or commas) between them; or a JSON object.
        known: every class.

    Raises:
        ConfigError: another form, a name given twice, a class that is not known, or several
            readings, which are all shown with a way to write each.
    """
    setting = Setting("merge")
    merges: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for name, members in _merge(text, known, setting).items():
            if name in merges:
                raise ConfigError(setting, f": {name} is given twice")
            merges[name] = members
    return merges


def parse_renames(
    given: Mapping[str, str] | str, known: Collection[str], *, setting: Setting
) -> dict[str, str]:
    """New names of labels, of a text such as ``1=neutrophil,2=NK, dim``.

    Args:
        given: pairs ``label=name`` with commas between them, a JSON object, or a mapping already.
        known: every label that there is. Labels of which there is no cell may be named, too.
        setting: what was given, for messages.

    Raises:
        ConfigError: another form, or several readings, which are all shown with a way to write
            each.
    """
    if not isinstance(given, str):
        return dict(given)
    pairs = as_pairs(given)
    if pairs is not None:
        return pairs
    found = _renames(given, known)
    # Nobody names a label twice, where the text can be read otherwise.
    found = [each for each in found if len(dict(each)) == len(each)] or found[:1]
    if not found:
        raise ConfigError(
            setting,
            f': expected "label=name,label=name", got {given!r}; names that hold a comma or = are '
            "written as ",
            Setting(setting.name, {"LABEL": "NAME"}, reader=setting.reader),
        )
    if len(found) > 1:
        ways = [
            Message.of(Setting(setting.name, dict(each), reader=setting.reader)) for each in found
        ]
        raise ConfigError(setting, ": ", _several(given, ways))
    labels = [label for label, _ in found[0]]
    if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        raise ConfigError(setting, f": {', '.join(twice)} is named twice")
    return dict(found[0])


def as_pairs(text: str) -> dict[str, str] | None:
    """The pairs of a JSON object of texts; None where the text is something else."""
    found = _json(text, "{")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        return None
    return found


def readings(text: str, known: Collection[str], separators: str) -> list[tuple[str, ...]]:
    """Up to three ways in which a text is a sequence of known names, longest names first."""
    found: dict[tuple[str, ...], None] = {}
    for separator in separators:
        found |= dict.fromkeys(_sequences(text, known, separator))
    return list(found)[:_MOST]


def shown(names: Collection[str]) -> str:
    """Names in a row; those that hold a comma are quoted."""
    return ", ".join(repr(name) if COMMA in name else name for name in names)


def unknown_names(unknown: Sequence[str], known: Collection[str], what: str) -> str:
    """``no class 'clas-0'; did you mean 'class-0'?; there are class-0, class-1``."""
    named = "; ".join(f"no {what} {name!r}{near_miss(name, known)}" for name in unknown[:_SHOWN])
    return f"{named}; there are {shown(known) or 'none'}"


_MOST = 3
_SHOWN = 10


def _sequences(text: str, known: Collection[str], separator: str) -> list[tuple[str, ...]]:
    ordered = sorted({name for name in known if name}, key=len, reverse=True)

    # What follows a separator is read first, so that long texts need no deep recursion.
    after: dict[int, list[tuple[str, ...]]] = {}
    for start in (*(k + 1 for k in reversed(range(len(text))) if text[k] == separator), 0):
        found: dict[tuple[str, ...], None] = {}
        # A name may itself begin with a space.
        for place in dict.fromkeys((start, _past_spaces(text, start))):
            for name in ordered:
                if not text.startswith(name, place):
                    continue
                end = _past_spaces(text, place + len(name))
                if end == len(text):
                    found[(name,)] = None
                elif text[end] == separator:
                    found |= {(name, *rest): None for rest in after[end + 1]}
        after[start] = list(found)[:_MOST]
    return after[0]


def _past_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _unread(text: str, known: Collection[str], separators: str) -> list[str]:
    """The parts of a text that are no known names, as far as they can be told apart."""
    separator = next((sign for sign in separators if sign in text), separators[0])
    widest = max((name.count(separator) for name in known), default=0) + 1
    parts = text.split(separator)
    unknown: dict[str, None] = {}
    start = 0
    while start < len(parts):
        wide = range(1, 1 + min(widest, len(parts) - start))
        longer = {width: separator.join(parts[start : start + width]).strip() for width in wide}
        found = next((width for width in reversed(wide) if longer[width] in known), None)
        if found is None:
            # What is like no name ends at the first separator.
            near = [width for width in reversed(wide) if near_miss(longer[width], known)]
            found = near[0] if near else 1
            unknown[longer[found] or text] = None
        start += found
    return list(unknown) or [text]


def _several(text: str, ways: list[Message]) -> Message:
    number = "two" if len(ways) == 2 else "several"
    text = repr(text) if len(text) <= 100 else f"{text[:100]!r}..."
    return Message.of(f"{text} can be read in {number} ways; write ", joined(ways, " or "))


def _merge(text: str, known: Collection[str], setting: Setting) -> dict[str, tuple[str, ...]]:
    written = _json(text, "{")
    if isinstance(written, dict):
        lists = all(
            isinstance(members, list) and all(isinstance(name, str) for name in members)
            for members in written.values()
        )
        if not lists:
            raise ConfigError(
                setting, f': expected {{"NAME": ["CLASS", "CLASS"]}}, got {text.strip()!r}'
            )
        unknown = [n for members in written.values() for n in members if n not in known]
        if unknown:
            raise ConfigError(setting, ": ", unknown_names(unknown, known, "class"))
        return {name.strip(): tuple(members) for name, members in written.items()}
    # The new name may hold a =, and so may a class.
    cuts = [
        (text[:at].strip(), text[at + 1 :])
        for at, sign in enumerate(text)
        if sign == "=" and text[:at].strip() and text[at + 1 :].strip()
    ]
    if not cuts:
        raise ConfigError(setting, f": expected NAME=CLASS+CLASS, got {text!r}")
    found = [{name: members} for name, rest in cuts for members in readings(rest, known, MEMBER)]
    if not found:
        unknown = min((_unread(rest.strip(), known, MEMBER) for _, rest in cuts), key=len)
        raise ConfigError(setting, ": ", unknown_names(unknown, known, "class"))
    if len(found) > 1:
        ways = [
            Message.of(Setting("merge", {new: list(old) for new, old in each.items()}))
            for each in found[:_MOST]
        ]
        raise ConfigError(setting, ": ", _several(text, ways))
    return found[0]


def _renames(text: str, known: Collection[str]) -> list[tuple[tuple[str, str], ...]]:
    """Up to three ways in which a text is pairs ``label=name``, with commas between them.

    Labels are known ones, or hold neither sign. Names may hold both, but nothing that looks like a
    further pair: labels of which there is no cell may be named, too.
    """
    parts = text.split(COMMA)
    while parts and not parts[-1].strip():
        parts.pop()

    widest = max((label.count(COMMA) for label in known), default=0)
    after: dict[int, list[tuple[tuple[str, str], ...]]] = {len(parts): [()]}
    for start in reversed(range(len(parts))):
        found: dict[tuple[tuple[str, str], ...], None] = {}
        for end in range(start + 1, len(parts) + 1):
            if sum("=" in part for part in parts[start:end]) > widest + 1:
                break
            found |= {
                (pair, *rest): None
                for pair in _pairs(parts[start:end], known)
                for rest in after[end]
            }
        after[start] = list(found)[:_MOST]
    return after[0] if parts else []


def _pairs(parts: Sequence[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    text = COMMA.join(parts)
    for at in (at for at, sign in enumerate(text) if sign == "="):
        old, new = text[:at].strip(), text[at + 1 :].strip()
        first, *more = new.split(COMMA)
        plain = COMMA not in old and text.count("=") == 1
        whole = first.strip() and all(part.strip() and "=" not in part for part in more)
        if old and whole and (plain or old in known):
            yield old, new


def _json(text: str, begins: str) -> object:
    if not text.lstrip().startswith(begins):
        return None
    try:
        found: object = from_json(text)
    except ValueError:
        return None
    return found
