"""Pictures that are laid out once, however many files they are written to."""

from __future__ import annotations

from matplotlib.figure import Figure


def lay_out(figure: Figure) -> None:
    """Place the parts of a picture now, and never again.

    ``savefig`` draws a figure that has a layout twice for each format, the first time for the
    layout alone.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
