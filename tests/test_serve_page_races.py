"""What a person does while an answer of the server is still on its way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
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
VANISHED = "The server no longer has this sample"


def hold(page: Any, pattern: str | re.Pattern[str]) -> list[Any]:
    """Requests that are kept from the server until the test lets them go."""
    held: list[Any] = []
    page.route(pattern, lambda route: held.append(route))
    return held


def let_go(page: Any, pattern: str | re.Pattern[str], held: list[Any]) -> None:
    for route in held:
        route.continue_()
    page.unroute(pattern)


def waits(page: Any, held: list[Any], count: int = 1) -> None:
    # For as long as a test may take: the browser's driver hears of requests within its own calls.
    while len(held) < count:
        page.wait_for_timeout(25)


def begun(page: Any, pattern: str, file: Path) -> list[Any]:
    """An upload of which what the pattern matches is held."""
    held = hold(page, pattern)
    page.set_input_files("#files", [str(file)])
    waits(page, held)
    return held


def expected(watch: Watch, *faults: str) -> None:
    """The browser complains of these, now or when a late answer comes: not of the page's own."""
    assert watch.faults
    watch.expected = faults


def forget(page: Any, bench: Bench) -> None:
    """The server loses the sample, as one that was restarted."""
    sample = page.evaluate("() => sessionStorage.getItem('cellsearch-sample')")
    httpx.delete(f"{bench.address}api/samples/{sample}").raise_for_status()


def problem(page: Any, text: str) -> None:
    page.wait_for_function(
        "text => document.getElementById('problem').textContent.includes(text)", arg=text
    )


def title(page: Any) -> str:
    return str(page.inner_text("#detail-title"))


def other_title(page: Any, before: str) -> None:
    comes(page, "document.querySelector('#detail-title').innerText !== arg", arg=before)


def shown_ids(page: Any) -> list[str]:
    return list(page.eval_on_selector_all("#cells .cell-name", "l => l.map(e => e.textContent)"))


def test_back_from_a_short_last_page_is_the_last_cell_of_the_page_before(
    page: Any, bench: Bench
) -> None:
    send(page, bench.files, cells=90)
    page.select_option("#sort", "input:asc")
    page.wait_for_selector("#cells:not([aria-busy])")
    last = shown_ids(page)[-1]
    page.click("#next")
    page.wait_for_function(
        "() => document.getElementById('place').textContent.startsWith('Page 2')"
    )
    page.click("#cells li:first-child .tile")
    page.click("#detail-previous")
    comes(page, "document.getElementById('detail-title').textContent", gives=f"Cell {last}")
    says(page, "#gallery-count", "1 to 60 of 90")


def test_a_page_that_was_asked_for_is_turned_to_though_cells_come_meanwhile(
    page: Any, bench: Bench
) -> None:
    send(page, bench.files[1:], cells=89)
    page.select_option("#sort", "input:asc")
    page.wait_for_selector("#cells:not([aria-busy])")
    page.click("#cells li:nth-child(60) .tile")
    before = title(page)
    held = hold(page, "**/cells?**")
    page.click("#detail-next")
    waits(page, held)
    # Shown meanwhile is what was there: neither place nor cells of a page that is not drawn.
    assert title(page) == before
    says(page, "#place", "Page 1 of 2")
    page.set_input_files("#files", [str(bench.files[0])])
    waits(page, held, 2)
    let_go(page, "**/cells?**", held)
    other_title(page, before)
    says(page, "#place", "Page 2 of 2")
    says(page, "#detail-title", f"Cell {shown_ids(page)[0]}")


def test_at_the_last_cell_the_arrow_keys_are_still_heard(page: Any, bench: Bench) -> None:
    send(page, bench.files[1:2], cells=9)
    page.click("#cells li:nth-child(8) .tile")
    page.focus("#detail-next")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail-next:disabled")
    last = title(page)
    page.keyboard.press("ArrowLeft")
    other_title(page, last)


def test_files_dropped_after_starting_anew_are_sent_though_an_answer_is_on_its_way(
    page: Any, bench: Bench
) -> None:
    send(page, bench.files[:1], cells=1)
    pattern = "**/samples/*"
    held = begun(page, pattern, bench.files[1])
    page.click("#anew")
    page.set_input_files("#files", [str(bench.files[2])])
    let_go(page, pattern, held)
    told_of(page, 80)


