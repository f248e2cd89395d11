"""The pages that are generated from the code are not stale, and say something of everything."""

from __future__ import annotations

import re

import pytest
import typer

import cellsearch
from cellsearch.cli import app
from cellsearch.data.readers import registry

from cli_page import commands
from document_cases import DOCS
from pages import PAGES


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_not_stale(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), "run: python docs/generate/pages.py"


def test_every_command_and_reader_is_there() -> None:
    text = PAGES["reference/cli.md"]()
    for words, command in commands(typer.main.get_command(app)):
        section = text.split(f"## {' '.join(words)}\n", 1)[1].split("\n## ", 1)[0]
        for parameter in command.params:
            named = max(parameter.opts, key=len)
            assert not named.startswith("--") or named == "--help" or named in section, words
    manifests = PAGES["reference/manifest.md"]()
    for reader in registry.VERSIONS:
        assert f"### Reader `{reader}`" in manifests


def test_every_field_has_a_meaning() -> None:
    rows = re.findall(r"^\| `.*\|$", PAGES["reference/manifest.md"](), re.M)
    assert len(rows) > 40
    for row in rows:
        assert re.split(r"(?<!\\)\|", row)[-2].strip(), row


def test_the_python_page_shows_the_public_names_and_no_others() -> None:
    shown = re.findall(r"^::: cellsearch\.(\w+)$", (DOCS / "reference/api.md").read_text(), re.M)
    errors = {name for name in cellsearch.__all__ if name.endswith("Error")}
    assert sorted(shown) == sorted(set(cellsearch.__all__) - errors)
    told = re.findall(r"^::: cellsearch\.(\w+)$", (DOCS / "reference/errors.md").read_text(), re.M)
    assert set(told) == errors
