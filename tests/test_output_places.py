"""What is written never takes the place of something else: inputs, pictures, pipes and links."""

from __future__ import annotations

import csv
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from cellsearch.card.whole_files import write_bytes, write_csv
from cellsearch.errors import CardError, ConfigError, RunError
from cellsearch.interop.bench import parse_targets, refuse_places
from cellsearch.report import write_report
from cellsearch.util.wording import as_option

from conftest import squares

ROWS = [{"id": "a", "predicted_class": "x"}]
MANIFEST = """\
name: own
title: One cell
licence: CC0-1.0
source: {folder: labels.csv}
layout: {reader: table, options: {path_column: path}}
classes:
  - {name: by-hand, count: 1, description: of a person}
  - {name: other, count: 0, description: none}
channels:
  - {name: colour, label_free: true}
groups: null
pixel_size_um: null
"""
TEXT = "id,predicted_class\na,x\n"


@pytest.fixture(scope="session")
def card(finished_card: Path) -> Path:
    return finished_card


def piped(pipe: Path) -> tuple[threading.Thread, list[bytes]]:
    """Reads a named pipe to its end in a thread; a writer waits for a reader."""
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    return reader, read


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: write_csv(pipe, ROWS), lambda: write_bytes(pipe, TEXT.encode())):
        reader, read = piped(pipe)
        write()
        reader.join(10)
        assert read == [TEXT.encode()]
        assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link, target = tmp_path / "latest.csv", tmp_path / "kept" / "cells.csv"
    link.symlink_to(Path("kept") / "cells.csv")
    for old in (None, "old\n"):
        if old is not None:
            target.write_text(old)
        write_csv(link, ROWS)
        assert link.is_symlink()
        assert target.read_text() == TEXT
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["cells.csv"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CardError, match=r"cannot write .*folder: Is a directory"):
        write_csv(tmp_path / "folder", ROWS)
    with pytest.raises(CardError, match=r"cannot write .*a\.csv: No such file"):
        write_csv(tmp_path / "no" / "a.csv", ROWS)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_what_is_there_is_replaced_only_where_it_may(tmp_path: Path) -> None:
    labels, picture, other = tmp_path / "labels.csv", tmp_path / "x.png", tmp_path / "old.tsv"
    for path in (labels, picture, other):
        path.write_text("precious")
    (tmp_path / "link.csv").symlink_to(picture)
    (tmp_path / "same.csv").hardlink_to(labels)
    os.mkfifo(tmp_path / "pipe")
    card = tmp_path / "card"
    card.mkdir()
    (card / "predictions.csv").write_text("precious")
    keep = (labels, card)
    for name in ("old.tsv", "new.csv", "new.anything", "pipe"):
        refuse_places((), {"out": tmp_path / name}, keep=keep)
    targets = parse_targets([f"napari={labels}", f"ideas={card}", "qupath=-"])
    tables = {
        f"n{k}": path
        for k, path in enumerate(
            [picture, tmp_path / "link.csv", tmp_path / "same.csv", card / "predictions.csv"]
        )
    }
    with pytest.raises(ConfigError) as caught:
        refuse_places(targets, tables | {"fractions": Path("-")}, keep=keep)
    for part in (
        f"--n0 {picture}: what is there is no table (.csv, .tsv, .txt), and is not replaced",
        f"--n1 {tmp_path / 'link.csv'}: what is there is no table",
        f"--n2 {tmp_path / 'same.csv'}: this file is the input; name another file",
        f"--n3 {card / 'predictions.csv'}: that is a file of {card}, which is the input",
        "--fractions -: standard output takes no table; name a file, or leave it out and give --js",
        f"--to napari={labels}: this file is the input",
        f"--to ideas={card}: this file is the input",
        "--to qupath=-: standard output takes no table",
    ):
        assert part in caught.value.message.worded(as_option)


def test_predict_keeps_the_table_it_reads_and_pictures(
    command, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    image = squares().images[0]
    Image.fromarray(np.moveaxis(np.concatenate([image, image[:1]]), 0, -1)).save("cell.png")
    Path("labels.csv").write_text("path,label\ncell.png,by-hand\n")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for out, part in (
        ("labels.csv", "--out labels.csv: this file is the input"),
        ("cell.png", "--out cell.png: what is there is no table"),
        ("-", "--json"),
        (card / "predictions.csv", "which is the input"),
    ):
        code, _, error = command("predict", card, "labels.csv", "-o", out)
        assert code == 2
        assert part in error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    assert command("verify", card)[0] == 0
    Path("own.yaml").write_text(MANIFEST.replace("labels.csv", "."))
    assert (
        "a folder, and a table was expected; name the .csv"
        in command("datasets", "check", "own.yaml")[2]
    )
    Path("own.yaml").write_text(MANIFEST)
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for option in ("-o", "--fractions"):
        code, _, error = command("predict", card, "own.yaml", option, "labels.csv")
        assert code == 2
        assert f"{option.replace('-o', '--out')} labels.csv: this file is the input" in error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_predict_through_a_pipe(command, card: Path, tmp_path: Path) -> None:
    cells = squares()
    np.savez(tmp_path / "new.npz", images=cells.images)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, read = piped(pipe)
    code, _, error = command("predict", card, tmp_path / "new.npz", "-o", pipe)
    reader.join(10)
    assert code == 0, error
    assert len(list(csv.DictReader(read[0].decode().splitlines()))) == len(cells)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.slow
def test_a_report_replaces_reports_alone(command, card: Path, tmp_path: Path) -> None:
    run = card.parent
    picture, link = tmp_path / "x.png", tmp_path / "link.html"
    picture.write_text("precious")
    link.symlink_to(picture)
    for out in (picture, link):
        with pytest.raises(RunError, match=r"is there already and no report \(\.html, \.htm\)"):
            write_report(run, out, audit=False)
    code, _, error = command("report", run, "-o", "-")
    assert code == 2
    assert "standard output takes no report; name a file" in error
    assert picture.read_text() == "precious"
    page, latest = tmp_path / "page.htm", tmp_path / "latest"
    page.write_text("old")
    latest.symlink_to(page)
    written = write_report(run, latest, audit=False)
    assert latest.is_symlink()
    assert page.read_text().startswith("<!doctype html>")
    assert written.size == page.stat().st_size


def test_compare_refuses_a_place_before_it_compares(command, card: Path, tmp_path: Path) -> None:
    answers = tmp_path / "experts.csv"
    answers.write_text("id,class\n")
    for place, part in (
        (tmp_path, f"--csv {tmp_path}: that is a folder; name a file in it"),
        (answers, "this file is the input"),
        (card / "predictions.csv", "which is the input"),
    ):
        code, _, error = command("compare", card.parent, "--answers", answers, "--csv", place)
        assert code == 2
        assert part in error
    assert answers.read_text() == "id,class\n"
