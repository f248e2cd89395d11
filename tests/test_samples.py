"""Shares for each sample alone: which cells are of which sample, and what predict writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from cellsearch.card.prevalence import fractions_by_sample, fractions_of, sample_rows
from cellsearch.cli import app
from cellsearch.data.dataset import CellDataset
from cellsearch.data.samples import samples_of
from cellsearch.data.unlabelled import read_unlabelled
from cellsearch.errors import ConfigError, DataError

from card_cases import Made, made


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def table_of(folder: Path, images: np.ndarray, wells: list[str]) -> Path:
    """Cells as TIFF files in a folder a well, and a table of them."""
    with (folder / "new.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "well", "plate"])
        for k, (image, well) in enumerate(zip(images, wells, strict=True)):
            (folder / "new" / well).mkdir(parents=True, exist_ok=True)
            name = f"new/{well}/{k:03d}.tif"
            tifffile.imwrite(folder / name, image, photometric="minisblack")
            writer.writerow([name, well, "p1"])
    return folder / "new.csv"


def test_a_sample_is_a_column_a_file_or_a_folder(tmp_path: Path) -> None:
    wells = ["A1", "A2", "A1", "A2", "B1"]
    images = np.arange(5 * 64, dtype=np.uint16).reshape(5, 1, 8, 8)
    table = table_of(tmp_path, images, wells)
    cells = read_unlabelled(table, channels=1)
    assert samples_of(cells, "well", table).tolist() == wells
    # A column of one value is no group, and yet a sample.
    assert set(samples_of(cells, "plate", table).tolist()) == {"p1"}
    assert samples_of(cells, "source", table).tolist() == cells.sources.tolist()
    below = read_unlabelled(tmp_path / "new", channels=1)
    assert samples_of(below, "folder", tmp_path / "new").tolist() == sorted(wells)
    with pytest.raises(ConfigError, match="did you mean 'well'"):
        samples_of(cells, "wells", table)
    with pytest.raises(ConfigError, match="no such column"):
        samples_of(below, "group", tmp_path / "new")
    loose = read_unlabelled(tmp_path / "new/A1", channels=1)
    with pytest.raises(ConfigError, match="no folder below"):
        samples_of(loose, "folder", tmp_path / "new/A1")
    table.write_text(table.read_text().replace(",B1,", ",,"))
    with pytest.raises(DataError, match="no well of cell 5"):
        samples_of(cells, "well", table)


def test_each_sample_has_the_shares_of_its_cells_alone(case: Made) -> None:
    config = case.card.config
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(len(config.classes)), 40)
    names = np.array(["b", "a"] * 20)
    found = fractions_by_sample(p, names, config)
    assert [each.sample for each in found] == ["b", "a"]
    assert found[1].fractions == fractions_of(p[names == "a"], config)
    rows = sample_rows(found)
    assert len(rows) == 2 * len(config.classes)
    assert list(rows[0])[:3] == ["sample", "class", "cells"]


def test_predict_writes_shares_by_sample_for_the_comparison(case: Made, tmp_path: Path) -> None:
    held = case.splits.holdout
    wells = [f"w{k % 4}" for k in range(len(held))]
    table = table_of(tmp_path, case.dataset.images[held], wells)
    shares = tmp_path / "shares.csv"
    words = ["predict", str(case.card.folder), str(table), "--samples", "well"]
    done = CliRunner().invoke(app, [*words, "--fractions", str(shares)])
    assert done.exit_code == 0, done.output
    assert "Shares of the classes in 4 samples" in done.output
    with shares.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample"] for row in rows[:: len(case.dataset.classes)]] == ["w0", "w1", "w2", "w3"]
    assert sum(int(row["cells"]) for row in rows) == len(held)
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [each["sample"] for each in told["samples"]] == ["w0", "w1", "w2", "w3"]
    design = tmp_path / "design.csv"
    design.write_text("sample,condition\nw0,control\nw1,control\nw2,drug\nw3,drug\n")
    words = ["compare-samples", str(shares), "--design", str(design)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "2 against 2 replicates cannot give p below 0.33" in done.output
