"""Shell completion: commands, options and values, without loading what takes long."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from cellsearch import cli
from cellsearch.cli import completion
from cellsearch.cli.options import help_of
from cellsearch.data.findings import Kind
from cellsearch.data.readers import registry
from cellsearch.data.writers.registry import Format
from cellsearch.interop.exporters import EXPORTERS
from cellsearch.run.config import RunConfig
from cellsearch.stats.metrics import METRICS
from cellsearch.util.yaml_files import names

Complete = Callable[[str], list[str]]
HEAVY = {"torch", "ray", "numpy", "pandas", "matplotlib", "fastapi", "optuna", "ruamel"}


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What bash would offer for a line, the last word being typed."""

    def offered(line: str) -> list[str]:
        monkeypatch.setenv("_CELLSEARCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setattr(sys, "argv", ["cellsearch"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (0, None)
        return capsys.readouterr().out.split("\n")[:-1]

    return offered


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, one of them with a card, and some cells."""
    for name, card in (("first", True), ("second", False)):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text("{}")
        os.utime(run / "run.json", (1, 1 if card else 2))
        if card:
            (run / "card").mkdir()
            (run / "card" / "config.json").write_text("{}")
    (tmp_path / "my cells").mkdir()
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_options(complete: Complete) -> None:
    assert complete("cellsearch ru") == ["run", "runs"]
    assert complete("cellsearch datasets de") == ["describe"]
    assert "--budget" in complete("cellsearch run --bu")


def test_values(complete: Complete, work: Path) -> None:
    assert complete("cellsearch run --dataset dem") == [
        name for name in names("datasets") if name.startswith("dem")
    ]
    assert complete("cellsearch run --space qui") == ["quick"]
    assert complete("cellsearch run --space mine") == ["mine.yaml"]
    assert complete("cellsearch run --dataset my") == ["my cells/"]
    assert complete("cellsearch run --metric m") == ["macro_f1", "mcc"]
    assert complete("cellsearch run --device c") == ["cpu", "cuda"]
    assert complete("cellsearch run --rare m") == ["merge="]
    assert complete("cellsearch run --accept duplicate-i") == ["duplicate-id"]
    assert complete("cellsearch compare a b --part o") == ["oof"]
    assert complete("cellsearch spaces show epfl-2023-") == ["epfl-2023-wide"]
    assert complete("cellsearch datasets check jurkat-f") == ["jurkat-full"]


def test_runs_newest_first_then_folders(complete: Complete, work: Path) -> None:
    assert complete("cellsearch show ")[:2] == ["runs/second", "runs/first"]
    assert complete("cellsearch show runs/f") == ["runs/first"]
    assert ".hidden/" not in complete("cellsearch show ")
    assert completion.cards("runs/") == ["runs/first/card", "runs/second/"] or (
        completion.cards("")[0] == "runs/first/card"
    )
    assert "runs/first/card" in complete("cellsearch run --init-from r")
    assert completion.runs("nowhere/at/") == []


def test_what_is_offered_is_what_is_taken(complete: Complete, work: Path) -> None:
    for field, option in {"precision": "--precision", "final": "--final"}.items():
        known = get_args(RunConfig.model_fields[field].annotation)
        assert complete(f"cellsearch run {option} ") == list(known)
    assert set(complete("cellsearch run --metric ")) == set(METRICS)
    for metric in complete("cellsearch run --metric "):
        assert RunConfig.of(dataset="demo", metric=metric).metric == metric
    assert complete("cellsearch run --accept ") == list(get_args(Kind))
    for suffix in (".csv", ".npz"):
        assert suffix in completion.DATA_SUFFIXES
        assert suffix.removeprefix(".") in registry.ACCEPTED
    assert complete("cellsearch convert demo --to ") == list(get_args(Format))
    assert complete("cellsearch export card --to ") == list(EXPORTERS)


def test_every_field_of_a_run_is_an_option_with_help() -> None:
    """A field that nobody can give on the command line would be forgotten."""
    commands: Any = typer.main.get_command(cli.app)
    helps = {param.name: param.help for param in commands.commands["run"].params}
    for name, field in RunConfig.model_fields.items():
        if name != "typed":
            assert field.description
            assert helps[name] == help_of(name)
    assert "after --merge;" in helps["only"]


def test_each_shell_and_nothing_heavy() -> None:
    line = {
        "bash": {"COMP_WORDS": "cellsearch run --metric mc", "COMP_CWORD": "3"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "cellsearch run --metric mc"},
        "fish": {
            "_TYPER_COMPLETE_ARGS": "cellsearch run --metric mc",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }
    code = (
        "import sys, cellsearch.cli as c; sys.argv = ['cellsearch']\n"
        "try: c.main()\nexcept SystemExit: pass\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)"
    )
    for shell, words in line.items():
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "_CELLSEARCH_COMPLETE": f"complete_{shell}", **words},
        )
        assert done.returncode == 0, done.stderr
        assert "mcc" in done.stdout


def test_the_script_of_each_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
        monkeypatch.setattr(sys, "argv", ["cellsearch", "--show-completion", shell])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (0, None)
        assert "_CELLSEARCH_COMPLETE" in capsys.readouterr().out
