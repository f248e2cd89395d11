"""Names of classes in any script, drawn."""

from __future__ import annotations

import io
import warnings

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from cellsearch.report import svg
from cellsearch.util import fonts
from cellsearch.util.fonts import lettered

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


def test_letters_of_no_font_are_told_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fonts._tell.cache_clear()
        drawn(f"{NOBODYS}{SCRIPT_G} {NOBODYS}")
        drawn(f"{NOBODYS}\u0379")
    said = [str(each.message) for each in caught]
    assert len(said) == 1
    assert said[0].startswith("no font of this machine has all the letters of these names")


def test_an_svg_whose_texts_stay_has_no_boxes() -> None:
    figure = Figure()
    figure.suptitle(NOBODYS)
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lettered(figure, texts_stay=True), matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(file, format="svg")
    assert NOBODYS in file.getvalue()


def test_a_font_that_is_gone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = font_manager.FontEntry(fname="/no/such.ttf", name="Gone", style="normal")
    entries = [gone, *font_manager.fontManager.ttflist]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    fonts._others.cache_clear()
    assert family(drawn(f"a {SCRIPT_G}"))[1:]


def test_without_it_matplotlib_warns() -> None:
    figure = Figure()
    figure.suptitle(NOBODYS)
    with pytest.warns(UserWarning, match="missing from font"):
        figure.savefig(io.BytesIO(), format="png")


def test_pictures_of_a_page_and_of_a_paper_bear_their_own_fonts() -> None:
    with svg.drawing():
        figure = Figure(figsize=(3, 2))
        figure.add_subplot().set_title("phase G1")
    for text, family in (
        (svg.inline(figure, "a", "a picture"), svg.FONT),
        (svg.paper(figure, "b"), svg.PAPER_FONT),
    ):
        assert "DejaVu" not in text
        assert f"font-family: {family}" in text or f"px {family}" in text
