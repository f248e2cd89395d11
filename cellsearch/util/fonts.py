"""Names in scripts that matplotlib's own font lacks, such as Chinese, drawn by another font."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

# Comes with matplotlib; it has every letter, as a box.
BOXES = "Last Resort"


@contextmanager
def lettered(figure: Figure, *, texts_stay: bool = False) -> Iterator[None]:
    """Within, ``figure`` is saved with letters that its font lacks taken from other fonts.

    Its texts are drawn as they are: what stands between two dollars is no formula.

    Args:
        figure: of matplotlib.
        texts_stay: it is saved as SVG alone, whose texts are drawn by fonts of who looks at it.

    Warns:
        UserWarning: no font here has some of them: once, in place of once a letter and picture.
    """
    nowhere = False
    for axes in figure.axes:
        # Only then do the labels of ticks hold their text.
        axes.get_xticklabels()
        axes.get_yticklabels()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        # Names hold dollars and backslashes; no picture here holds a formula.
        text.set_parse_math(False)
        text.set_usetex(False)
        own = font_manager.findfont(text.get_fontproperties())
        if lacking := frozenset("".join(text.get_text().split())) - _letters(own):
            others, left = _others(lacking)
            used = text.get_fontfamily()
            text.set_fontfamily([*used, *(name for name in others if name not in used)])
            nowhere = nowhere or left
    if nowhere and not texts_stay:
        _tell()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


@lru_cache(maxsize=512)
def _letters(file: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        # matplotlib remembers fonts that are gone by now, and finds some that nothing can read.
        return frozenset()


@lru_cache(maxsize=256)
def _others(lacking: frozenset[str]) -> tuple[tuple[str, ...], bool]:
    """Fonts that have these letters, most first, and whether some letters are in none."""
    files = {
        entry.name: entry.fname
        for entry in font_manager.fontManager.ttflist
        if not entry.name.startswith(BOXES) and entry.style == "normal"
    }
    found: list[str] = []
    while lacking and files:
        has = {name: len(lacking & _letters(file)) for name, file in files.items()}
        best = max(has, key=lambda name: has[name])
        if not has[best]:
            break
        found.append(best)
        lacking -= _letters(files.pop(best))
    return tuple(found), bool(lacking)


@lru_cache(maxsize=1)
def _tell() -> None:
    """Warn once; Python forgets what it warned of whenever somebody changes its filters."""
    warnings.warn(
        "no font of this machine has all the letters of these names: pictures show boxes in their "
        "place; install a font that has them, such as Noto Sans CJK",
        UserWarning,
        stacklevel=4,
    )
