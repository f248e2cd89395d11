"""A figure as SVG with text as text: for a page in light and dark, or for a file of its own."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from cellsearch.util.figures import lay_out
from cellsearch.util.fonts import lettered

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"
PAPER_FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
CELL_DARK, CELL_LIGHT = "#010101", "#fefefe"
"""Text on a coloured square: as black and white, but the same in light and dark."""

_THEME = {to_hex("black")[1:]: "currentColor"}
_THEME |= {to_hex(grey)[1:]: "var(--muted)" for grey in ("0.15", "0.25", "0.3", "0.4", "0.6")}
_THEME |= {to_hex(grey)[1:]: "var(--line)" for grey in ("0.8", "0.85", "0.9", "0.92", "0.93")}
_COLOUR = re.compile(r"(fill|stroke): ?#([0-9a-f]{6})")


def drawing() -> AbstractContextManager[Any]:
    """Settings under which figures are made: small type, and no formulae in names."""
    return matplotlib.rc_context(
        {"font.size": 8.5, "text.parse_math": False, "axes.linewidth": 0.7, "svg.fonttype": "none"}
    )


def paper(figure: Figure, name: str) -> str:
    """A whole SVG file, black on no ground; the same figure gives the same text."""
    return _font(_saved(figure, name), PAPER_FONT)


def inline(figure: Figure, name: str, label: str) -> str:
    """An ``<svg>`` element for a page whose CSS has ``--muted`` and ``--line``.

    Args:
        figure: of matplotlib.
        name: unique on the page; every id inside begins with it.
        label: what the picture shows, for who cannot see it.
    """
    text = _font(_saved(figure, name), FONT)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    head += f' role="img" aria-label="{_attribute(label)}"'
    text = f"{head}>{rest}"
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    return _COLOUR.sub(lambda found: f"{found[1]}: {_THEME.get(found[2], '#' + found[2])}", text)


def _saved(figure: Figure, name: str) -> str:
    file = StringIO()
    with (
        lettered(figure, texts_stay=True),
        matplotlib.rc_context(
            {"svg.hashsalt": name, "svg.fonttype": "none", "text.parse_math": False}
        ),
    ):
        lay_out(figure)
        figure.savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    return file.getvalue()


def _font(text: str, family: str) -> str:
    """Another font in every style; matplotlib's own is on few machines."""
    # Before matplotlib 3.11 one property held both size and family.
    text = re.sub(r"(font: [^;\"]*?[\d.]+px) [^;\"]*", rf"\1 {family}", text)
    return re.sub(r"font-family: [^;\"]*", f"font-family: {family}", text)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
