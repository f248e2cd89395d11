"""The task of a run: channels, merged classes, chosen classes, one against the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellsearch
from cellsearch import SearchSpace
from cellsearch.cli.options import run_values
from cellsearch.data.task import Task, apply_task, task_of
from cellsearch.errors import ConfigError, DataError, RunError
from cellsearch.run.config import IDENTITY, RunConfig
from cellsearch.run.folder import read_record, unfinished
from cellsearch.run.inputs import cells_for
from cellsearch.run.observer import Silent

from command_cases import write_folder
from conftest import squares
from run_cases import TINY, Stopper

pytestmark = pytest.mark.slow

CELLS = squares((30, 20, 10, 6))


def test_the_order_is_merge_only_one_against_the_rest() -> None:
    cells = apply_task(
        CELLS,
        channels=("darkfield",),
        merge={"small": ("class-0", "class-1")},
        only=("small", "class-2", "class-3"),
        one_vs_rest="small",
    )
    assert cells.classes == ("small", "not-small")
    assert cells.counts.tolist() == [50, 16]
    assert cells.channels == ("darkfield",)
    assert np.array_equal(cells.images[:, 0], CELLS.images[:, 1])
    for said in ("small = class-0 + class-1", "darkfield", "small against class-2, class-3"):
        assert said in cells.provenance.notes


def test_one_against_one_leaves_the_other_cells_out() -> None:
    cells = apply_task(CELLS, only=("class-3", "class-1"))
    assert cells.classes == ("class-1", "class-3")
    assert cells.ids.tolist() == CELLS.ids[np.isin(CELLS.labels, [1, 3])].tolist()
    assert cells.counts.tolist() == [20, 6]


def test_nothing_asked_changes_nothing() -> None:
    assert apply_task(CELLS) is CELLS


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"merge": {"x": ("clas-0",)}}, r"merge: no class 'clas-0'; did you mean 'class-0'"),
        ({"merge": {"class-3": ("class-0", "class-1")}}, "merge: .*already"),
        ({"only": ("class-0", "klass-2")}, r"only: no class 'klass-2'; did you mean 'class-2'"),
        ({"only": ("class-0", "G9")}, "there are class-0, class-1, class-2, class-3"),
        ({"only": ("class-0",)}, "one class, class-0, and two are needed"),
        ({"one_vs_rest": "G2"}, "one_vs_rest: no class 'G2'; there are class-0"),
        ({"channels": ("brightfeld",)}, "channels: .*did you mean 'brightfield'"),
        ({"merge": {"all": CELLS.classes}}, "one class, all"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(asked: dict, told: str) -> None:
    with pytest.raises(DataError, match=told):
        apply_task(CELLS, **asked)


def test_words_stay_as_they_were_typed() -> None:
    typed = {"channels": ["a, b"], "merge": ["x=G1+S", "y=CD4+,CD8+"], "only": None}
    assert run_values({**typed, "one_vs_rest": "x, y", "variant": None}) == {
        "typed": {"channels": ("a, b",), "merge": ("x=G1+S", "y=CD4+,CD8+")},
        "one_vs_rest": "x, y",
    }
    found = task_of(
        {"channels": ("a, b",), "merge": ("x=G1+S", "y=CD4+,CD8+"), "only": ("x,y",)},
        channels=("a", "b"),
        classes=("G1", "S", "CD4+", "CD8+"),
    )
    merge = {"x": ("G1", "S"), "y": ("CD4+", "CD8+")}
    assert found == Task(("a", "b"), merge, ("x", "y"))
    for wrong in (["x"], ["=a+b"], ["x="], ["x=a", "x=b"]):
        with pytest.raises(ConfigError, match="merge: "):
            task_of({"merge": wrong}, channels=(), classes=("a", "b"))


def test_the_task_is_what_a_run_is_known_by(tmp_path: Path) -> None:
    assert {"merge", "only", "one_vs_rest", "channels", "split"} <= set(IDENTITY)
    config = RunConfig.of(dataset="demo", merge={"x": ["a", "b"]}, only=["x", "c"])
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_a_run_keeps_task_and_split_when_it_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped = cellsearch.search(
        CELLS,
        SearchSpace.from_dict(TINY),
        out=out,
        budget=2,
        split="60/20/20",
        channels=["darkfield"],
        merge={"small": ["class-0", "class-1"]},
        one_vs_rest="small",
        backend="local",
        threads=1,
        observer=Stopper(1),
    )
    assert stopped.interrupted
    same = read_record(out).config
    these = {
        "cells": cellsearch.CellDataset.open(read_record(out).dataset_folder),
        "space": SearchSpace.from_dict(TINY),
    }
    assert unfinished(same, tmp_path, **these) == out
    for change in ({"merge": {}}, {"split": "50/30/20"}):
        changed = RunConfig.of(**(same.model_dump() | change))
        assert unfinished(changed, tmp_path, **these) is None
    result = cellsearch.resume(out)
    assert {row.state for row in result.trials} == {"COMPLETE"}
    assert result.card.config.classes == ("small", "not-small")
    assert result.card.config.channels == ("darkfield",)
    text = (result.card.folder / "README.md").read_text()
    assert "small = class-0 + class-1" in text
    assert "one fixed split. Of the other 53 cells the same 13 judged every recipe" in text
    metrics = json.loads((result.card.folder / "metrics.json").read_text())
    assert list(metrics["hold_out"]["winner"]["per_class"]) == ["small", "not-small"]
    assert metrics["out_of_fold"]["winner"]["cells"] == 13


def test_a_run_without_those_fields_can_still_be_read(tmp_path: Path) -> None:
    config = RunConfig.of(dataset="demo")
    old = json.loads(config.model_dump_json())
    for name in ("merge", "only", "one_vs_rest", "channels", "split"):
        del old[name]
    assert RunConfig.model_validate(old) == config


def test_datasets_show_the_task(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CELLS)
    sheet = tmp_path / "sheet.png"
    words = ("datasets", "describe", root, "--sheet", sheet, "--only", "class-0,class-1")
    code, out, error = command(*words, "--merge", "class-0=class-0+class-2")
    assert code == 0, error
    assert "classes: class-0 40, class-1 20;" in out
    code, _, error = command("run", "--dataset", root, "--only", "class-0,class-9")
    assert code == 2
    assert "--only: no class 'class-9'" in error
    code, _, error = command("run", "--dataset", root, "--split", "70/10/20", "--folds", "5")
    assert code == 2
    assert error.count("\n") == 1
    assert "--folds: leave it out" in error


def test_the_same_pixels_with_other_notes_are_saved_apart() -> None:
    """A card tells the notes, and brings crops to size as they were: both must be this run's."""
    config = RunConfig.of(dataset="squares")
    plain = squares()
    padded = replace(plain, provenance=replace(plain.provenance, fit="pad", notes="seen"))
    found = [cells_for(config, None, cells, Silent()) for cells in (plain, padded)]
    assert [cells.provenance.fit for cells in found] == ["", "pad"]
    assert found[0].sha256 == found[1].sha256
    assert found[0].folder != found[1].folder


