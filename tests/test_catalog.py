"""Names, YAML files and located errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from cellsearch.errors import CatalogError, ConfigError, ManifestError
from cellsearch.util import yaml_files


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Klass(_Strict):
    name: str
    count: int = Field(ge=0)


class Folders(_Strict):
    layout: Literal["folders"]
    depth: int = 1


class Table(_Strict):
    layout: Literal["table"]
    column: str


class Manifest(_Strict):
    name: str = Field(min_length=1)
    classes: list[Klass]
    reader: Annotated[Folders | Table, Field(discriminator="layout")] | None = None
    size: int | tuple[int, int] = 40
    pixel: float | None = Field(None, gt=0, lt=10)
    licence: Literal["MIT", "CC0"] = "MIT"
    variants: dict[str, list[int]] = {}

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if value != value.lower():
            raise ValueError("a name is written in small letters")
        return value


def write(folder: Path, text: str, name: str = "my.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> list[str]:
    document = yaml_files.read_yaml(write(folder, text))
    with pytest.raises(ManifestError) as caught:
        yaml_files.validate(Manifest, document, error=ManifestError)
    return str(caught.value).splitlines()


def test_valid_document_becomes_the_model(tmp_path: Path) -> None:
    text = "name: a\npixel: 1e-1\nclasses: [{name: x, count: 1_000}]\nvariants: {all: [0, 1]}\n"
    manifest = yaml_files.validate(
        Manifest, yaml_files.read_yaml(write(tmp_path, text)), error=ManifestError
    )
    assert manifest.pixel == 0.1
    assert manifest.classes[0].count == 1000


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        "nam: jurkat\n"
        "classes:\n"
        "  - name: G1\n"
        "    count: 3\n"
        "  - {name: S, count: -1}\n"
        "  - name: G2\n"
        "    count: many\n"
        "pixel: 12\n"
        "licence: GPL\n",
    )
    assert lines == [
        "$.name: required, but missing (my.yaml:1)",
        "$.nam: unknown key; did you mean 'name'? (my.yaml:1)",
        "$.classes.1.count: expected an integer >= 0, got -1 (my.yaml:5)",
        "$.classes.2.count: expected an integer >= 0, got 'many' (my.yaml:7)",
        "$.pixel: expected a number > 0 and < 10, got 12 (my.yaml:8)",
        "$.licence: expected one of 'MIT', 'CC0', got 'GPL' (my.yaml:9)",
    ]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("name: ''", "$.name: expected text of at least 1 characters, got '' (my.yaml:1)"),
        ("name: Ab", "$.name: a name is written in small letters, got 'Ab' (my.yaml:1)"),
        (
            "name: a\nreader: {layout: tabel}",
            "$.reader: expected layout to be one of folders, table, got {'layout': 'tabel'}; "
            "did you mean 'table'?",
        ),
        ("name: a\nreader: {depth: 2}", "$.reader: needs the key 'layout' (my.yaml:2)"),
        (
            "name: a\nreader:\n  layout: table\n  colum: x",
            "$.reader.colum: unknown key; did you mean 'column'? (my.yaml:4)",
        ),
        (
            "name: a\nreader:\n  layout: folders\n  depth: deep",
            "$.reader.depth: expected an integer, got 'deep' (my.yaml:4)",
        ),
        ("name: a\nvariants:\n  x: [1, b]", "$.variants.x.1: expected an integer, got 'b'"),
        ("name: a\nvariants: 3", "$.variants: expected a mapping, got 3 (my.yaml:2)"),
        ("name: a\nsize: big", "$.size: expected an integer or a list, got 'big' (my.yaml:2)"),
    ],
)
def test_words(tmp_path: Path, lines: str, wanted: str) -> None:
    told = refusal(tmp_path, lines + "\nclasses: []\n")
    assert any(wanted in line for line in told), told


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("a: 1\nb: 2\na: 3\n", r"duplicate key \"a\".*\(my.yaml:3\)"),
        ("a: [1\nb: 2\n", r"not valid YAML.*\(my.yaml:\d\)"),
        ("", r"expected a mapping of keys to values, got an empty file"),
        ("- 1\n", r"expected a mapping of keys to values, got a list"),
        ("a: 1\nb: !!python/name:os.system x\n", r"\$\.b: tags.*\(my.yaml:2\)"),
        # ruamel takes seconds for thousands of brackets.
        ("a: " + "[" * 1000, r"nested too deeply \(my.yaml\)"),
    ],
)
def test_unreadable_yaml(tmp_path: Path, content: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        yaml_files.read_yaml(write(tmp_path, content))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(my.yaml:2\)"):
        yaml_files.read_yaml(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        yaml_files.read_yaml(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="directory"):
        yaml_files.read_yaml(tmp_path)


def test_values_are_plain_and_yaml_is_1_2(tmp_path: Path) -> None:
    document = yaml_files.read_yaml(write(tmp_path, "a: 1e-4\nb: no\nc: 'x'\nd: 012\ne: true\n"))
    assert document.data == {"a": 1e-4, "b": "no", "c": "x", "d": 12, "e": True}
    assert [type(v) for v in document.data.values()] == [float, str, str, int, bool]


def test_lines_of_keys_items_and_of_what_is_absent(tmp_path: Path) -> None:
    document = yaml_files.read_yaml(write(tmp_path, "a:\n  - 1\n  - b: 2\n    c: 3\n"))
    assert document.line(("a", 1, "c")) == 4
    assert document.line(("a", 1, "zzz", 5)) == 3
    assert document.line(("zzz",)) == 1
    assert document.at(("a", 0)) == " (my.yaml:2)"


def test_merged_keys_are_read(tmp_path: Path) -> None:
    document = yaml_files.read_yaml(write(tmp_path, "a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n"))
    assert document.data["b"] == {"x": 1, "y": 2}
    assert document.line(("b", "x")) == 2


def test_find_by_name_and_by_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\n")
    assert yaml_files.find("search_spaces", str(path)) == path
    assert yaml_files.find("search_spaces", "default").name == "default.yaml"
    assert {"default", "quick", "duque-2023"} <= set(yaml_files.names("search_spaces"))


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(CatalogError, match=r"no search space 'defualt'; did you mean 'default'\?"):
        yaml_files.find("search_spaces", "defualt")
    with pytest.raises(CatalogError, match=r"search space 'no/such.yaml': no such file"):
        yaml_files.find("search_spaces", "no/such.yaml")


def test_a_path_that_is_not_there_names_its_neighbour_and_the_next_step(tmp_path: Path) -> None:
    write(tmp_path, "a: 1\n", "cells.yaml")
    with pytest.raises(CatalogError) as caught:
        yaml_files.find("datasets", str(tmp_path / "cell.yaml"))
    assert "no such file; did you mean 'cells.yaml'?" in str(caught.value)
    assert "cellsearch init FOLDER" in str(caught.value)
    with pytest.raises(CatalogError, match="cellsearch spaces show default --yaml"):
        yaml_files.find("search_spaces", "mine.yaml")


def test_packaged_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cellsearch"
    (package / "_shipped" / "datasets").mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    write(package / "_shipped" / "datasets", "", "inside.yaml")
    write(tmp_path / "datasets", "", "outside.yaml")
    monkeypatch.setattr(yaml_files, "files", lambda name: package)
    assert yaml_files.names("datasets") == ["inside"]
    (package / "_shipped" / "datasets" / "inside.yaml").unlink()
    (package / "_shipped" / "datasets").rmdir()
    assert yaml_files.names("datasets") == ["outside"]


def test_near_miss_is_silent_when_nothing_is_near() -> None:
    assert yaml_files.near_miss("jurkt", ["jurkat", "demo"]) == "; did you mean 'jurkat'?"
    assert yaml_files.near_miss("f1", ["accuracy", "macro_f1"]) == "; did you mean 'macro_f1'?"
    assert yaml_files.near_miss("xyz", ["jurkat", "demo"]) == ""
    assert yaml_files.near_miss("", ["jurkat", "demo"]) == ""


LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 8)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "far more values than are written"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: " + "{b: " * 500 + "1" + "}" * 500, "nested too deeply"),
        ("- " * 1000 + "x", "nested too deeply"),
        ("a: 2001-99-99\n", "month must be in 1..12"),
        ("a: " + "9" * 5000, "digits"),
        ("a: &a [1]\n? [*a, *a]\n: 1\n", "unhashable"),
    ],
)
def test_a_document_that_costs_more_than_it_says_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    spent = 0
    spend = yaml_files._Budget.spend

    def counted(budget: yaml_files._Budget) -> None:
        nonlocal spent
        spent += 1
        spend(budget)

    monkeypatch.setattr(yaml_files._Budget, "spend", counted)
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why) as raised:
        yaml_files.read_yaml(path)
    assert "\n" not in str(raised.value)
    assert spent <= yaml_files.FREE_VALUES + len(text) + 1
