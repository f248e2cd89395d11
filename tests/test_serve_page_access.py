"""The web page for whoever uses it: keyboard, phone, dark, a lost server, many cells."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import page_cases
from page_cases import (
    Bench,
    Watch,
    appears,
    comes,
    contrast,
    has_focus,
    says,
    send,
    served,
    shown,
    tasks_done,
    there_are,
    told_of,
    vanishes,
)

bench, chrome = page_cases.bench, page_cases.chrome
page, watch = page_cases.page, page_cases.watch
pytestmark = [
    pytest.mark.slow,
    # A transport of the browser's driver that is collected late, whichever test runs then.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAIRS = (
    ("#card-title", "body"),
    ("#drop-hint", "#drop"),
    ("#choose-files", "#choose-files"),
    ("#shares-notes p", ".summary"),
    ("#gallery-count", "body"),
    (".tile .class-name", ".tile"),
    (".tile .cell-name", ".tile"),
    (".tile .doubtful", ".tile"),
    ("#cells-csv", "#cells-csv"),
    (".top a.quiet", ".top"),
)


def tab_to(page: Any, wanted: str, *, most: int = 40) -> None:
    """Press Tab until the focus is there and can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        tasks_done(page)
        if page.evaluate("w => document.activeElement.matches(w)", wanted):
            break
    else:
        pytest.fail(f"{wanted} is not reached by Tab")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_everything_is_reached_by_keyboard(page: Any, bench: Bench) -> None:
    # Listened for from the start: a busy machine takes its time to hold a dialog back.
    dialogs: list[Any] = []
    page.on("filechooser", lambda chooser: dialogs.append(chooser))
    tab_to(page, "#choose-files")
    page.keyboard.press("Enter")
    while not dialogs:
        page.wait_for_timeout(25)
    dialogs[0].set_files([str(path) for path in bench.files])
    told_of(page, 90)
    tab_to(page, "#anew")
    tab_to(page, "#cells-csv")
    tab_to(page, "#sort")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    tab_to(page, ".tile")
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    first = shown(page)[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    at = "Number(document.activeElement.dataset.index)"
    comes(page, at, gives=first + 1)
    page.keyboard.press("Enter")
    appears(page, "#detail")
    before = page.inner_text("#detail-title")
    page.keyboard.press("ArrowRight")
    comes(page, "document.querySelector('#detail-title').innerText !== arg", arg=before)
    page.keyboard.press("Escape")
    vanishes(page, "#detail")
    comes(page, at, gives=first + 2)
    page.keyboard.press("PageDown")
    comes(page, at, gives=60)
    page.keyboard.press("ArrowLeft")
    comes(page, at, gives=59)
    page.keyboard.press("Home")
    comes(page, at, gives=0)
    tab_to(page, "#next")


def test_an_answer_that_comes_late_leaves_the_focus_in_the_gallery(page: Any, bench: Bench) -> None:
    send(page, bench.files, cells=90)
    before = shown(page)
    page.evaluate(
        """() => {
          document.querySelector(".tile").focus();
          const sort = document.querySelector("#sort");
          sort.selectedIndex = sort.options.length - 1;
          sort.dispatchEvent(new Event("change", {bubbles: true}));
        }"""
    )
    page.wait_for_function("first => document.querySelector('.tile').dataset.index != first",
                           arg=before[0])  # fmt: skip
    has_focus(page, ".tile")


def test_what_moves_is_told_to_screen_readers(page: Any, bench: Bench) -> None:
    assert page.get_attribute("#live", "aria-live") == "polite"
    assert page.get_attribute("#problem", "role") == "alert"
    send(page, bench.files, cells=90)
    page.wait_for_function("() => document.querySelector('#live').textContent.includes('90 cells')")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, progress")].filter(e =>
          !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby") &&
          !e.textContent.trim() && !(e.labels && e.labels.length)).map(e => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_needs_no_sideways_scroll(
    page: Any, bench: Bench, watch: Watch, width: int
) -> None:
    def fits() -> None:
        comes(page, "document.documentElement.scrollWidth <= innerWidth")

    page.set_viewport_size({"width": width, "height": 780})
    fits()
    send(page, bench.files, cells=90)
    page.click("#card-more summary")
    fits()
    page.locator(".tile").first.click()
    page.click("#saliency-show")
    page.wait_for_selector("#saliency-figure", state="visible")
    fits()
    wide = "document.querySelector('#detail')"
    comes(page, f"{wide}.scrollWidth <= {wide}.clientWidth")
    page.keyboard.press("Escape")
    vanishes(page, "#detail")
    page.goto(bench.address + "api")
    page.wait_for_selector(".route")
    fits()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page: Any, bench: Bench, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    send(page, bench.files, cells=90)
    seen = page.evaluate(
        """pairs => pairs.map(([text, ground]) => [
          getComputedStyle(document.querySelector(text)).color,
          getComputedStyle(document.querySelector(ground)).backgroundColor])""",
        [list(pair) for pair in PAIRS],
    )
    for pair, (text, ground) in zip(PAIRS, seen, strict=True):
        assert contrast(text, ground) >= 4.5, pair
    body = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (contrast(body, "rgb(0, 0, 0)") > 4.5) == (scheme == "light")


def test_the_scheme_is_chosen_and_kept(page: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    page.click("#theme")
    comes(page, f"{ground} !== arg", arg=light)
    dark = page.evaluate(ground)
    page.reload()
    comes(page, ground, gives=dark)


def test_a_server_that_ends_and_comes_back_is_told_of(bench: Bench, chrome: Any) -> None:
    with ExitStack() as stack:
        with served(bench.card) as port:
            page = stack.enter_context(chrome.new_context()).new_page()
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("#card-classes li")
            send(page, bench.files[1:], cells=89)
        page.select_option("#sort", "confidence:asc")
        page.wait_for_selector("#gone", state="visible")
        says(page, "#gone", "does not answer")
        there_are(page, 60, ".tile")
        with served(bench.card, port=port):
            page.wait_for_selector("#gone", state="hidden")
            page.wait_for_selector("#problem button")
            says(page, "#problem", "no longer has this sample")
            page.click("#problem button")
            told_of(page, 89)
            vanishes(page, "#problem")
            page.close()


def test_ten_thousand_cells_stay_a_page_at_a_time(page: Any, bench: Bench, tmp_path: Path) -> None:
    cells = np.load(bench.files[2])
    path = tmp_path / "many.npy"
    np.save(path, cells[np.arange(10_000) % len(cells)])
    send(page, [path], cells=10_000)
    assert len(shown(page)) == 60
    page.click("#last")
    page.wait_for_function("() => document.querySelector('.tile').dataset.index === '9960'")
    assert len(shown(page)) == 40
    page.select_option("#sort", f"p:{bench.classes[0]}:desc")
    page.wait_for_selector("#place:text('Page 1 of 167')")
    assert len(shown(page)) == 60


def test_the_api_page_lists_every_route(page: Any, bench: Bench) -> None:
    facts = page.request.get(bench.address + "openapi.json").json()
    page.goto(bench.address + "api")
    page.wait_for_selector(".route")
    there_are(page, sum(len(p) for p in facts["paths"].values()), ".route pre")
    says(page, "#routes", *facts["paths"], "-F 'files=@cell.tif'")
