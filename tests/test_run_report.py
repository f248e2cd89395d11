"""The report of a run: whole in itself, escaped, and its figures those of the card."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cellsearch
from cellsearch import CellDataset, SearchSpace
from cellsearch.cli import app
from cellsearch.errors import RunError
from cellsearch.report import write_report
from cellsearch.report.facts import gather
from cellsearch.report.search_story import best_so_far, saving
from cellsearch.run.config import RunConfig
from cellsearch.run.nested import nested_search
from cellsearch.stats.evaluation import Estimate
from cellsearch.stats.wording import difference, figure, recall_of

from conftest import squares
from run_cases import TINY, Stopper

pytestmark = pytest.mark.slow

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "link", "br", "input", "hr"}


class Page(HTMLParser):
    """Text, attributes, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        self.loads += [facts[name] or "" for name in ("src", "srcset", "data") if name in facts]
        for name in ("href", "xlink:href"):
            if name in facts:
                (self.links if tag == "a" else self.loads).append(facts[name] or "")
        self.loads += re.findall(r"url\(([^)]*)\)", " ".join(v or "" for v in facts.values()))
        self.ids += [facts["id"]] if "id" in facts else []
        if tag == "table":
            self.tables.append([])
        if tag == "tr" and "svg" not in self._open:
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        assert not any(name.startswith("on") for name in facts)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.words.append(data)
            if any(each in ("td", "th") for each in self._open):
                self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def rows(self, first: str) -> list[list[str]]:
        """Rows of all tables that begin so."""
        return [row for table in self.tables for row in table if row and row[0] == first]


def evil_squares() -> CellDataset:
    cells = squares((50, 30, 10))
    return CellDataset.from_arrays(
        cells.images,
        cells.labels,
        classes=[EVIL, "a & b | c", "$rare_x"],
        channels=["bright<b>field", "dark"],
        ids=[f"<i>{n}</i>" for n in range(len(cells))],
        name="squares",
    )


def searched(out: Path, **settings: object):
    values = {"budget": 3, "folds": 2, "backend": "local", "threads": 1} | settings
    return cellsearch.search(evil_squares(), SearchSpace.from_dict(TINY), out=out, **values)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched(
        tmp_path_factory.mktemp("runs") / "one", abstain="coverage=0.9", sets=0.9, seed=2
    ).folder


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    write_report(finished)
    return Page((finished / "report.html").read_text())


