"""A served card and a real browser before it, for tests of the web page."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsearch.card.abstain import kept
from cellsearch.card.predict import CardPredictor
from cellsearch.card.rules import rules_for
from cellsearch.data.dataset import CellDataset

from card_cases import made

ABSTAIN = "coverage=0.7"
CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The system's Chromium, or a skip that says how to have one."""
    found = str(CHROMIUM) if CHROMIUM.is_file() else shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium that asks nothing of the network by itself."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield found
        found.close()


@contextmanager
def served(card: Path, *, port: int = 0, **options: Any) -> Iterator[int]:
    """The port at which uvicorn serves a card, in a thread, until the block ends."""
    import uvicorn

    from cellsearch.serve.app import create_app

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(card, threads=1, **options),
            port=port,
            log_level="warning",
            ws="none",
            http="h11",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=300)
        assert not thread.is_alive()


@dataclass
class Watch:
    """What a page did that nobody sees: requests, console, errors.

    ``expected`` are parts of what a browser complains of that are not held against the page.
    """

    hosts: set[str] = field(default_factory=set)
    sent: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    under_way: int = 0

    def on(self, page: Any) -> None:
        """Listen to a page."""

        def asked(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("blob", "data"):
                self.hosts.add(parts.netloc)
                self.sent.append((request.method, parts.path))
                self.under_way += 1

        def answered(request: Any) -> None:
            self.under_way -= urlsplit(request.url).scheme not in ("blob", "data")

        page.on("request", asked)
        page.on("requestfinished", answered)
        page.on("requestfailed", answered)
        page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def posts(self) -> int:
        """Requests that sent files."""
        return sum(method == "POST" and path.endswith("/files") for method, path in self.sent)


class Bench(NamedTuple):
    """A served card, the cells to send, and what the card itself says of them."""

    address: str
    card: Path
    files: list[Path]
    probabilities: NDArray[np.float32]
    sure: NDArray[np.bool_]
    classes: tuple[str, ...]

    @property
    def called(self) -> NDArray[np.int64]:
        return self.probabilities.argmax(axis=1)


@pytest.fixture(scope="module")
def bench(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    chromium()
    card = made(tiny_dataset, tmp_path_factory).card.folder
    folder = tmp_path_factory.mktemp("cells")
    files = [folder / "a.npy", folder / "b.npy", folder / "c.npy"]
    for path, cells in zip(files, np.split(tiny_dataset.images, [1, 10]), strict=True):
        np.save(path, cells[0] if len(cells) == 1 else cells)
    predictor = CardPredictor.load(card, threads=1)
    probabilities = predictor.predict(tiny_dataset.images)
    abstention, _ = rules_for(card, predictor.config, abstain=ABSTAIN, sets=None)
    assert abstention is not None
    sure = kept(probabilities, abstention, predictor.config.decide(probabilities))
    assert 0 < sure.sum() < len(sure)
    with served(card, abstain=ABSTAIN) as port:
        address = f"http://127.0.0.1:{port}/"
        yield Bench(address, card, files, probabilities, sure, predictor.classes)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def page(bench: Bench, chrome: Any, watch: Watch) -> Iterator[Any]:
    """The page, open; at the end it has asked no other host and complained of nothing."""
    with ExitStack() as stack:
        context = chrome.new_context(viewport={"width": 1280, "height": 900})
        stack.callback(context.close)
        context.set_default_timeout(120_000)
        found = context.new_page()
        watch.on(found)
        found.goto(bench.address)
        found.wait_for_selector("#card-classes li")
        yield found
        assert watch.hosts == {bench.address.split("/")[2]}
        complaints = [said for said in watch.faults if not _fits(said, watch.expected)]
        assert complaints == []


def _fits(said: str, parts: tuple[str, ...]) -> bool:
    return any(part in said for part in parts)


def comes(page: Any, expression: str, *, gives: Any = True, arg: object = None) -> None:
    """Wait until an expression of the page has a value, for as long as a test may take.

    What a key or a click sets off may come after it: a dialog tells that it was closed, and gives
    the focus back, when the page comes to it.

    Args:
        page: of the browser.
        expression: in JavaScript; it may name ``arg``.
        gives: the value, of what JSON can hold.
        arg: for the expression.

    Raises:
        AssertionError: it has another value still.
    """
    from playwright.sync_api import TimeoutError as TooLate

    equal = f"({{gives, arg}}) => JSON.stringify({expression}) === JSON.stringify(gives)"
    try:
        page.wait_for_function(equal, arg={"gives": gives, "arg": arg})
    except TooLate:
        found = page.evaluate(f"arg => JSON.stringify({expression})", arg)
        raise AssertionError(f"{expression} is {found}, not {gives!r}") from None


def says(page: Any, selector: str, *texts: str) -> None:
    """Wait until an element shows texts."""
    for text in texts:
        comes(
            page, "document.querySelector(arg[0]).innerText.includes(arg[1])", arg=[selector, text]
        )


def has_focus(page: Any, selector: str) -> None:
    """Wait until an element has the focus."""
    comes(page, "document.activeElement.matches(arg)", arg=selector)


def appears(page: Any, selector: str) -> None:
    page.wait_for_selector(selector, state="visible")


def vanishes(page: Any, selector: str) -> None:
    page.wait_for_selector(selector, state="hidden")


def there_are(page: Any, count: int, selector: str) -> None:
    """Wait until so many elements fit a selector."""
    comes(page, "document.querySelectorAll(arg).length", gives=count, arg=selector)


def send(page: Any, files: list[Path], *, cells: int) -> None:
    """Choose files, and wait until so many cells are told of."""
    page.set_input_files("#files", [str(path) for path in files])
    told_of(page, cells)


def tasks_done(page: Any) -> None:
    """The page has done what it had to do at once; what it waits for is still to come."""
    page.evaluate("() => new Promise(done => setTimeout(() => setTimeout(done)))")


def told_of(page: Any, cells: int) -> None:
    page.wait_for_function(
        "n => document.querySelector('#gallery-count').textContent.includes(`of ${n} cell`)",
        arg=f"{cells:,}",
    )


def shown(page: Any) -> list[int]:
    """Positions in the sample of the cells on the gallery's page."""
    found = page.eval_on_selector_all(".tile", "all => all.map(t => t.dataset.index)")
    return [int(index) for index in found]


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two ``rgb(...)`` colours."""
    one, other = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (one + 0.05) / (other + 0.05)


def _luminance(colour: str) -> float:
    assert colour.startswith("rgb("), colour
    values = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
