"""Names in one typed text are told apart by the names that there are."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellsearch.card.predict import class_columns, set_names, set_text
from cellsearch.data.dataset import CellDataset
from cellsearch.data.names import parse_merges, parse_names, parse_renames
from cellsearch.data.readers import cif
from cellsearch.data.readers.folders import class_folders
from cellsearch.data.readers.options import known_names
from cellsearch.data.readers.self_described import Described
from cellsearch.data.source import load_dataset
from cellsearch.data.task import apply_task, task_of
from cellsearch.errors import ConfigError, DataError
from cellsearch.run.config import RunConfig
from cellsearch.util.markdown import plain
from cellsearch.util.messages import Setting
from cellsearch.util.wording import as_option

from command_cases import write_folder
from conftest import squares

ONLY = Setting("only")
CLASS_NAMES = Setting("class_names", reader=True)


def named(*classes: str, channels: tuple[str, ...] = ("a", "b")) -> CellDataset:
    cells = squares(tuple(30 - 2 * k for k in range(len(classes))))
    return replace(cells, classes=classes, channels=channels)


@pytest.mark.parametrize(
    ("text", "known", "read"),
    [
        ("NK, dim", ("NK, dim", "B"), ("NK, dim",)),
        ("NK, dim,B", ("B", "NK, dim"), ("NK, dim", "B")),
        ("B , NK, dim", ("B", "NK, dim"), ("B", "NK, dim")),
        ("G1,S", ("G1", "S", "G2"), ("G1", "S")),
        ("a,b,c", ("a,b", "c"), ("a,b", "c")),
        ("a,b,c", ("a", "b,c"), ("a", "b,c")),
        ('["NK", "dim"]', ("NK, dim", "NK", "dim"), ("NK", "dim")),
        ('["NK, dim"]', ("NK, dim", "NK", "dim"), ("NK, dim",)),
        ("[1]", ("[1]", "2"), ("[1]",)),
        (" x", (" x", "y"), (" x",)),
    ],
)
def test_a_text_is_read_by_the_names_that_there_are(
    text: str, known: tuple[str, ...], read: tuple[str, ...]
) -> None:
    assert parse_names(text, known, setting=ONLY) == read


def test_two_readings_are_refused_with_a_way_to_write_each() -> None:
    known = ("NK, dim", "NK", "dim")
    with pytest.raises(ConfigError) as caught:
        parse_names("NK, dim", known, setting=ONLY)
    told = caught.value.message.worded(as_option)
    first, second = """--only '["NK, dim"]'""", """--only '["NK", "dim"]'"""
    assert told == f"--only: 'NK, dim' can be read in two ways; write {first} or {second}"
    # Each of the two, typed so, is taken for itself alone.
    for way, read in ((first, ("NK, dim",)), (second, ("NK", "dim"))):
        assert parse_names(shlex.split(way)[1], known, setting=ONLY) == read


def test_unknown_names_come_with_the_nearest_and_each_by_itself() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_names("NK, dum,B,CD", ("NK, dim", "B", "CD4"), setting=ONLY)
    assert str(caught.value) == (
        "only: no class 'NK, dum'; did you mean 'NK, dim'?; no class 'CD'; did you mean 'CD4'?; "
        "there are 'NK, dim', B, CD4"
    )
    for text, missing in (("B,", "'B,'"), ('["C"]', "'C'"), ("", "''")):
        with pytest.raises(ConfigError, match=f"only: no class {missing}"):
            parse_names(text, ("NK, dim", "B"), setting=ONLY)


def test_a_long_text_is_read_without_deep_recursion() -> None:
    names = [f"c{k}" for k in range(3000)]
    assert parse_names(",".join(names), names, setting=ONLY) == tuple(names)
    with pytest.raises(ConfigError, match="can be read in several ways"):
        parse_names(",".join(["A"] * 3000), ("A", "A,A"), setting=ONLY)


@pytest.mark.parametrize(
    ("text", "known", "read"),
    [
        ("T=CD4++CD8", ("CD4", "CD4+", "CD8"), {"T": ("CD4+", "CD8")}),
        ("T=CD4+CD8", ("CD4", "CD4+", "CD8"), {"T": ("CD4", "CD8")}),
        ("T=CD4+,CD8+", ("CD4", "CD4+", "CD8", "CD8+"), {"T": ("CD4+", "CD8+")}),
        ("T = G1 + S", ("G1", "S"), {"T": ("G1", "S")}),
        ("T=a=b+c", ("a=b", "c"), {"T": ("a=b", "c")}),
        ("x=y=a+c", ("a", "c"), {"x=y": ("a", "c")}),
        ('{"T=": ["a=b", "c"], "U": ["d"]}', ("a=b", "c", "d"), {"T=": ("a=b", "c"), "U": ("d",)}),
    ],
)
def test_a_merge_is_read_by_the_classes(
    text: str, known: tuple[str, ...], read: dict[str, tuple[str, ...]]
) -> None:
    assert parse_merges([text], known) == read


@pytest.mark.parametrize(
    ("text", "known", "ways"),
    [
        ("T=A+B", ("A", "B", "A+B"), ('{"T": ["A+B"]}', '{"T": ["A", "B"]}')),
        ("T=a=b", ("a=b", "b"), ('{"T": ["a=b"]}', '{"T=a": ["b"]}')),
        ("T=CD4++CD8", ("CD4", "CD4+", "CD8", "+CD8"),
         ('{"T": ["CD4+", "CD8"]}', '{"T": ["CD4", "+CD8"]}')),
    ],
)  # fmt: skip
def test_a_merge_of_two_readings_is_refused_with_both(
    text: str, known: tuple[str, ...], ways: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_merges([text], known)
    told = caught.value.message.worded(as_option)
    assert told.endswith(" or ".join(f"--merge '{way}'" for way in ways))
    assert parse_merges([ways[0]], known) != parse_merges([ways[1]], known)


@pytest.mark.parametrize(
    ("text", "labels", "read"),
    [
        ("1=a,2=b", ("1", "2"), {"1": "a", "2": "b"}),
        ("1=NK, dim,2=B", ("1", "2"), {"1": "NK, dim", "2": "B"}),
        # There is no cell of 3, and yet it is a label.
        ("1=NK, dim,2=B,3=C", ("1", "2"), {"1": "NK, dim", "2": "B", "3": "C"}),
        ("x,1=A,y=B", ("x,1", "y"), {"x,1": "A", "y": "B"}),
        ("a=b=x", ("a=b", "c"), {"a=b": "x"}),
        ("1=a=b,2=c", ("1", "2"), {"1": "a=b", "2": "c"}),
        ('{"a": "b=x"}', ("a", "a=b"), {"a": "b=x"}),
        ({"a": "b,c"}, ("a",), {"a": "b,c"}),
    ],
)
def test_renames_are_read_by_the_labels(
    text: str | dict[str, str], labels: tuple[str, ...], read: dict[str, str]
) -> None:
    assert parse_renames(text, labels, setting=CLASS_NAMES) == read


@pytest.mark.parametrize(
    ("text", "labels", "told"),
    [
        ("a=b=x", ("a", "a=b"), """'class_names={"a": "b=x"}' or --option 'class_names={"a=b":"""),
        ("x=1,b,a=2", ("x", "a", "b,a"), """{"x": "1", "b,a": "2"}' or --option"""),
        ("1=a,1=b", ("1",), "1 is named twice"),
        ("a=b=x", (), 'expected "label=name,label=name"'),
        ("1=a,,2=b", ("1", "2"), 'expected "label=name,label=name"'),
    ],
)
def test_renames_that_are_none_or_two_are_refused(
    text: str, labels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_renames(text, labels, setting=CLASS_NAMES)
    assert told in caught.value.message.worded(as_option)


def test_a_task_names_its_classes(command: Any, tmp_path: Path) -> None:
    cells = write_folder(tmp_path / "cells", named("CD4", "CD4+", "CD8", "NK, dim"))
    sheet = ("--sheet", tmp_path / "sheet.png")
    code, out, error = command("datasets", "describe", cells, *sheet, "--merge", "T=CD4++CD8")
    assert (code, error.count("no ")) == (0, 0), error
    assert "classes: CD4 30, T 54, NK, dim 24;" in out
    for words in (("--only", "NK, dim", "--only", "CD4+"), ("--only", "NK, dim,CD4+")):
        code, out, error = command("datasets", "describe", cells, *sheet, *words)
        assert code == 0, error
        assert "classes: CD4+ 28, NK, dim 24;" in out
    code, _, error = command("run", "--dataset", cells, "--only", "NK, dum,CD4+")
    assert code == 2
    assert "--only: no class 'NK, dum'; did you mean 'NK, dim'?" in error
    code, out, error = command(
        "datasets", "describe", cells, *sheet, "--one-vs-rest", "NK, dim", "--merge", "T=CD4+CD8"
    )
    assert code == 0, error
    assert "not-NK, dim" in out


def test_a_class_that_a_merge_makes_can_be_chosen() -> None:
    cells = named("CD4", "CD4+", "CD8")
    done = apply_task(cells, typed={"merge": ("T, all=CD4++CD8",), "only": ("T, all,CD4",)})
    assert done.classes == ("CD4", "T, all")
    assert done.counts.tolist() == [30, 54]


def test_channels_with_commas_are_chosen_in_the_order_given() -> None:
    cells = named("x", "y", channels=("Ch1, Ch2", "DAPI|nuc"))
    done = apply_task(cells, typed={"channels": ("DAPI|nuc,Ch1, Ch2",)})
    assert done.channels == ("DAPI|nuc", "Ch1, Ch2")
    assert np.array_equal(done.images[:, 1], cells.images[:, 0])


def test_in_python_a_text_is_one_name() -> None:
    cells = named("CD4", "CD8", "NK, dim")
    assert apply_task(cells, only=["NK, dim", "CD4"]).classes == ("CD4", "NK, dim")
    assert apply_task(cells, channels="b").channels == ("b",)
    with pytest.raises(DataError, match="only: no class 'CD4,CD8'"):
        apply_task(cells, only="CD4,CD8")
    assert RunConfig.of(dataset="x", only="NK, dim").only == ("NK, dim",)


def test_a_run_keeps_what_was_typed() -> None:
    typed = {"merge": ("T=CD4++CD8",), "only": ("NK, dim", "T")}
    config = RunConfig.of(dataset="x", typed=typed)
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert apply_task(named("CD4", "CD4+", "CD8", "NK, dim"), **again.task).classes == (
        "T",
        "NK, dim",
    )
    # Written before there was such a field.
    old = json.loads(RunConfig.of(dataset="x", only=["a", "b"]).model_dump_json())
    del old["typed"]
    assert RunConfig.model_validate(old).only == ("a", "b")


def test_the_remedy_of_one_surface_is_not_shown_by_the_other() -> None:
    with pytest.raises(ConfigError) as caught:
        task_of({"only": ("A,B",)}, channels=(), classes=("A", "B", "A,B"))
    assert "only=[" in str(caught.value)
    assert "--" not in str(caught.value)


def test_convert_chooses_by_the_same_names(command: Any, tmp_path: Path) -> None:
    cells = write_folder(tmp_path / "cells", named("CD4", "CD4+", "NK, dim"))
    out = tmp_path / "o.npz"
    code, _, error = command("convert", cells, "-o", out, "--only", "NK, dim")
    assert code == 0, error
    assert load_dataset(out).classes == ("NK, dim",)


# Readers


def test_class_folders_are_named_by_those_that_there_are(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", named("NK, dim", "NK", "B"))
    assert tuple(class_folders(root, "B,NK, dim").images) == ("B", "NK, dim")
    assert load_dataset(root, classes="B,NK, dim").classes == ("B", "NK, dim")
    (root / "dim").mkdir()
    with pytest.raises(ConfigError, match="can be read in two ways"):
        class_folders(root, "B,NK, dim")


def test_channel_names_that_do_not_fit_say_how_a_comma_is_written(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", named("x", "y"))
    with pytest.raises(DataError, match=r"2 channel names .*such as channels=\[\"CD3, CD28\"\]"):
        load_dataset(root, channels="CD3, CD28")
    assert load_dataset(root, channels='["CD3, CD28"]').channels == ("CD3, CD28",)


def test_a_table_is_renamed_by_its_labels(tmp_path: Path) -> None:
    cells = named("1", "2", "3")
    root = write_folder(tmp_path / "cells", cells)
    with (tmp_path / "cells" / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        for path in sorted(root.glob("*/*.png")):
            writer.writerow((path.relative_to(root), path.parent.name, "day 1, a"))
    read = load_dataset(
        root / "t.csv", class_names="1=NK, dim,2=a=b,3=B", use_split="day 1, a", layout="table"
    )
    assert read.classes == ("NK, dim", "a=b", "B")
    assert read.counts.tolist() == [30, 28, 26]


def test_arrays_are_renamed_by_their_labels() -> None:
    file = Described({"labels": ["a", "a=b", "a=b"]}, {})
    read = file.raw(
        np.zeros((3, 1, 4, 4), np.uint8), file="x", stem="x", class_names="a=b=NK, dim,a=c"
    )
    assert list(read.labels) == ["c", "NK, dim", "NK, dim"]
    with pytest.raises(ConfigError, match="can be read in two ways"):
        file.raw(np.zeros((3, 1, 4, 4), np.uint8), file="x", stem="x", class_names="a=b=x")


def test_montages_are_found_by_codes_with_commas(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("G1", "S"):
        (tmp_path / name).mkdir()
        for code in ("CD3, dim", "CD3"):
            montage = rng.integers(0, 255, (16, 16), np.uint8)
            tifffile.imwrite(tmp_path / name / f"{code}_1.tif", montage)
    read = load_dataset(tmp_path, layout="montage", tile="8x8", codes="CD3,CD3, dim")
    assert read.channels == ("CD3", "CD3, dim")


def test_channels_of_a_cif_are_named_as_the_file_does() -> None:
    options = cif.Options.model_validate({"codes": "BF, left,Ch2"})
    wanted = known_names(options.codes, ("Ch2", "BF, left"), option="codes", what="channel")
    assert wanted == ("BF, left", "Ch2")


def test_npz_splits_are_those_of_the_file(tmp_path: Path) -> None:
    images = np.arange(4 * 36, dtype=np.uint8).reshape(4, 6, 6)
    labels = np.array([0, 1, 0, 1])
    np.savez(
        tmp_path / "x.npz",
        train_images=images,
        train_labels=labels,
        val_images=images,
        val_labels=labels,
    )
    assert len(load_dataset(tmp_path / "x.npz", use_split="train,val")) == 8
    with pytest.raises(ConfigError, match="use_split: no split 'tran'; did you mean 'train'"):
        load_dataset(tmp_path / "x.npz", use_split="tran,val")


# Exits


def test_prediction_sets_are_read_as_they_were_written() -> None:
    for classes in (("G1", "S"), ("x|y", "x", "y"), ("NK, dim", '"q"|')):
        for members in ((), classes[:1], classes):
            assert set_names(set_text(members, classes), classes) == list(members)
    assert set_text(("G1", "S"), ("G1", "S")) == "G1|S"


def test_each_class_has_a_column_of_its_own() -> None:
    for classes in (("id", "p(id)", "x"), ("p(id)", "id"), ("id", "p(id)", "p(p(id))")):
        columns = class_columns(classes)
        assert len({"id", *columns}) == len(classes) + 1
    assert class_columns(("id", "G1")) == ["p(id)", "G1"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("class_1", "class_1"),
        ("CD4+", "CD4+"),
        ("x|y", "x\\|y"),
        ("x\\|y", "x\\\\\\|y"),
        ("$x^y$", "\\$x^y\\$"),
        ("*bold*", "\\*bold\\*"),
        ("__x__", "\\_\\_x\\_\\_"),
        ("[a](http://b)", "\\[a\\](http://b)"),
        ("<b>", "&lt;b>"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_shows_a_name_as_it_is(name: str, shown: str) -> None:
    assert plain(name) == shown