def test_files_dropped_after_a_cancel_are_sent_though_the_sample_is_being_made(
    page: Any, bench: Bench, watch: Watch
) -> None:
    held = begun(page, "**/api/samples", bench.files[2])
    page.click("#cancel")
    problem(page, "Cancelled: 0 files sent")
    has_focus(page, "#choose-files")
    page.set_input_files("#files", [str(bench.files[1])])
    let_go(page, "**/api/samples", held)
    told_of(page, 9)
    assert sum(asked == ("POST", "/api/samples") for asked in watch.sent) == 1


def test_what_the_server_was_classifying_at_a_cancel_is_shown_when_it_is_there(
    page: Any, bench: Bench
) -> None:
    begun(page, "**/files", bench.files[1])
    page.click("#cancel")
    problem(page, "Cancelled: 0 files sent")
    # What a server adds that was at it when the request broke off.
    sample = page.evaluate("() => sessionStorage.getItem('cellsearch-sample')")
    files = {"files": (bench.files[1].name, bench.files[1].read_bytes())}
    httpx.post(f"{bench.address}api/samples/{sample}/files", files=files).raise_for_status()
    told_of(page, 9)


def test_all_files_of_a_sample_that_is_gone_are_offered_once(
    page: Any, watch: Watch, bench: Bench
) -> None:
    send(page, bench.files[:1], cells=1)
    forget(page, bench)
    page.set_input_files("#files", [str(bench.files[1])])
    problem(page, VANISHED)
    says(page, "#problem button", "Send the 2 files again")
    # Nothing to send is no reason to forget them.
    page.dispatch_event("#folder", "change")
    says(page, "#problem button", "Send the 2 files again")
    page.click("#problem button")
    told_of(page, 10)
    expected(watch, "404")


def test_a_batch_that_was_given_up_and_sent_again_counts_once(
    page: Any, bench: Bench, watch: Watch
) -> None:
    begun(page, "**/files", bench.files[1])
    page.click("#cancel")
    problem(page, "Cancelled")
    page.unroute("**/files")
    send(page, bench.files[1:2], cells=9)
    # After a cancel the page looks again by itself, and would learn then that the sample is gone:
    # before the next file is chosen, or after, as the machine is quick or slow. A look is two
    # questions, and one that was asked before is answered before.
    looks = re.compile(r"/samples/[^/]+(/cells\?.*)?$")
    held = hold(page, looks)
    while watch.under_way > len(held):
        page.wait_for_timeout(25)
    forget(page, bench)
    page.set_input_files("#files", [str(bench.files[0])])
    problem(page, VANISHED)
    says(page, "#problem button", "Send the 2 files again")
    let_go(page, looks, held)
    page.click("#problem button")
    told_of(page, 10)
    expected(watch, "404")


def test_a_sample_that_is_gone_is_left_by_a_button_after_a_reload_too(
    page: Any, bench: Bench, watch: Watch
) -> None:
    send(page, bench.files[1:2], cells=9)
    page.reload()
    told_of(page, 9)
    forget(page, bench)
    page.select_option("#class", bench.classes[0])
    problem(page, VANISHED)
    says(page, "#problem button", "Start anew")
    page.click("#problem button")
    vanishes(page, "#sample")
    send(page, bench.files[:1], cells=1)
    expected(watch, "404")


def test_a_cell_without_saliency_is_no_sample_that_is_gone(
    page: Any, bench: Bench, watch: Watch
) -> None:
    send(page, bench.files[1:2], cells=9)
    page.click("#cells li:first-child .tile")
    reason = {"error": "this cell cannot be explained", "remedy": "look at its image"}
    page.route("**/saliency.png**", lambda route: route.fulfill(status=404, json=reason))
    page.click("#saliency-show")
    said = "() => document.querySelector('#saliency-text').textContent.startsWith('This cell')"
    page.wait_for_function(said)
    page.wait_for_selector("#cells:not([aria-busy])", state="attached")
    vanishes(page, "#problem")
    page.unroute("**/saliency.png**")
    forget(page, bench)
    page.click("#saliency-show")
    problem(page, VANISHED)
    vanishes(page, "#detail")
    expected(watch, "404")


def test_another_card_at_the_same_address_gets_no_files_of_this_page(
    page: Any, bench: Bench, watch: Watch
) -> None:
    def other(route: Any) -> None:
        facts = route.fetch().json()
        route.fulfill(json=facts | {"classes": ["x", "y"], "title": "another"})

    page.route("**/api/card", other)
    page.set_input_files("#files", [str(bench.files[0])])
    problem(page, "This server serves another card by now. Reload the page, and send the files")
    assert not any(asked == ("POST", "/api/samples") for asked in watch.sent)


