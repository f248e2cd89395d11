"""HTML for notebooks: everything escaped, no script, the notebook's own colours.

Nothing here sets a colour of text or ground, so that light and dark notebooks both read well;
lines are a half-transparent grey.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from cellsearch.util.tables import Table

__all__ = ["Markup", "block", "escape", "line", "note", "picture", "side_by_side", "table"]

_LINE = "1px solid rgba(128,128,128,.4)"
_CELL = f"padding:.2em .7em;border:none;border-bottom:{_LINE};vertical-align:middle"


def block(title: str, *parts: Markup) -> str:
    """One object as HTML: a title in bold, and its parts below.

    Args:
        title: plain text.
        parts: of ``line``, ``note``, ``table``.
    """
    head = Markup("<p style='margin:.2em 0'><strong>{}</strong></p>").format(title)
    inner = Markup("").join([head, *parts])
    return str(Markup("<div style='overflow-x:auto;max-width:100%'>{}</div>").format(inner))


def line(text: str) -> Markup:
    """A paragraph of plain text."""
    return Markup("<p style='margin:.2em 0'>{}</p>").format(text)


def note(text: str) -> Markup:
    """A paragraph of plain text that may be passed over."""
    return Markup("<p style='margin:.2em 0;opacity:.75'>{}</p>").format(text)


def table(found: Table) -> Markup:
    """The table; its title is left to the parts around it."""
    aligned = [
        Markup("{};text-align:{}").format(_CELL, "right" if column.kind == "number" else "left")
        for column in found.columns
    ]
    head = Markup("").join(
        Markup("<th scope='col' style='{};font-weight:600'>{}</th>").format(style, column.name)
        for style, column in zip(aligned, found.columns, strict=True)
    )
    body = Markup("").join(
        Markup("<tr style='background:none'>{}</tr>").format(
            Markup("").join(
                Markup("<td style='{}'>{}</td>").format(style, value)
                for style, value in zip(aligned, row, strict=True)
            )
        )
        for row in found.texts
    )
    return Markup(
        "<table style='border-collapse:collapse;margin:.4em 0'>"
        "<thead><tr style='background:none'>{}</tr></thead><tbody>{}</tbody></table>"
    ).format(head, body)


def picture(png: bytes, *, says: str, height: int) -> Markup:
    """A PNG within the page.

    Args:
        png: bytes of the file.
        says: what it shows, for whoever cannot see it.
        height: on the page, px.
    """
    from base64 import b64encode

    return Markup(
        "<img src='data:image/png;base64,{}' alt='{}' style='height:{}px;max-width:none;"
        "display:block;margin:0'>"
    ).format(b64encode(png).decode("ascii"), says, height)


def side_by_side(parts: Iterable[Markup]) -> Markup:
    """Pictures in a row that does not break."""
    return Markup("<div style='display:flex;gap:2px;width:max-content'>{}</div>").format(
        Markup("").join(parts)
    )
