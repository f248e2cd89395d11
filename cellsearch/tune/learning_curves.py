"""The learning curves of one trial as a picture for the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from cellsearch.learn.fold_result import FoldResult

FILE = "learning_curves.svg"
_PANELS = (
    ("loss", "training loss"),
    ("watched", "balanced accuracy,\ninner split"),
    ("lr", "learning rate"),
)
# Okabe & Ito (2008), told apart with any common colour-vision deficiency.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def learning_curves_svg(folds: Sequence[FoldResult], *, title: str) -> str:
    """A panel for each recorded figure, a line for each fold; "" where no epoch was recorded."""
    panels = [
        (key, label)
        for key, label in _PANELS
        if any(key in record for fold in folds for record in fold.history)
    ]
    if not panels:
        return ""
    # Not at the top: the import takes most of a second, and a study is also read without it.
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from cellsearch.util.figures import lay_out

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "cellsearch", "text.parse_math": False}
    ):
        figure = Figure(figsize=(5.6, 0.9 + 1.7 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (key, label) in zip(axes, panels, strict=True):
            for fold in folds:
                records = [record for record in fold.history if key in record]
                panel.plot(
                    [record.get("epoch", place) for place, record in enumerate(records, 1)],
                    [record[key] for record in records],
                    color=_LINES[fold.fold % len(_LINES)],
                    marker="o" if len(records) < 40 else None,
                    markersize=3,
                    linewidth=1.3,
                    label=f"fold {fold.fold}",
                )
            panel.set_ylabel(label)
            panel.grid(color="0.92")
            panel.spines[["top", "right"]].set_visible(False)
        axes[-1].set_xlabel("epoch")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_title(f"{title} (n = {len(folds)} fold{'s' * (len(folds) > 1)})", fontsize=10)
        if len(folds) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        lay_out(figure)
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
