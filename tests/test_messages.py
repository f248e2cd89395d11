"""A message names settings as data; Python and the command line word them differently."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellsearch
from cellsearch import CellDataset
from cellsearch.data.writers.registry import write_cells
from cellsearch.errors import DataError, ReadError
from cellsearch.run.config import RunConfig
from cellsearch.serve.wording import as_control
from cellsearch.util.json_text import json_text
from cellsearch.util.messages import Message, Setting, joined, some
from cellsearch.util.wording import as_option

from conftest import squares

PACKAGE = Path(cellsearch.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"\b(cellsearch|uv|pip) [a-z]+[^`]*")
"""A whole command is the same to whoever reads it."""

EXPLAINED = {
    "doctor/checks.py": "an option of Docker",
    "scan/choices.py": "words of a command to be typed",
    "scan/facts.py": "words of a command to be typed",
    "run/check.py": "words of a command to be typed",
    "report/svg.py": "variables of a style sheet",
    "util/wording.py": "the options of the command line themselves",
}


@pytest.mark.parametrize(
    ("setting", "parameter", "option"),
    [
        (Setting("folds", 3), "folds=3", "--folds 3"),
        (Setting("rare", "keep"), 'rare="keep"', "--rare keep"),
        (Setting("one_vs_rest", "NK, dim"), 'one_vs_rest="NK, dim"', "--one-vs-rest 'NK, dim'"),
        (Setting("mirror"), "mirror", "--from"),
        (Setting("cut", True, reader=True), "cut=True", "--option cut=true"),
        (Setting("force", True), "force=True", "--force"),
        (Setting("race", False), "race=False", "--no-race"),
        (Setting("seconds"), "seconds", "--time"),
        (Setting("accept", ("a", "b")), 'accept=("a", "b")', "--accept a --accept b"),
        (Setting("accept", ("a",)), 'accept=("a",)', "--accept a"),
        (
            Setting("group_column", "donor id", reader=True),
            'group_column="donor id"',
            "--option 'group_column=donor id'",
        ),
    ],
)
def test_each_surface_words_a_setting_in_its_own_way(
    setting: Setting, parameter: str, option: str
) -> None:
    message = Message.of("choose ", setting)
    assert str(message) == f"choose {parameter}"
    assert message.worded(as_option) == f"choose {option}"


def test_an_error_that_wraps_another_keeps_its_settings() -> None:
    inner = ReadError("too few cells; choose ", Setting("folds", 2), " or more cells")
    outer = DataError("cells.csv: ", inner)
    assert str(outer) == "cells.csv: too few cells; choose folds=2 or more cells"
    assert outer.message.worded(as_option).endswith("choose --folds 2 or more cells")


def test_an_error_crosses_processes_with_its_settings() -> None:
    error = ReadError("choose ", Setting("folds", 2))
    again = copy.deepcopy(error)  # rebuilt as a process rebuilds what it receives
    assert type(again) is ReadError
    assert again.message == error.message


def test_messages_are_joined_with_their_settings() -> None:
    whole = joined([Message.of("a ", Setting("folds", 2)), Message.of("b")], "; ")
    assert whole.worded(as_option) == "a --folds 2; b"


def test_many_messages_are_cut_short_with_their_settings() -> None:
    each = [Message.of(f"{k} ", Setting("folds", k)) for k in range(4)]
    assert some(each, most=2).worded(as_option) == "0 --folds 0, 1 --folds 1 and 2 more"
    assert str(some(each[:1], most=2)) == "0 folds=0"


def test_the_page_names_what_the_server_was_begun_with() -> None:
    message = Message.of(
        "choose ", Setting("fit", "pad"), " or ", Setting("size", "8x8", reader=True)
    )
    assert message.worded(as_control) == 'choose a server started with --fit pad or size="8x8"'


def test_json_words_a_message_as_its_reader_does() -> None:
    facts = {"message": Message.of("choose ", Setting("folds", 2))}
    assert '"choose folds=2"' in json_text(facts)
    assert '"choose --folds 2"' in json_text(facts, word=as_option)


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts that are no docstrings, and their lines; of an f-string the whole."""
    bodies: list[Any] = [getattr(node, "body", None) for node in ast.walk(tree)]
    skipped = {
        id(each.value)
        for body in bodies
        if isinstance(body, list)
        for each in body
        if isinstance(each, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in skipped:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


def test_options_of_the_command_line_are_named_by_the_command_line_alone() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text[:80]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in EXPLAINED
        and not name.startswith("cli/")
        for line, text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
        if OPTION.search(COMMAND.sub("", text))
    ]
    assert found == []


def test_every_explanation_is_needed() -> None:
    for name in EXPLAINED:
        texts = texts_of(ast.parse((PACKAGE / name).read_text(encoding="utf-8")))
        assert any(OPTION.search(text) for _, text in texts), name


def black() -> CellDataset:
    cells = squares((20, 16))
    images = np.array(cells.images)
    images[0] = 0
    return CellDataset.from_arrays(images, cells.labels, classes=cells.classes, name="cells")


@pytest.mark.parametrize(
    ("raises", "python", "typed"),
    [
        (
            lambda folder: cellsearch.search(black(), folds=2, out=folder / "run"),
            'run anyway with accept=("constant",)',
            "run anyway with --accept constant",
        ),
        (
            lambda folder: RunConfig.of(
                dataset="x", folds=1, seconds=0, backend="local", address="a:1"
            ),
            'address: only Ray runs on clusters; leave it out, or run with backend="ray"; folds: ',
            "--address: only Ray runs on clusters; leave it out, or run with --backend ray; "
            "--folds: ",
        ),
        (
            lambda folder: cellsearch.load_dataset(folder, mirror=folder),
            "mirror=",
            "--from ",
        ),
        (
            lambda folder: write_cells(squares((9, 9)), folder),
            "exists already; name another, or replace it with force=True",
            "exists already; name another, or replace it with --force",
        ),
        (
            lambda folder: cellsearch.search(squares(), folds=2, out=folder),
            'name a new folder: out="FOLDER"',
            "name a new folder: --out FOLDER",
        ),
    ],
)
def test_python_and_the_command_line_read_their_own_words(
    raises: Any, python: str, typed: str, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(cellsearch.CellsearchError) as caught:
        raises(tmp_path)
    assert python in str(caught.value)
    assert "--" not in str(caught.value)
    assert typed in caught.value.message.worded(as_option)


def test_what_is_typed_is_told_in_typed_words(command: Any, tmp_path: Path) -> None:
    cells = black()
    path = tmp_path / "cells.npz"
    np.savez(path, images=cells.images, labels=np.array(cells.classes)[cells.labels])
    code, _, error = command("run", "--dataset", path, "--folds", 2, "--out", tmp_path / "run")
    assert (code, "--accept constant" in error, "accept=(" in error) == (2, True, False)
    code, _, error = command("run", "--dataset", path, "--time", "soon")
    assert (code, error.startswith("cellsearch: --time: expected a span")) == (2, True)
