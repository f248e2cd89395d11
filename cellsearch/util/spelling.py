"""When two names are one to the eye: composed letters, spaces, case, letters of other alphabets."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

# Unicode lists thousands of look-alikes (TR39). These are of the alphabets that labels are typed
# in beside the Latin one: letters that most typefaces draw alike, and then those that many do.
_PAIRS = (
    "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX ҮY аa еe ѕs іi јj оo рp сc уy хx һh ԁd ԛq ԝw "
    "ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX οo νv ϲc ϳj ɑa ɡg"
)
_NEAR_PAIRS = "Il 1l |l 0O αa βß γy ιi κk ρp τt υu кk тt ıi"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212\u02d7\ufe63\uff0d"
_QUOTES = "\u2018\u2019\u02bc\u2032\u00b4`"
_ALIKE: Mapping[int, str] = {
    **{ord(pair[0]): pair[1] for pair in _PAIRS.split()},
    **dict.fromkeys(map(ord, _DASHES), "-"),
    **dict.fromkeys(map(ord, _QUOTES), "'"),
}
_NEARLY: Mapping[int, str] = {ord(pair[0]): pair[1] for pair in _NEAR_PAIRS.split()}
_SPELT: tuple[str, ...] = ("<wide>", "<narrow>", "<font>", "<noBreak>", "<compat>")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def composed(name: str) -> str:
    """Unicode's composed form (NFC), by which names are compared."""
    return unicodedata.normalize("NFC", name)


def both_forms(names: Iterable[str]) -> list[str]:
    """Names as they are, then composed (NFC) and decomposed (NFD): as somebody may type them."""
    forms = [*names]
    for form in ("NFC", "NFD"):
        forms += [unicodedata.normalize(form, name) for name in forms]
    return list(dict.fromkeys(forms))


def printed(name: str) -> str:
    """What of a name meets the eye; names that print the same give the same text.

    Letters are composed, invisible characters are gone, each run of spaces is one (none at the
    ends), and Greek and Cyrillic letters, dashes and quotes that look like those of ASCII are
    these. Superscripts stay what they are: ``10⁵`` is not ``105``.
    """
    apart = "".join(map(_plain, unicodedata.normalize("NFD", name)))
    return composed(" ".join(apart.split()))


def _plain(character: str) -> str:
    if character.isspace():
        return " "
    if is_invisible(character):
        return ""
    if unicodedata.decomposition(character).startswith(_SPELT):
        return unicodedata.normalize("NFKD", character).translate(_ALIKE)
    return character.translate(_ALIKE)


def is_invisible(character: str) -> bool:
    """Whether nothing is drawn for a character that is no space."""
    if character.isspace():
        return False
    variation = "\ufe00" <= character <= "\ufe0f"
    return variation or character in _BLANK or unicodedata.category(character) in ("Cc", "Cf")


def print_same(a: str, b: str) -> bool:
    """Whether nobody can tell two names apart by looking at them."""
    return printed(a) == printed(b)


def look_alike(a: str, b: str) -> bool:
    """Whether two names print the same, but for case or letters that many typefaces draw alike."""
    first, second = printed(a), printed(b)
    return first.casefold() == second.casefold() or nearly(first) == nearly(second)


def loosely(name: str) -> str:
    """A key that all names share which look alike; others may share it too."""
    return nearly(printed(name).casefold().translate({ord("i"): "l"})).casefold()


def nearly(name: str) -> str:
    """A printed name with one letter for those that many typefaces draw alike: I, l and 1."""
    return name.translate(_NEARLY)


def differences(a: str, b: str) -> str:
    """In what two names differ that look alike, with the code points that the eye misses."""
    first, second = composed(a), composed(b)
    if first == second:
        return "letters composed and decomposed (Unicode NFC and NFD)"
    found = []
    if print_same(a, b):
        for mine, other in ((first, second), (second, first)):
            odd = dict.fromkeys(each for each in mine if each not in other and not each.isascii())
            found += [f"U+{ord(each):04X} {unicodedata.name(each, 'CONTROL')}" for each in odd]
        return ", ".join(found) or "spaces"
    if printed(a).casefold() == printed(b).casefold():
        return "upper and lower case"
    return "letters that many typefaces draw alike"


def escaped(name: str) -> str:
    """A name in quotes, with escapes for all that is not ASCII: ``'gru\\u0308n'``."""
    return ascii(name)


def on_one_line(name: str) -> str:
    """A name as a message may hold it: as it is, or with escapes where it cannot be printed."""
    return name if name.isprintable() else ascii(name)[1:-1]


def printable(text: str) -> str:
    """A text without control characters, which a name in a file may hold to steer a terminal."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) != "Cc" else ascii(letter)[1:-1]
        for letter in text
    )


@dataclass(frozen=True)
class Spellings:
    """Names in the forms by which they are compared, so that many can be looked for."""

    composed: dict[str, list[str]]
    loose: dict[str, list[str]]

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Index some names."""
        one: defaultdict[str, list[str]] = defaultdict(list)
        other: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            one[composed(name)].append(name)
            other[printed(name).casefold()].append(name)
        return cls(dict(one), dict(other))

    def meant(self, name: str) -> list[str]:
        """The names of the same composed form; the name alone where it is one of them."""
        found = self.composed.get(composed(name), [])
        return [name] if name in found else found

    def taken_for(self, name: str) -> str:
        """``; there is 'Live'; it differs in upper and lower case``; "" where none is alike."""
        found = [e for e in self.loose.get(printed(name).casefold(), []) if e != name]
        if not found:
            return ""
        first = min(found)
        return f"; there is {escaped(first)}; it differs in {differences(name, first)}"
