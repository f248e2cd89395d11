"""The picture of the rooms: packages by level, arrows to what each may import.

Drawn from the table of ``tests/test_architecture.py``, so that picture and rule are one.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from html import escape
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "tests" / "test_architecture.py"
ROOMS: Mapping[str, tuple[int, str]] = {
    "stats": (500, "metrics, intervals, tests"),
    "data": (400, "readers, cells, splits"),
    "space": (600, "search spaces, recipes"),
    "learn": (500, "networks, fitting"),
    "tune": (500, "study, racing, verdict"),
    "card": (500, "what is handed over"),
    "run": (500, "the whole job"),
    "label": (257, "labels to check, to make"),
    "interop": (95, "other tools' formats"),
    "scan": (257, "a first look at a folder"),
    "doctor": (905, "the installation"),
    "compare": (500, "runs and raters"),
    "audit": (743, "leaks"),
    "terminal": (500, "tables and progress"),
    "sklearn": (419, "estimator, frames"),
    "report": (743, "the HTML report"),
    "serve": (581, "page and REST API"),
    "cli": (500, "commands"),
}
"""Package to the middle of its box in px, and a few words on what it holds."""

_WIDTH, _BOX, _TALL, _GAP = 1000, 154, 46, 54
_INK, _PAPER, _LINE, _FILL = "#1b1f24", "#ffffff", "#8aa4b5", "#e8f1f5"


def page() -> str:
    """The picture as SVG text."""
    table = runpy.run_path(str(TABLE))
    allowed: Mapping[str, frozenset[str]] = {
        name: frozenset(row - table["EVERYWHERE"])
        for name, row in table["ALLOWED"].items()
        if name not in table["EVERYWHERE"]
    }
    return _draw(allowed, _levels(allowed))


def _levels(allowed: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Packages by the length of the longest chain of imports to them, the uppermost first."""
    depth: dict[str, int] = {}
    while len(depth) < len(allowed):
        for name in allowed:
            above = [other for other, below in allowed.items() if name in below]
            if name not in depth and all(each in depth for each in above):
                depth[name] = 1 + max((depth[each] for each in above), default=-1)
    depth = {name: max(1, level) if name != "cli" else 0 for name, level in depth.items()}
    return [
        [name for name in allowed if depth[name] == level]
        for level in range(max(depth.values()) + 1)
    ]


def _nearest(name: str, allowed: Mapping[str, frozenset[str]]) -> list[str]:
    """What a package may import and nothing else that it may import does."""
    below = allowed[name]
    return sorted(each for each in below if not any(each in allowed[other] for other in below))


def _draw(allowed: Mapping[str, frozenset[str]], levels: list[list[str]]) -> str:
    tall = len(levels) * (_TALL + _GAP) - _GAP + 70
    place = {
        name: (float(ROOMS[name][0]), 20.0 + level * (_TALL + _GAP))
        for level, names in enumerate(levels)
        for name in names
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {tall}" '
        f'font-family="sans-serif" role="img">',
        "<title>Packages of cellsearch; an arrow points to what a package may import</title>",
        f'<rect width="{_WIDTH}" height="{tall}" fill="{_PAPER}"/>',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{_LINE}"/></marker></defs>',
    ]
    for name, start in place.items():
        lines += [
            f'<path d="{_path(start, place[other])}" fill="none" stroke="{_LINE}" '
            f'stroke-width="1.4" marker-end="url(#tip)"/>'
            for other in _nearest(name, allowed)
        ]
    for name, (x, y) in place.items():
        lines += [
            f'<rect x="{x - _BOX / 2:g}" y="{y:g}" width="{_BOX}" height="{_TALL}" rx="6" '
            f'fill="{_FILL}" stroke="{_LINE}"/>',
            f'<text x="{x:g}" y="{y + 19:g}" font-size="15" font-weight="bold" fill="{_INK}" '
            f'text-anchor="middle">{escape(name)}</text>',
            f'<text x="{x:g}" y="{y + 36:g}" font-size="11.5" fill="{_INK}" '
            f'text-anchor="middle">{escape(ROOMS[name][1])}</text>',
        ]
    lines += [
        f'<text x="{_WIDTH / 2}" y="{tall - 18}" font-size="13" fill="{_INK}" '
        'text-anchor="middle">errors and util are open to every package; arrows that follow '
        "from others are left out</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _path(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A curve to the row below; to lower rows straight down, then into the side of the box."""
    (x, y), (ox, oy) = start, end
    y += _TALL
    if oy - y <= _GAP or x == ox:
        middle = (y + oy) / 2
        return f"M{x:g} {y:g}C{x:g} {middle:g} {ox:g} {middle:g} {ox:g} {oy - 2:g}"
    level = oy + _TALL / 2
    side = ox - _BOX / 2 - 2 if x < ox else ox + _BOX / 2 + 2
    return f"M{x:g} {y:g}V{level:g}H{side:g}"