def test_an_answer_that_is_none_of_the_servers_ends_the_upload(page: Any, bench: Bench) -> None:
    page.route("**/files", lambda route: route.fulfill(body="<html>log in</html>"))
    page.set_input_files("#files", [str(bench.files[0])])
    problem(page, "The answer cannot be read")
    vanishes(page, "#sending")
    page.unroute("**/files")
    send(page, bench.files[1:2], cells=9)


def test_a_file_that_is_gone_by_now_is_named_and_the_others_are_sent(
    page: Any, bench: Bench, tmp_path: Path, watch: Watch
) -> None:
    files = [tmp_path / f"{name}.npy" for name in "abc"]
    for path in files:
        np.save(path, np.load(bench.files[0]))
    held = hold(page, "**/api/samples")
    page.set_input_files("#files", [str(path) for path in files])
    waits(page, held)
    files[1].unlink()
    let_go(page, "**/api/samples", held)
    told_of(page, 2)
    says(page, "#refused", "b.npy")
    says(page, "#refused", "changed, moved or removed after it was chosen")
    expected(watch, "ERR_FILE_NOT_FOUND", "ERR_UPLOAD_FILE_CHANGED")


def test_pictures_follow_the_contrast_of_a_sample_that_grew(
    page: Any, bench: Bench, tmp_path: Path
) -> None:
    bright = np.load(bench.files[2])
    dim = tmp_path / "dim.npy"
    np.save(dim, (bright[:9] // 4).astype(bright.dtype))
    mean = """async index => {
      const image = document.querySelector(`[data-index="${index}"] img`);
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      return data.reduce((sum, value) => sum + value, 0) / data.length;
    }"""
    send(page, [dim], cells=9)
    page.select_option("#sort", "input:asc")
    page.wait_for_selector("#cells:not([aria-busy])")
    before = page.evaluate(mean, 0)
    send(page, bench.files[2:], cells=89)
    page.wait_for_selector("#cells:not([aria-busy])")
    grown = page.evaluate(mean, 0)
    page.reload()
    told_of(page, 89)
    page.select_option("#sort", "input:asc")
    page.wait_for_selector("#cells:not([aria-busy])")
    assert grown == pytest.approx(page.evaluate(mean, 0))
    assert grown < before - 5


def test_the_count_of_cells_is_told_again_after_starting_anew(page: Any, bench: Bench) -> None:
    send(page, bench.files[1:2], cells=9)
    page.click("#anew")
    send(page, bench.files[:1], cells=1)
    appears(page, "#gallery-count")
    says(page, "#gallery-count", "1 to 1 of 1 cell")


def test_an_opened_list_of_refused_files_stays_open(
    page: Any, bench: Bench, tmp_path: Path
) -> None:
    def rubbish(start: int) -> list[Path]:
        files = [tmp_path / f"{k}.png" for k in range(start, start + 5)]
        for path in files:
            path.write_text("no picture")
        return files

    page.set_input_files("#files", [str(path) for path in rubbish(0)])
    page.click("#refused details summary")
    page.set_input_files("#files", [str(path) for path in rubbish(5)])
    page.wait_for_function(
        "() => document.getElementById('refused-title').textContent.startsWith('10')"
    )
    comes(page, "document.querySelector('#refused details').open")
    page.wait_for_function(
        "() => document.getElementById('live').textContent.includes('5 refused')"
    )


def test_a_card_that_opens_late_opens_by_itself(page: Any, watch: Watch) -> None:
    page.route("**/api/card", lambda route: route.fulfill(status=502, body="proxy"))
    page.reload()
    page.wait_for_function("() => !document.getElementById('problem').hidden")
    assert page.is_disabled("#choose-files")
    page.unroute("**/api/card")
    page.wait_for_selector("#card-classes li")
    vanishes(page, "#problem")
    assert page.is_enabled("#choose-files")
    expected(watch, "502")


def test_printed_and_in_forced_colours_nothing_is_lost(page: Any, bench: Bench) -> None:
    send(page, bench.files[1:2], cells=9)
    page.emulate_media(media="print")
    vanishes(page, "#controls")
    assert page.eval_on_selector(".summary", "s => getComputedStyle(s).position") == "static"
    page.emulate_media(media="screen", forced_colors="active")
    page.click("#cells li:first-child .tile")
    bars = "l => l.map(e => getComputedStyle(e).backgroundColor)"
    track, bar = (
        page.eval_on_selector_all(name, bars)[0] for name in (".probability-track", ".probability")
    )
    assert track != bar
