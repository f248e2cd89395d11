"""The audit passes on every kind of run that the product makes, and says what it looked at."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsearch import CellDataset, SearchSpace, cli, search
from cellsearch.audit import AuditReport, audit_run
from cellsearch.audit.parts import holds_recipe
from cellsearch.audit.report import Check
from cellsearch.learn.fold_result import FoldResult
from cellsearch.run.folder import read_record
from cellsearch.space.recipe import BASELINE

from conftest import squares
from run_cases import TINY, Stopper, tiny_search

pytestmark = pytest.mark.slow

GENERATED = {
    "name": "generated",
    "parameters": TINY["parameters"]
    | {
        "balance.method": "over",
        "gan.kind": "wgan-gp",
        "gan.below": 0.7,
        "gan.steps": 2,
        "gan.critic_steps": 1,
        "gan.batch": 4,
        "gan.width": 8,
        "train.patience": 1,
    },
}


def grouped() -> CellDataset:
    cells = squares((40, 32, 24))
    return CellDataset.from_arrays(
        np.array(cells.images),
        cells.labels,
        classes=cells.classes,
        groups=[f"donor-{n % 12}" for n in range(len(cells))],
        name="donors",
    )


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellsearch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def states(report: AuditReport) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Broken off and gone on with; groups, generated cells, early stopping, thresholds."""
    out = tmp_path_factory.mktemp("runs") / "one"
    space = SearchSpace.from_dict(GENERATED)
    options = {"budget": 2, "folds": 2, "backend": "local", "threads": 1, "race": False}
    stopped = search(grouped(), space, out=out, observer=Stopper(3), **options)
    assert stopped.interrupted
    assert not audit_run(out).failed
    search(grouped(), space, out=out, **options)
    return out


def test_it_passes_on_a_resumed_run_of_groups_and_generated_cells(whole: Path) -> None:
    report = audit_run(whole)
    assert not report.failed, [check.line() for check in report.failed]
    assert states(report) == {check.name: "passed" for check in report.checks} | {
        "the warm-start card has seen none of these cells": "not applicable"
    }


def test_it_passes_on_one_fixed_split(tmp_path: Path) -> None:
    result = tiny_search(tmp_path / "run", folds=1, split="60/20/20", budget=1)
    report = audit_run(result.folder)
    assert not report.failed, [check.line() for check in report.failed]
    found = states(report)
    assert found["groups are on one side of every split"] == "not applicable"
    assert found["this run read its hold-out once"] == "passed"


def test_it_prints_a_line_a_check_and_json(whole: Path, command) -> None:
    code, out, _ = command("audit", whole)
    assert code == 0
    assert "passed          groups are on one side of every split: 12 groups" in out
    wanted = read_record(whole).dataset_sha256[:12]
    assert f"cells as read at the start, sha256 {wanted}; their files are not" in out
    assert "14 checks passed, 0 failed, 1 not applicable" in out
    code, out, _ = command("audit", whole, "--json")
    assert code == 0
    assert json.loads(out)["passed"] is True


def test_what_is_no_run_ends_with_code_2(tmp_path: Path, command) -> None:
    code, _, err = command("audit", tmp_path)
    assert code == 2
    assert "holds no run.json" in err


def test_a_line_names_ten_cells_and_counts_the_others() -> None:
    check = Check("x", "FAILED", "y", tuple(f"c{n}" for n in range(12)))
    assert check.line().endswith("cells: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more")


def test_folds_of_older_versions_say_nothing_and_are_not_failed(
    whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "one")
    for path in run.glob("trials/*/fold-*.npz"):
        replace(FoldResult.load(path), provenance=None).save(path)
    found = states(audit_run(run))
    assert found["networks were trained on training cells only"] == "not applicable"
    assert found["out-of-fold predictions cover the cells of their fold"] == "passed"


def test_a_recipe_that_was_stored_before_a_parameter_existed_is_the_same() -> None:
    stored = BASELINE.to_params()
    older = {k: v for k, v in stored.items() if k not in ("model.stem", "input.most")}
    assert holds_recipe(older, BASELINE)
    assert not holds_recipe({**older, "model.depth": 1, "model.kernel.1": 3}, BASELINE)
    assert not holds_recipe({**older, "model.stem": 2}, BASELINE)
    assert not holds_recipe({"no.such": 1}, BASELINE)
    assert not holds_recipe(None, BASELINE)
