"""Names of classes in any script, drawn."""

from __future__ import annotations

import io
import warnings

import pytest
from matplotlib.figure import Figure

from cellsearch.lettering import lettered

# DejaVu Sans lacks it; STIXGeneral, which comes with matplotlib, has it.
SCRIPT_G = "\u210a"
# No character, so that no font has it.
NOBODYS = "\u0378"


def drawn(title: str) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.suptitle(title)
    with lettered(figure):
        figure.savefig(io.BytesIO(), format="png")
        figure.savefig(io.StringIO(), format="svg")
    return figure


def family(figure: Figure) -> list[str]:
    assert figure._suptitle is not None
    return list(figure._suptitle.get_fontfamily())


def test_usual_letters_keep_their_font() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert family(drawn("G1, Ärztin, µm, фаза")) == ["sans-serif"]


def test_a_letter_that_the_font_lacks_comes_from_another() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, *others = family(drawn(f"phase {SCRIPT_G}"))
    assert first == "sans-serif"
    assert len(others) == 1
    assert not others[0].startswith("Last Resort")


def test_names_at_ticks_and_in_legends_are_drawn_too() -> None:
    figure = Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.set_xticks([0, 1], ["G1", SCRIPT_G])
    axes.plot([0, 1], label=f"{SCRIPT_G} 2")
    axes.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lettered(figure):
            figure.savefig(io.BytesIO(), format="png")
    fonts = [len(label.get_fontfamily()) for label in axes.get_xticklabels()]
    assert fonts == [1, 2]
    legend = axes.get_legend()
    assert legend is not None
    assert [len(text.get_fontfamily()) for text in legend.get_texts()] == [2]


def test_a_letter_of_no_font_is_told_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drawn(f"{NOBODYS}{SCRIPT_G} {NOBODYS}")
        drawn(f"{NOBODYS}{SCRIPT_G}")
    said = [str(each.message) for each in caught]
    assert len(said) == 1
    assert said[0].startswith(f"no font of this machine has the letters {NOBODYS}: pictures show")


def test_without_it_matplotlib_warns() -> None:
    figure = Figure()
    figure.suptitle(NOBODYS)
    with pytest.warns(UserWarning, match="missing from font"):
        figure.savefig(io.BytesIO(), format="png")
