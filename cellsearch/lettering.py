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
def lettered(figure: Figure) -> Iterator[None]:
    """Within, ``figure`` is saved with letters that its font lacks taken from other fonts.

    Warns:
        UserWarning: no font here has some of them: once for all, in place of once a letter.
    """
    for axes in figure.axes:
        # Only then do the labels of ticks hold their text.
        axes.get_xticklabels()
        axes.get_yticklabels()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        own = font_manager.findfont(text.get_fontproperties())
        if lacking := frozenset("".join(text.get_text().split())) - _letters(own):
            text.set_fontfamily([*text.get_fontfamily(), *_others(lacking)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


@lru_cache(maxsize=64)
def _letters(file: str) -> frozenset[str]:
    return frozenset(map(chr, FT2Font(file).get_charmap()))


@lru_cache(maxsize=256)
def _others(lacking: frozenset[str]) -> tuple[str, ...]:
    """Names of fonts that have these letters, the one with the most of them first."""
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
    if lacking:
        warnings.warn(
            f"no font of this machine has the letters {' '.join(sorted(lacking))}: pictures show "
            "boxes in their place; install a font that has them, such as Noto Sans CJK",
            UserWarning,
            stacklevel=4,
        )
    return tuple(found)
