"""The web page of ``cellsearch serve``, end to end in a real browser against a real card."""

from __future__ import annotations

import csv
import json
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
    has_focus,
    says,
    send,
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
PAGE = 60


def test_the_page_says_what_is_served(page: Any, bench: Bench) -> None:
    says(page, "#card", "no diagnostic device", "95 % interval")
    there_are(page, len(bench.classes), "#card-classes li")
    page.click("#card-more summary")
    says(page, "#card-list", "brightfield, darkfield")
    says(page, "#card-list", "16 × 16 px")
    vanishes(page, "#sample")
    vanishes(page, "#gone")


def test_files_become_cells_with_shares(page: Any, bench: Bench) -> None:
    send(page, bench.files, cells=90)
    counts = np.bincount(bench.called, minlength=len(bench.classes))
    rows = page.eval_on_selector_all("#shares tbody tr", "all => all.map(r => r.innerText)")
    for name, number, row in zip(bench.classes, counts, rows, strict=True):
        cells = row.split()
        assert cells[0] == name
        assert str(number) in cells
        assert " to " in row
    says(page, "#shares-caption", "n = 90 cells")
    there_are(page, 3 * len(bench.classes), "#shares .whisker")
    says(page, "#totals", f"{(~bench.sure).sum()} (")
    assert len(shown(page)) == PAGE
    loaded = (
        "() => [...document.querySelectorAll('.tile img')].slice(0, 5).every(i => i.naturalWidth)"
    )
    page.wait_for_function(loaded)


def test_sort_and_filter_as_the_card_itself_would(page: Any, bench: Bench) -> None:
    send(page, bench.files, cells=90)
    rare = len(bench.classes) - 1
    page.select_option("#sort", f"p:{bench.classes[rare]}:desc")
    page.wait_for_function("() => document.querySelector('#cells').ariaBusy !== 'true'")
    wanted = bench.probabilities[:, rare]
    page.wait_for_selector(f".cells li:first-child [data-index='{wanted.argmax()}']")
    ranked = wanted[shown(page)]
    assert (np.diff(ranked) <= 0).all()

    page.select_option("#class", bench.classes[0])
    told_of(page, int((bench.called == 0).sum()))
    assert set(bench.called[shown(page)]) == {0}
    page.check("#uncertain")
    open_ = (bench.called == 0) & ~bench.sure
    told_of(page, int(open_.sum()))
    there_are(page, min(PAGE, int(open_.sum())), ".tile .doubtful")
    page.click("#reset")
    told_of(page, 90)

    confidence = bench.probabilities.max(axis=1)
    half = int(100 * np.median(confidence))
    page.fill("#min", str(half))
    page.keyboard.press("Tab")
    told_of(page, int((confidence >= half / 100).sum()))


def test_a_cell_opens_with_all_probabilities_and_saliency(page: Any, bench: Bench) -> None:
    send(page, bench.files, cells=90)
    page.locator(".tile").nth(3).click()
    order = np.argsort(-bench.probabilities[3], kind="stable")
    names = (
        "[...document.querySelectorAll('#detail-probabilities th')].map(e => e.innerText.trim())"
    )
    comes(page, names, gives=[bench.classes[k] for k in order])
    page.check("#detail input[value=darkfield]", force=True)
    page.wait_for_function("() => document.querySelector('#detail-image').naturalWidth === 16")
    page.select_option("#saliency-class", bench.classes[0])
    page.click("#saliency-show")
    page.wait_for_selector("#saliency-figure", state="visible")
    page.wait_for_function("() => document.querySelector('#saliency-image').naturalWidth >= 16")
    says(page, "#saliency-caption", bench.classes[0])
    page.click("#detail-next")
    vanishes(page, "#saliency-figure")
    page.keyboard.press("Escape")
    vanishes(page, "#detail")
    has_focus(page, ".tile[data-index='4']")