def test_the_page_is_whole_in_itself(finished: Path, page: Page) -> None:
    assert page.loads
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in page.loads)
    assert not {"link", "iframe", "object", "base", "embed"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {each.removeprefix("#") for each in page.loads if each[0] == "#"} <= set(page.ids)
    assert {each.removeprefix("#") for each in page.links} <= set(page.ids)
    style = (finished / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_names_from_outside_are_escaped(finished: Path, page: Page) -> None:
    text = (finished / "report.html").read_text()
    assert len(page.scripts) == 1
    assert "alert(" not in page.scripts[0]
    assert EVIL not in text
    assert "<i>" not in text
    assert EVIL in page.text
    assert "a & b | c" in page.text
    assert "bright<b>field" in page.text
    assert "$rare_x" in page.text


def test_every_figure_is_that_of_the_card(finished: Path, page: Page) -> None:
    metrics = json.loads((finished / "card" / "metrics.json").read_text())
    sentence = metrics["verdict"]["sentence"]
    assert sentence[1:] in page.text
    for part in ("hold_out", "out_of_fold"):
        facts = metrics[part]
        for name, title in cellsearch.stats.metrics.TITLES.items():
            wanted = [
                title,
                figure(Estimate(**facts["winner"]["metrics"][name])),
                figure(Estimate(**facts["baseline"]["metrics"][name])),
                difference(Estimate(**facts["difference"][name])),
            ]
            assert wanted in page.rows(title)
        for name, own in facts["winner"]["per_class"].items():
            cells = own["support"]
            recall = recall_of(Estimate(**own["recall"]), cells)
            before = recall_of(Estimate(**facts["baseline"]["per_class"][name]["recall"]), cells)
            (row,) = [
                row
                for row in page.rows(name)
                if len(row) == 7 and row[1:4] == [f"{cells:,}", recall, before]
            ]
            assert row[4] == difference(Estimate(**facts["recall_difference"][name]))
            assert row[6] == figure(Estimate(**own["f1"]))
        for who in ("winner", "baseline"):
            svg = _svg(finished, f"confusion_{part}_{who}")
            counts = [n for row in facts[who]["confusion"] for n in row]
            shown = re.findall(r"<text[^>]*fill: #(?:010101|fefefe)[^>]*>([^<]*)</text>", svg)
            assert [text for text in shown if "%" not in text] == [f"{n:,}" for n in counts]
    held = metrics["confidence"]["abstention"]["hold_out"]
    assert [
        "coverage: share given a class",
        figure(Estimate(**held["coverage"])),
        figure(Estimate(**metrics["confidence"]["abstention"]["out_of_fold"]["coverage"])),
    ] in page.rows("coverage: share given a class")
    found = json.loads((finished / "card" / "calibration.json").read_text())
    error = figure(Estimate(**found["hold_out"]["before"]["error"]))
    assert page.rows("Hold-out, before")[0][2] == error


def _svg(run: Path, name: str) -> str:
    text = (run / "report.html").read_text()
    return text.partition(f'id="figure-{name}"')[2].partition("</svg>")[0]


def test_classes_of_few_cells_are_counted_not_measured(page: Page) -> None:
    assert any(re.match(r"\d of 2 found: \d+-\d+ %", row[2]) for row in page.rows("$rare_x"))


def test_every_caption_says_how_many(page: Page, finished: Path) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", (finished / "report.html").read_text())
    assert len(captions) >= 9
    assert all(re.search(r"n (=|of)", caption) for caption in captions)


def test_recipe_trials_and_command_are_told(page: Page, finished: Path) -> None:
    facts = gather(finished)
    for each in facts.trials:
        label = f"{each.number}{' (baseline)' if each.row.baseline else ''}"
        row = next(row for row in page.rows(label) if len(row) == 7)
        assert row[2] == f"{each.row.score:.4f}"
    params, base = (t.row.recipe.to_params() for t in (facts.winner, facts.baseline))
    told = {row[0] for table in page.tables for row in table if row}
    assert set(params) | set(base) <= told
    assert f"cellsearch resume {finished}" in page.text
    assert "checks passed, 0 failed" in page.text


def test_mistakes_are_the_surest_and_shown(finished: Path, page: Page) -> None:
    from cellsearch.report.mistakes import mistakes

    found = mistakes(finished / "card", gather(finished).cells)
    rows = (finished / "card" / "out_of_fold.csv").read_text().splitlines()
    assert found.shown == ("bright<b>field", "dark")
    wrong = sum(pair.counts["out-of-fold"][0] for pair in found.pairs)
    metrics = json.loads((finished / "card" / "metrics.json").read_text())
    matrix = metrics["out_of_fold"]["winner"]["confusion"]
    assert wrong == sum(n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j)
    assert len(rows) > wrong
    for pair in found.pairs:
        for part in pair.surest.values():
            sure = [each.confidence for each in part]
            assert sure == sorted(sure, reverse=True)
            assert all(each.picture.startswith("data:image/png;base64,") for each in part)
    shown = sum(len(part) for pair in found.pairs for part in pair.surest.values())
    assert page.tags.count("img") == shown


def test_suspect_labels_are_those_of_the_command(finished: Path, page: Page) -> None:
    found = cellsearch.label_issues(finished)
    for sentence in found.sentences():
        assert sentence[1:] in page.text
    for pair in found.pairs[:10]:
        assert [pair.given, pair.suggested, f"{pair.suspects:,}", f"{pair.of:,}"] in page.rows(
            pair.given
        )
    assert f"cellsearch labels {finished} --html suspects.html" in page.text


def test_labels_that_cannot_be_judged_are_said_in_the_report(
    finished: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    table = run / "card" / "out_of_fold.csv"
    table.write_text(table.read_text() + "\n")
    write_report(run, audit=False)
    assert "cannot be trusted" in Page((run / "report.html").read_text()).text


def test_a_run_that_was_broken_off_says_what_is_missing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped = searched(run, observer=Stopper(3))
    assert stopped.interrupted
    written = write_report(run, audit=False)
    page = Page((run / "report.html").read_text())
    assert "no verdict" in written.verdict
    assert any("cellsearch resume" in each for each in written.missing)
    assert written.missing[0] in page.text
    assert "Confusion" not in page.text
    (run / "study.db").unlink()
    assert "there is no study.db" in " ".join(write_report(run, audit=False).missing)


def test_a_run_whose_trials_failed_gives_the_reasons(tmp_path: Path) -> None:
    space = TINY | {"parameters": TINY["parameters"] | {"train.epochs": 2}}
    run = tmp_path / "run"
    with pytest.raises(RunError, match="trials failed"):
        failing_search(run, space)
    written = write_report(run, audit=False)
    assert "no trial has finished all folds (loss is not finite" in " ".join(written.missing)
    assert "failed" in Page((run / "report.html").read_text()).text


def failing_search(run: Path, space: dict[str, object]) -> None:
    from cellsearch.tune import backend

    import search_cases as cases

    def hopeless(job, work):
        from cellsearch.errors import TrialError

        raise TrialError("loss is not finite in epoch 1")
        yield

    original = backend.backend
    backend.backend = lambda name: cases.LocalBackend(hopeless)
    try:
        cellsearch.search(
            squares(), SearchSpace.from_dict(space), out=run, budget=1, folds=2, backend="local"
        )
    finally:
        backend.backend = original


def test_lost_cells_and_a_damaged_card_are_said(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "one"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"dataset_folder": str(tmp_path / "gone")}))
    written = write_report(run)
    assert any("no images are shown" in each for each in written.missing)
    assert written.audit is None
    assert "img" not in Page((run / "report.html").read_text()).tags
    (run / "card" / "config.json").write_text("{")
    assert any("damaged" in each for each in write_report(run, audit=False).missing)


def test_repeated_searches_get_a_table_with_links(tmp_path: Path) -> None:
    out = tmp_path / "nested"
    config = RunConfig.of(
        dataset="squares", space="tiny", budget=2, folds=2, backend="local", threads=1
    )
    space = SearchSpace.from_dict(TINY)
    nested_search(config, outer=2, cells=squares((24, 16, 8)), space=space, out=out)
    written = write_report(out, audit=False)
    assert [part.run.name for part in written.reports] == ["outer-1", "outer-2"]
    page = Page((out / "report.html").read_text())
    assert page.links == ["outer-1/report.html", "outer-2/report.html"]
    assert all((out / link).is_file() for link in page.links)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["headline"][1:] in page.text
    pooled = summary["pooled"]["metrics"]["macro_f1"]
    assert page.rows("macro F1") == [["macro F1", figure(Estimate(**pooled))]]
    (out / "summary.json").unlink()
    assert "nothing is pooled" in write_report(out, audit=False).missing[0]


def test_what_racing_saved_is_counted(finished: Path) -> None:
    from dataclasses import replace

    trials = gather(finished).trials
    row = replace(trials[1].row, state="PRUNED", folds=1, seconds=8.0)
    stopped = replace(trials[1], row=row, steps=trials[1].steps[:1])
    found = saving([trials[0], stopped], 5)
    assert (found.stopped, found.folds, found.all_folds, found.seconds) == (1, 4, 10, 32.0)
    assert best_so_far([stopped, *trials])[0] == [each.number for each in trials]


def test_the_command(finished: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    out, figures = tmp_path / "a.html", tmp_path / "figures"
    command = ["report", str(finished), "-o", str(out), "--figures", str(figures), "--no-audit"]
    result = runner.invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["size"] == out.stat().st_size < 3_000_000
    assert facts["missing"] == []
    assert sorted(facts["pictures"]) == sorted(path.stem for path in figures.glob("*.svg"))
    svg = (figures / "history.svg").read_text()
    assert "var(--" not in svg
    assert "<text" in svg
    with pytest.raises(RunError, match=r"is not the folder of a run"):
        write_report(tmp_path)
    with pytest.raises(RunError, match=r"is a folder; name a file"):
        write_report(finished, tmp_path)
    with pytest.raises(RunError, match=r"there is no folder"):
        write_report(finished, tmp_path / "no" / "a.html", audit=False)


@pytest.mark.slow
def test_it_opens_in_a_browser_on_a_phone(finished: Path, page: Page, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium")
    said: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        for scheme in ("light", "dark"):
            tab = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: said.append(request.url[:80]))
            tab.goto((finished / "report.html").as_uri())
            tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= 390
            tab.click(".sortable thead th:nth-child(3)")
            shown = tab.eval_on_selector_all(
                ".sortable tbody tr", "rows => rows.map(r => parseFloat(r.cells[2].textContent))"
            )
            assert shown == sorted(shown)
            tab.close()
        browser.close()
    assert [each for each in said if not each.startswith(("file:", "data:"))] == []
