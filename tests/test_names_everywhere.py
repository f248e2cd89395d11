"""Names that hold the signs of every format come out of every exit as they went in."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from cellsearch import SearchResult, label_issues, suggest
from cellsearch.card.whole_files import no_formula
from cellsearch.data.dataset import CellDataset
from cellsearch.data.source import load_dataset
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import DataError, RunError
from cellsearch.interop.hub import write_hub_folder
from cellsearch.interop.onnx_file import write_onnx
from cellsearch.label.issues import PairCount, Suspect
from cellsearch.report.label_page import write_label_page
from cellsearch.serve.app import create_app
from cellsearch.sklearn.frames import confusion_frame, predictions_frame
from cellsearch.tune.dashboard import confusion_png, note
from cellsearch.util.markdown import plain

from command_cases import write_folder
from conftest import squares
from run_cases import tiny_search
from serve_cases import named, pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:no font of this machine:UserWarning"),
]
CLASSES = (
    *("CD4", "CD4+", "CD8", "NK, dim", "a=b", "x|y", "10%", "$x^y$", "$\\frac$", "<b>bold</b>"),
    *(
        "=1+1",
        "#hash",
        "name: colon",
        '"quoted"',
        "tab\there",
        "emoji 🧬",
        "über",
        "[bold]x[/bold]",
    ),
    *(
        "_hidden",
        "a/b",
        "back\\slash",
        "id",
        "p(id)",
        ":cat:",
        "{x}%s",
        "certain",
        "- dash",
        "null",
    ),
)
CHANNELS = ("Ch1, Ch2", "CD3/CD28", "DAPI|nuc", "a+b=c")
ODD = {ord(sign): None for sign in '\\/:*?"<>|%\t'}


def odd_cells(names: tuple[str, ...] = CLASSES, each: int = 6) -> CellDataset:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(names)), each)
    images = rng.normal(60, 12, (len(labels), 4, 12, 12))
    for cell, label in enumerate(labels):
        row = label // 4 % 6 * 2
        images[cell, label % 4, row : row + 2, 2 : 5 + label // 24 * 6] += 120
    return CellDataset.from_arrays(
        images.clip(0, 255).astype(np.uint8),
        labels,
        classes=names,
        channels=CHANNELS,
        ids=np.array([f"{names[label]} {cell}" for cell, label in enumerate(labels)]),
        object_numbers=np.arange(1, 1 + len(labels)),
        name="odd",
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """One search on such names, for all that come out of it."""
    out = tmp_path_factory.mktemp("odd") / "run"
    return tiny_search(out, odd_cells(), budget=2, abstain="coverage=0.9", sets=0.9)


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_files_of_a_card_hold_the_names(found: SearchResult) -> None:
    card = found.card
    assert card is not None
    config = json.loads((card.folder / "config.json").read_text())
    assert (config["classes"], config["channels"]) == (list(CLASSES), list(CHANNELS))
    metrics = json.loads((card.folder / "metrics.json").read_text())
    for part in ("hold_out", "out_of_fold"):
        assert list(metrics[part]["winner"]["per_class"]) == list(CLASSES)
    splits = json.loads((found.folder / "splits.json").read_text())
    assert list(splits["dataset"]["classes"]) == list(CLASSES)
    for part in ("predictions.csv", "out_of_fold.csv"):
        rows = rows_of(card.folder / part)
        wanted = ["p(p(id))" if name == "id" else name for name in CLASSES]
        assert list(rows[0])[-len(CLASSES) :] == wanted
        assert {row["true_class"] for row in rows} == set(CLASSES)
        for row in rows:
            assert abs(sum(float(row[name]) for name in wanted) - 1) < 1e-4
    frame = predictions_frame(found)
    assert set(frame["true_class"]) == set(CLASSES)
    assert confusion_frame(found).columns.tolist() == list(CLASSES)


def test_suspect_labels_and_suggestions_hold_the_names(found: SearchResult, tmp_path: Path) -> None:
    assert found.card is not None
    names = rows_of(found.card.folder / "out_of_fold.csv")[: len(CLASSES)]
    suspects = tuple(
        Suspect(n, row["id"], "", 0, name, CLASSES[0], 0.05, dict.fromkeys(CLASSES, 0.1))
        for n, (name, row) in enumerate(zip(CLASSES, names, strict=True), start=1)
    )
    pairs = tuple(PairCount(name, CLASSES[0], 1, 5) for name in CLASSES)
    issues = replace(label_issues(found.folder), suspects=suspects, pairs=pairs)
    issues.write_csv(tmp_path / "suspects.csv")
    assert write_label_page(issues, tmp_path / "page.html") == ""
    text = (tmp_path / "page.html").read_text()
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    rows = rows_of(tmp_path / "suspects.csv")
    assert [row["given_class"] for row in rows] == list(CLASSES)
    chosen = suggest(found.card, replace(odd_cells(), images=255 - odd_cells().images, name="x"), 9)
    chosen.write_csv(tmp_path / "next.csv")
    for table in (rows, rows_of(tmp_path / "next.csv")):
        wanted = ["p(p(id))" if name == "id" else name for name in CLASSES]
        assert list(table[0])[-len(CLASSES) :] == wanted


def test_the_readme_shows_the_names_and_nothing_else(found: SearchResult) -> None:
    assert found.card is not None
    text = (found.card.folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert YAML(typ="safe").load(front)["datasets"] == ["odd"]
    tables = [line for line in body.splitlines() if line.startswith("| ")]
    shown = {line.split(" | ")[0].removeprefix("| ") for line in tables}
    assert {plain(name) for name in CLASSES} <= shown
    confusion = [line for line in tables if line.startswith("| true / predicted")]
    assert confusion
    # A sign of the table within a name would give a row more cells than its head has.
    assert all(line.replace("\\|", "").count("|") == len(CLASSES) + 2 for line in confusion)
    for raw in ("<b>", "$x^y$ ", "[bold]x[/bold]"):
        assert raw not in body.split("## ", 1)[1].split("cellsearch run")[0]


def test_pictures_name_every_class(found: SearchResult) -> None:
    assert found.card is not None
    plots = found.card.folder / "plots"
    for name in ("roc_hold_out", "precision_recall_out_of_fold", "embedding"):
        text = (plots / f"{name}.svg").read_text(encoding="utf-8")
        for shown in ("_hidden (n", "$x^y$ (n", "$\\frac$ (n", "&lt;b&gt;bold&lt;/b&gt; (n"):
            assert shown in text, (name, shown)
    text = (plots / "confusion_hold_out.svg").read_text(encoding="utf-8")
    assert "$\\frac$" in text
    counts = np.eye(len(CLASSES), dtype=np.int64)
    assert confusion_png(counts, CLASSES, title="$\\frac$").startswith(b"\x89PNG")
    lines = note(counts, CLASSES, headline="x").splitlines()[2:]
    assert {line.replace("\\|", "").count("|") for line in lines} == {6}


def test_models_for_others_hold_the_names(found: SearchResult, tmp_path: Path) -> None:
    assert found.card is not None
    write_onnx(found.card, tmp_path / "m.onnx")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(facts["classes"]) == list(CLASSES)
    assert json.loads(facts["channels"]) == list(CHANNELS)
    write_hub_folder(found.card, tmp_path / "hub")
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert list(config.get("classes", CLASSES)) == list(CLASSES)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"
)
def test_a_package_of_bioimageio_holds_the_names(
    command: Any, found: SearchResult, tmp_path: Path
) -> None:
    assert found.card is not None
    out = tmp_path / "package"
    words = ("export", found.card.folder, "--to", "bioimageio", "-o", out, "--author", "Ada Byron")
    code, _, error = command(*words, "--licence", "MIT")
    assert code == 0, error
    facts = YAML(typ="safe").load((out / "rdf.yaml").read_text(encoding="utf-8"))
    (image,), (chances,) = facts["inputs"], facts["outputs"]
    assert image["axes"][1]["channel_names"] == list(CHANNELS)
    assert chances["axes"][1]["channel_names"] == list(CLASSES)


def test_predictions_reach_other_programmes(
    command: Any, found: SearchResult, tmp_path: Path
) -> None:
    assert found.card is not None
    cells = tmp_path / "cells.npz"
    write_cells(odd_cells(), cells)
    out = {name: tmp_path / name for name in ("p.csv", "cp.csv", "qp.tsv", "na.csv", "f.csv")}
    code, text, error = command(
        *("predict", found.card.folder, cells, "-o", out["p.csv"], "--sets", 0.9),
        *("--abstain", "coverage=0.8", "--to", f"cellprofiler={out['cp.csv']}"),
        *("--to", f"qupath={out['qp.tsv']}", "--to", f"napari={out['na.csv']}"),
        *("--to", f"ideas={tmp_path / 'ideas'}", "--fractions", out["f.csv"]),
    )
    assert code == 0, error
    for name in ("[bold]x[/bold]", ":cat:", "$\\frac$", "NK, dim"):
        assert name in text
    # People open this one in a spreadsheet, which would run =1+1; the others are for programs.
    shown = {no_formula(name): name for name in CLASSES}
    rows = rows_of(out["p.csv"])
    assert set(shown) <= rows[0].keys()
    given = [shown[row["predicted_class"]] for row in rows]
    assert set(given) <= set(CLASSES)
    sets = [json.loads(row["set"]) for row in rows]
    assert all(set(each) <= set(CLASSES) for each in sets)
    assert all(name in each for name, each in zip(given, sets, strict=True))
    decided = [shown.get(row["decision"], row["decision"]) for row in rows]
    assert [row["class"] for row in rows_of(out["cp.csv"])] == decided
    assert [row["class"] for row in rows_of(out["na.csv"])] == decided
    quarter = rows_of(out["qp.tsv"], "\t")
    assert [row["Classification"] for row in quarter] == decided
    assert [json.loads(row["Prediction set"]) for row in quarter] == sets
    assert {f"Probability: {name}" for name in CLASSES} <= set(quarter[0])
    lists = rows_of(tmp_path / "ideas" / "populations.csv")
    assert {row["class"] for row in lists} == {*CLASSES, "uncertain"}
    assert [shown[row["class"]] for row in rows_of(out["f.csv"])] == list(CLASSES)
    code, text, error = command("predict", found.card.folder, cells, "--sets", 0.9, "--json")
    assert code == 0, error
    facts = json.loads(text)
    assert facts["classes"] == list(CLASSES)
    assert [cell["set"] for cell in facts["cells"]] == sets
    assert list(facts["cells"][0]["probabilities"]) == list(CLASSES)


def test_what_is_told_of_a_run_shows_the_names(
    command: Any, found: SearchResult, tmp_path: Path
) -> None:
    assert found.card is not None
    page = tmp_path / "report.html"
    for words in (
        ("report", found.folder, "-o", page),
        ("audit", found.folder),
        ("verify", found.card.folder),
        ("show", found.folder),
    ):
        code, _, error = command(*words)
        assert code == 0, (words, error)
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "<b>bold</b>" not in text
    assert "$\\frac$" in text
    table = tmp_path / "answers.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "rater", "class"))
        for row in rows_of(found.card.folder / "predictions.csv"):
            writer.writerow((row["id"], "Ada; B|C", row["true_class"]))
    code, text, error = command("compare", found.folder, "--answers", table, "--json")
    assert code == 0, error
    (rater,) = json.loads(text)["raters"]
    assert (rater["rater"], rater["answers"]["accuracy"]["value"]) == ("Ada; B|C", 1.0)


def test_the_page_finds_cells_by_class(found: SearchResult) -> None:
    assert found.card is not None
    app = create_app(found.card.folder, threads=1)
    with TestClient(app, base_url="http://localhost:8000") as client:
        facts = client.get("/api/card").json()
        assert (facts["classes"], facts["channels"]) == (list(CLASSES), list(CHANNELS))
        sample = f"/api/samples/{client.post('/api/samples').json()['sample']}"
        sent = named(("cells.tif", pages(odd_cells().images)))
        assert client.post(f"{sample}/files", files=sent).json()["refused"] == []

        def told(**query: Any) -> list[dict[str, Any]]:
            answer = client.get(f"{sample}/cells", params={"limit": 1000, **query})
            assert answer.status_code == 200, answer.text
            cells: list[dict[str, Any]] = answer.json()["cells"]
            return cells

        every = told()
        assert set(every[0]["probabilities"]) == set(CLASSES)
        for name in CLASSES:
            own = [cell for cell in every if cell["predicted_class"] == name]
            assert len(told(**{"class": name})) == len(own)
            ranked = [c["probabilities"][name] for c in told(sort=f"p:{name}", order="desc")]
            assert ranked == sorted(ranked, reverse=True)
        refused = client.get(f"{sample}/cells", params={"decision": "certain"})
        assert refused.status_code == 422
        assert "a class of this card, too" in refused.text
        for name in CHANNELS:
            picture = client.get(f"{sample}/cells/0/image.png", params={"channel": name})
            assert picture.content.startswith(b"\x89PNG"), name
        client.delete(sample)


@pytest.mark.parametrize("file", ["c.npz", "c.h5", "c.zarr", "c.ome.tif", "table"])
def test_converted_cells_keep_the_names(tmp_path: Path, file: str) -> None:
    cells = odd_cells()
    to = "table" if file == "table" else None
    written = write_cells(cells, tmp_path / file, to=to)
    again = load_dataset(written.readable)
    assert again.classes == cells.classes
    assert again.channels == cells.channels
    assert again.ids.tolist() == cells.ids.tolist()
    assert np.array_equal(again.labels, cells.labels)
    assert np.array_equal(again.images, cells.images)
    # And back again into another format.
    back = load_dataset(write_cells(again, tmp_path / "back.npz").readable)
    assert (back.classes, back.channels) == (cells.classes, cells.channels)


def test_folders_keep_the_names_that_they_can_bear(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"classes whose name no folder can bear: x\|y"):
        write_cells(odd_cells(), tmp_path / "refused")
    borne = tuple(name for name in CLASSES if name.translate(ODD) == name)
    assert len(borne) > 15
    cells = odd_cells(borne)
    again = load_dataset(write_cells(cells, tmp_path / "folder").readable)
    assert (again.classes, again.channels) == (cells.classes, cells.channels)
    assert sorted(again.ids.tolist()) == sorted(cells.ids.tolist())
    named = {cell: again.classes[k] for cell, k in zip(again.ids, again.labels, strict=True)}
    assert all(cell.startswith(name) for cell, name in named.items())


def test_saved_cells_keep_the_names(tmp_path: Path) -> None:
    saved = odd_cells().save(tmp_path / "cells")
    again = CellDataset.open(saved.folder or tmp_path)
    assert (again.classes, again.channels) == (CLASSES, CHANNELS)


def test_an_anndata_keeps_the_names() -> None:
    anndata = pytest.importorskip("anndata")
    pandas = pytest.importorskip("pandas")
    cells = odd_cells()
    texts = [cells.classes[label] for label in cells.labels]
    labels = pandas.Categorical(texts, categories=list(CLASSES))
    table = anndata.AnnData(
        obs=pandas.DataFrame({"cell type, final": labels}, index=cells.ids.tolist()),
        obsm={"images": cells.images},
    )
    read = CellDataset.from_anndata(table, label_key="cell type, final", images="images")
    assert read.classes == CLASSES


def test_a_class_called_uncertain_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    cells = squares().merge_classes({"uncertain": ["class-0"]})
    with pytest.raises(RunError, match="abstain: a class is called 'uncertain' already"):
        tiny_search(tmp_path / "run", cells, abstain="coverage=0.9")
    assert not (tmp_path / "run").exists()


def test_init_writes_a_manifest_of_such_names(command: Any, tmp_path: Path) -> None:
    """YAML would take some of them for other things, and the shell parts the folder's name."""
    names = ("NK, dim", "a=b", "#hash", "null", "true", "1e3", "[x]", "*star", "- dash", "name: x")
    root = write_folder(tmp_path / "my cells", odd_cells(names, each=8))
    out = tmp_path / "my cells.yaml"
    code, text, error = command("init", root, "-o", out, "--no-estimate")
    assert code == 0, error
    assert f"cellsearch datasets check '{out}'" in text
    code, text, error = command(
        "datasets", "describe", out, "--sheet", tmp_path / "s.png", "--only", "null,NK, dim"
    )
    assert code == 0, error
    assert "classes: NK, dim 8, null 8;" in text
