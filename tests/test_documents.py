"""The documents are true: their code runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cellsearch.cli import app

from cli_page import commands
from conftest import REPOSITORY
from document_cases import DOCS, Block, blocks, make_cells, make_new, needs, pages
from field_cases import make_fields

TINY = "--backend local --threads 1 --budget 2"
"""Added to every ``cellsearch run`` of a page; of an option given twice the last counts."""

FIRST = DOCS / "start" / "biologist.md"
"""The page whose run the other pages work on; it promises no output."""

RULES = "--abstain coverage=0.9 --prediction-sets 0.9"
"""Added to that run, since other pages show what comes of them."""

PAGES = [page for page in pages() if any(block.runs for block in blocks(page))]


def shell(text: str, folder: Path, more: str = "") -> str:
    """Run commands as a reader would; what they print, both streams.

    Args:
        text: lines of a shell.
        folder: where they are run.
        more: added to every ``cellsearch run``.
    """
    joined = text.replace("\\\n", " ")
    lines = []
    for line in joined.splitlines():
        if line.startswith("cellsearch run "):
            folds = "" if " --split" in line else " --folds 2"
            line = f"{line.split('  #')[0]} {TINY}{folds} {more}"
        lines.append(line)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cells, new cells and a finished run: what is left of the first pages."""
    folder = tmp_path_factory.mktemp("first")
    make_cells(folder / "cells")
    make_new(folder / "new")
    for block in blocks(FIRST):
        if block.runs:
            assert block.language == "bash", block
            shell(block.text, folder, RULES)
    return folder


def prepare(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    """Lay into the folder what the page needs."""
    wanted = needs(page)
    if "run" in wanted:
        shutil.copytree(request.getfixturevalue("first_run"), folder, dirs_exist_ok=True)
    elif "cells" in wanted:
        make_cells(folder / "cells")
        make_new(folder / "new")
    if "fields" in wanted:
        make_fields(folder)
    if "donors" in wanted:
        make_cells(folder / "donors", donors=True)


def require_printed(block: Block, printed: str) -> None:
    """Every line of an output block must have been printed; ``...`` stands for anything."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for line in filter(str.strip, block.text.splitlines()):
        if line.strip() == "...":
            continue
        parts = [re.escape(part) for part in " ".join(line.split()).split("...")]
        pattern = re.compile(".*".join(parts))
        found = any(pattern.fullmatch(each) for each in lines)
        assert found, f"{block.page}:{block.line} promises {line!r}; printed was:\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_the_code_of_a_page_runs(
    page: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if page == FIRST:
        assert not any(block.is_output for block in blocks(page))
        request.getfixturevalue("first_run")
        return
    prepare(page, tmp_path, request)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.is_output:
            require_printed(block, printed)
        elif block.runs and block.language == "bash":
            printed = shell(block.text, tmp_path)
        elif block.runs:
            capsys.readouterr()
            exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)
            printed = capsys.readouterr().out


def test_blocks_that_are_not_run_say_why() -> None:
    for page in pages():
        for block in blocks(page):
            if block.remark.startswith("not run"):
                assert len(block.remark.removeprefix("not run:").split()) >= 2, block
            assert block.language, f"{block.page}:{block.line}: a block without a language"


_FENCED = re.compile(r"^ *```.*?^ *```", re.M | re.S)
SHELLS = ("bash", "console")
COMMANDS = dict(commands(typer.main.get_command(app)))


def command_lines() -> Iterator[tuple[str, str]]:
    """Place and text of every line of shell code that calls ``cellsearch``."""
    for page in pages():
        name = page.relative_to(REPOSITORY).as_posix()
        text = page.read_text(encoding="utf-8")
        fenced = "\n".join(block.text for block in blocks(page) if block.language in SHELLS)
        indented = "\n".join(re.findall(r"^    (?!\s)(.*)", _FENCED.sub("", text), re.M))
        for line in f"{fenced}\n{indented}".replace("\\\n", " ").splitlines():
            match = re.match(r"(?:.*&& uv run .*)?\b(cellsearch .*)", line)
            if match:
                yield name, match[1]


def parsed(words: list[str]) -> None:
    """Parse as the command line would.

    Raises:
        UsageError: no such option or argument, or one is missing.
        AssertionError: no such command.
    """
    for length in (3, 2):
        command = COMMANDS.get(tuple(words[:length]))
        if command is not None:
            # A usage error of typer's says what is wrong.
            with contextlib.suppress(typer.Exit):
                command.make_context(" ".join(words[:length]), list(words[length:]))
            return
    assert words[1:2] in (["--help"], ["--version"], ["--install-completion"]), words


@pytest.mark.parametrize(("place", "line"), list(command_lines()), ids=lambda text: text[:60])
def test_commands_of_the_documents_exist(place: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    ends = [at for at, word in enumerate(words) if word in (">", "2>", "|", "||", "&&")]
    parsed(words[: ends[0]] if ends else words)


def test_commands_and_options_named_in_prose_exist() -> None:
    options = {
        name
        for command in COMMANDS.values()
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    options |= {"--help", "--version", "--install-completion", "--show-completion"}
    others = (
        "uv ",
        "mypy ",
        "python ",
        "pytest",
        "mkdocs",
        "git ",
        "docker",
        "podman",
        "ray ",
        "pip ",
    )
    firsts = {words[1] for words in COMMANDS}
    for page in pages():
        text = _FENCED.sub("", page.read_text(encoding="utf-8"))
        for code in re.findall(r"`([^`\n]+)`", text):
            if code.startswith("cellsearch ") and not code[11:12].isdigit():
                second = code.split()[1]
                assert second in firsts or second.startswith(("-", "[")), f"{page}: {code}"
            if code.startswith(others):
                continue
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
                assert option in options, f"{page}: {code}: no command has {option}"


def test_links_lead_somewhere() -> None:
    for page in pages():
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / target).exists(), f"{page}: {target}"