def test_resume_takes_rules_of_the_card(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def resume(folder: Path, **changes: Any) -> None:
        asked.update(changes)
        raise RunError("far enough")

    monkeypatch.setattr("cellsearch.run.search.resume", resume)
    (tmp_path / "run.json").write_text("{}")
    code, _, error = command("resume", tmp_path, "--abstain", "coverage=0.9", "--sets", 0.8)
    assert (code, "far enough" in error) == (2, True)
    assert (asked["abstain"], asked["sets"]) == ("coverage=0.9", 0.8)
    assert "budget" not in asked
    assert asked["command"].endswith("--abstain coverage=0.9 --sets 0.8")


def test_what_resume_changed_is_part_of_the_command(tmp_path: Path) -> None:
    out = tmp_path / "run"
    cellsearch.search(CELLS, SearchSpace.from_dict(TINY), out=out, budget=2, folds=2,
                      backend="local", threads=1, observer=Stopper(1))  # fmt: skip
    begun = read_record(out).command
    cellsearch.resume(out, budget=1, command="cellsearch resume run --budget 1")
    assert read_record(out).command == f"{begun}\ncellsearch resume run --budget 1"
    assert "cellsearch resume run --budget 1" in (out / "card" / "README.md").read_text()


def test_one_class_alone_is_refused_before_anything_is_trained(
    command: Any, tmp_path: Path
) -> None:
    write_folder(tmp_path / "one", squares((30,)))
    code, _, error = command("run", "--dataset", tmp_path / "one", "--out", tmp_path / "run")
    assert (code, "only one class, class-0" in error) == (2, True)
    assert not (tmp_path / "run").exists()
    code, out, _ = command("datasets", "check", tmp_path / "one")
    assert (code, "one-class" in out) == (1, True)