def test_the_table_downloaded_holds_the_cards_own_figures(
    page: Any, bench: Bench, tmp_path: Path
) -> None:
    send(page, bench.files, cells=90)
    with page.expect_download() as download:
        page.click("#cells-csv")
    download.value.save_as(tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    given = np.array([[float(row[name]) for name in bench.classes] for row in rows])
    np.testing.assert_allclose(given, bench.probabilities, atol=1e-5)
    assert [row["decision"] == "uncertain" for row in rows] == (~bench.sure).tolist()
    with page.expect_download() as download:
        page.click("#fractions-csv")
    download.value.save_as(tmp_path / "fractions.csv")
    assert len((tmp_path / "fractions.csv").read_text().splitlines()) == 1 + len(bench.classes)


def test_refused_files_stay_in_sight_with_their_reason(
    page: Any, bench: Bench, tmp_path: Path
) -> None:
    nasty = tmp_path / "<img src=x onerror=alert(1)>.tif"
    nasty.write_text("no image at all")
    three = tmp_path / "three.npy"
    np.save(three, np.zeros((3, 16, 16), np.uint8))
    empty = tmp_path / "empty.tif"
    empty.touch()
    page.set_input_files("#files", [str(nasty), str(three), str(empty)])
    page.wait_for_selector("#refused-title:text('3 files')")
    says(page, "#refused", nasty.name, "channel")
    there_are(page, 0, "#refused img")
    send(page, bench.files, cells=90)
    appears(page, "#refused")
    page.click("#refused-clear")
    vanishes(page, "#refused")


def test_dropped_files_are_taken(page: Any, bench: Bench) -> None:
    page.evaluate(
        """bytes => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(bytes)], "dropped.npy"));
          for (const type of ["dragenter", "dragover", "drop"])
            document.querySelector("#drop").dispatchEvent(
              new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        list(bench.files[1].read_bytes()),
    )
    told_of(page, 9)
    says(page, "#cells", "dropped.npy")


def test_a_folder_dropped_from_outside_is_walked(page: Any, bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "plate 1"
    (folder / "deep" / "é").mkdir(parents=True)
    # A browser's reader gives a hundred entries at a time.
    for k in range(103):
        np.save(folder / f"{k}.npy", np.load(bench.files[0]))
    np.save(folder / "deep" / "é" / "last.npy", np.load(bench.files[0]))
    for litter in (".DS_Store", "Thumbs.db"):
        (folder / litter).write_bytes(b"no image")
    box = page.locator("#drop").bounding_box()
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": box["x"] + 20,
                "y": box["y"] + 20,
                "data": {"items": [], "files": [str(folder)], "dragOperationsMask": 1},
            },
        )
    told_of(page, 104)
    vanishes(page, "#refused")
    page.click("#next")
    page.wait_for_selector(".tile >> text=plate 1/deep/é/last.npy")


def test_many_files_go_in_batches_and_one_too_large_does_not_go(
    bench: Bench, page: Any, watch: Watch, tmp_path: Path
) -> None:
    def smaller(route: Any) -> None:
        answer = route.fetch()
        facts = answer.json()
        facts["limits"] |= {"request_files": 4, "file_bytes": 4000, "request_bytes": 50_000}
        route.fulfill(response=answer, body=json.dumps(facts))

    page.route("**/api/card", smaller)
    page.reload()
    page.wait_for_selector("#card-classes li")
    cell = np.load(bench.files[0])
    files = [tmp_path / f"{k}.npy" for k in range(10)]
    for path in files:
        np.save(path, cell)
    send(page, [*files, bench.files[2]], cells=10)
    assert watch.posts() == 3
    says(page, "#refused", "c.npy")
    says(page, "#refused", "Larger than")


def test_sending_can_be_cancelled(page: Any, bench: Bench) -> None:
    held: list[Any] = []
    page.route("**/files", lambda route: held.append(route))
    page.set_input_files("#files", [str(path) for path in bench.files])
    page.wait_for_selector("#sending", state="visible")
    page.click("#cancel")
    page.wait_for_selector("#problem", state="visible")
    says(page, "#problem", "Cancelled")
    vanishes(page, "#sending")
    page.unroute("**/files")
    send(page, bench.files[:1], cells=1)


def test_starting_anew_waits_for_answers_that_are_under_way(
    page: Any, bench: Bench, watch: Watch
) -> None:
    send(page, bench.files, cells=90)
    held: list[Any] = []
    page.route("**/cells?**", lambda route: held.append(route))
    page.select_option("#class", bench.classes[0])
    page.wait_for_selector("#cells[aria-busy]", state="attached")
    page.click("#anew")
    tasks_done(page)
    assert held
    assert not any(method == "DELETE" for method, _ in watch.sent)
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        for route in held:
            route.continue_()
    tasks_done(page)
    there_are(page, 0, "#cells li")
    there_are(page, 0, "#cells[aria-busy]")
    assert not any("/null/" in path for _, path in watch.sent)


def test_a_reload_keeps_the_sample_and_starting_anew_forgets_it(page: Any, bench: Bench) -> None:
    send(page, bench.files, cells=90)
    page.reload()
    told_of(page, 90)
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.click("#anew")
    vanishes(page, "#sample")
    page.wait_for_function("() => !sessionStorage.length")
    send(page, bench.files[1:2], cells=9)
