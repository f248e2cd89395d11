"""Names that look alike: paths found by what they print, classes told apart before training."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from cellsearch.compare.raters import read_answers
from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import Finding
from cellsearch.data.look_alikes import look_alikes
from cellsearch.data.readers.paths import Finder
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import draw_splits
from cellsearch.data.unlabelled import cells_to_convert, cells_to_predict
from cellsearch.errors import CatalogError, DataError, ReadError
from cellsearch.scan import first_look
from cellsearch.terminal.progress import Terminal
from cellsearch.util.named_path import named_path
from cellsearch.util.spelling import Spellings, differences, look_alike, loosely, print_same

from command_cases import cellsearch

Call = Callable[..., tuple[int, str, str]]
RNG = np.random.default_rng(7)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *words: cellsearch(capsys, monkeypatch, *words)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (16, 16), np.uint8)).save(path)
    return path


def classes(root: Path, *names: str, count: int = 8) -> Path:
    for name in names:
        for number in range(count):
            picture(root / name / f"c{number}.png")
    return root


def named(*names: str, groups: list[str] | None = None, channels: tuple[str, ...] = ("c",)):
    """Eight cells of each class."""
    labels = np.repeat(np.arange(len(names)), 8)
    images = RNG.integers(0, 255, (len(labels), len(channels), 12, 12)).astype(np.uint8)
    return CellDataset.from_arrays(
        images,
        labels,
        classes=names,
        channels=channels,
        groups=None if groups is None else np.resize(np.array(groups, np.str_), len(labels)),
    )


SAME = [
    (nfc("grün"), nfd("grün"), "letters composed and decomposed (Unicode NFC and NFD)"),
    (nfc("Åse"), "\u212bse", "letters composed and decomposed (Unicode NFC and NFD)"),
    ("live", "live ", "spaces"),
    ("live", " live", "spaces"),
    ("live cell", "live  cell", "spaces"),
    ("live cell", "live\u00a0cell", "U+00A0 NO-BREAK SPACE"),
    ("live cell", "live\u2009cell", "U+2009 THIN SPACE"),
    ("live", "li\u200bve", "U+200B ZERO WIDTH SPACE"),
    ("live", "\ufefflive", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
    ("live", "live\u200e", "U+200E LEFT-TO-RIGHT MARK"),
    ("live", "li\u00adve", "U+00AD SOFT HYPHEN"),
    ("live", "live\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
    ("apoptotic", "\u0430poptotic", "U+0430 CYRILLIC SMALL LETTER A"),
    ("T", "\u03a4", "U+03A4 GREEK CAPITAL LETTER TAU"),
    ("NK", "\u039d\u041a", "U+039D GREEK CAPITAL LETTER NU, U+041A CYRILLIC CAPITAL LETTER KA"),
    ("CD4-", "CD4\u2212", "U+2212 MINUS SIGN"),
    ("CD4-", "CD4\u2011", "U+2011 NON-BREAKING HYPHEN"),
    ("don't", "don\u2019t", "U+2019 RIGHT SINGLE QUOTATION MARK"),
    ("\u00b5m", "\u03bcm", "U+00B5 MICRO SIGN, U+03BC GREEK SMALL LETTER MU"),
    ("A", "\uff21", "U+FF21 FULLWIDTH LATIN CAPITAL LETTER A"),
    ("fine", "\ufb01ne", "U+FB01 LATIN SMALL LIGATURE FI"),
]
CLOSE = [
    ("live", "Live", "upper and lower case"),
    ("STRASSE", "Straße", "upper and lower case"),
    ("live", "Live ", "upper and lower case"),
    ("M1", "MI", "letters that many typefaces draw alike"),
    ("O", "0", "letters that many typefaces draw alike"),
    ("TCRα", "TCRa", "letters that many typefaces draw alike"),
]
APART = [
    ("G1", "G2"),
    ("10⁵", "10⁶"),
    ("10⁵", "105"),
    ("H₂O", "H2O"),
    ("il", "li"),
    ("café", "cafe"),
    ("CD4+", "CD4-"),
    ("live", "dead"),
    ("T_reg", "T reg"),
    ("cell 1", "cell 10"),
]


def of_kind(findings: list[Finding], kind: str) -> list[Finding]:
    return [each for each in findings if each.kind == kind]


@pytest.mark.parametrize(("one", "other", "how"), SAME)
def test_classes_that_print_the_same_are_an_error(one: str, other: str, how: str) -> None:
    for pair in ((one, other), (other, one)):
        found = look_alikes(named("blank", *pair))
        assert [(each.kind, each.severity) for each in found] == [("look-alike-classes", "error")]
        assert f"{pair[0]!a} and {pair[1]!a}" in str(found[0].message)
        assert all(part in str(found[0].message) for part in how.split(", "))
        assert "give both the same name" in str(found[0].message)
    assert of_kind(list(check_dataset(named(one, other)).findings), "look-alike-classes")


@pytest.mark.parametrize(("one", "other", "how"), CLOSE)
def test_classes_that_differ_in_little_are_a_warning(one: str, other: str, how: str) -> None:
    found = look_alikes(named("blank", one, other))
    pairs = [each for each in found if "look alike" in str(each.message)]
    assert [(each.kind, each.severity) for each in pairs] == [("look-alike-classes", "warning")]
    assert how in str(pairs[0].message)


@pytest.mark.parametrize(("one", "other"), APART)
def test_classes_that_look_different_are_not_told_of(one: str, other: str) -> None:
    assert look_alikes(named(one, other)) == []


def test_names_that_are_alike_share_a_key() -> None:
    for one, other, _ in SAME:
        assert print_same(one, other)
        assert loosely(one) == loosely(other)
    for one, other, how in CLOSE:
        assert look_alike(one, other)
        assert not print_same(one, other)
        assert loosely(one) == loosely(other)
        assert differences(one, other) == how
    assert not any(look_alike(*pair) for pair in APART)


def test_three_names_are_told_in_pairs_and_many_are_counted() -> None:
    found = look_alikes(named("live", "live ", "li\u200bve", "Live"))
    assert [each.severity for each in found] == ["error", "warning"]
    assert str(found[0].message).count(" (they differ in ") == 3
    many = look_alikes(named(*(f"c{k}{space}" for k in range(9) for space in ("", " "))))
    assert "and 4 more" in str(many[0].message)


def test_one_name_with_invisible_characters_is_a_warning() -> None:
    found = look_alikes(named("li\u200bve", "dead"))
    assert [each.severity for each in found] == ["warning"]
    assert r"'li\u200bve' for live" in str(found[0].message)


def test_channels_and_groups_that_look_alike_are_told_of() -> None:
    cells = named(
        "a", "b", groups=["Donor-1", "donor-1", "donor-2", "donor-2 "], channels=("DAPI", "dapi")
    )
    found = {(each.kind, each.severity) for each in look_alikes(cells)}
    assert found == {
        ("look-alike-channels", "warning"),
        ("look-alike-groups", "error"),
        ("look-alike-groups", "warning"),
    }
    assert not look_alikes(named("a", "b", groups=[f"d{k}" for k in range(16)]))


@pytest.mark.parametrize(("one", "other", "how"), [SAME[0], SAME[2], SAME[7], SAME[12]])
def test_check_and_init_tell_of_class_folders(
    command: Call, tmp_path: Path, one: str, other: str, how: str
) -> None:
    root = classes(tmp_path / "cells", one, other)
    code, out, _ = command("datasets", "check", root, "--folds", "2", "--json")
    assert code == 1
    found = [e for e in json.loads(out)["findings"] if e["kind"] == "look-alike-classes"]
    assert [each["severity"] for each in found] == ["error"]
    assert how in found[0]["message"]
    assert command("datasets", "check", root, "--folds", "2")[0] == 1
    _, out, _ = command("init", root, "--no-estimate")
    assert "error: classes that print the same" in out


def test_classes_that_differ_in_case_pass_with_a_warning(command: Call, tmp_path: Path) -> None:
    root = classes(tmp_path / "cells", "live", "Live", "dead")
    code, out, _ = command("datasets", "check", root, "--folds", "2")
    assert code == 0
    assert "look-alike-classes" in out


def test_a_run_tells_of_them_when_it_begins(tmp_path: Path) -> None:
    cells = named("live", "live ", "Live")
    splits = draw_splits(cells, folds=2)
    text = io.StringIO()
    # Nothing of the job is asked for before the first trial.
    Terminal(Console(file=text)).begins(tmp_path, cells, splits, None)  # type: ignore[arg-type]
    assert "error: classes that print the same: 'live' and 'live '" in text.getvalue()
    assert "warning: classes that look alike: 'live' and 'Live'" in text.getvalue()


def table(folder: Path, *rows: str) -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join(("path,label", *rows)) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("typed", [nfc, nfd])
@pytest.mark.parametrize("on_disk", [nfc, nfd])
@pytest.mark.parametrize("value", ["müller.png", "müller", "Größe/müller.png", "Größe\\müller.png"])
def test_a_path_of_a_table_is_found_however_its_letters_are_composed(
    tmp_path: Path, value: str, typed: Callable[[str], str], on_disk: Callable[[str], str]
) -> None:
    name = value.replace("\\", "/")
    there = picture(tmp_path / on_disk(name if name.endswith(".png") else f"{name}.png"))
    other = picture(tmp_path / "other.png")
    path = table(tmp_path, f"{typed(value)},a", "other.png,b")
    cells = load_dataset(path)
    assert np.array_equal(cells.images[0, 0], np.asarray(Image.open(there)))
    assert np.array_equal(cells.images[1, 0], np.asarray(Image.open(other)))
    assert len(first_look(path).layout.cells) == 2
    assert len(cells_to_predict(str(path), channels=["c"])) == 2
    assert len(cells_to_convert(str(path))) == 2


def test_the_exact_name_wins_and_two_others_are_refused(tmp_path: Path) -> None:
    # ậ has one composed form and three decomposed ones that are equal to it.
    forms = ["\u1ead", "\u0061\u0323\u0302", "\u0061\u0302\u0323"]
    assert len({nfc(form) for form in forms}) == 1
    made = [picture(tmp_path / f"{form}.png") for form in forms]
    finder = Finder(tmp_path)
    for form, path in zip(forms, made, strict=True):
        assert finder.find(f"{form}.png") == path
        assert finder.find(form) == path
    made[0].unlink()
    with pytest.raises(ReadError, match=r"several names in .* are composed to it"):
        Finder(tmp_path).find(f"{forms[0]}.png")


@pytest.mark.parametrize(
    ("value", "there", "how"),
    [
        ("case.png", "Case.PNG", "upper and lower case"),
        ("a b.png", "a  b.png", "spaces"),
        ("cell.png", "\u0441ell.png", "U+0441 CYRILLIC SMALL LETTER ES"),
    ],
)
def test_what_differs_in_more_than_composition_is_offered_and_not_taken(
    tmp_path: Path, value: str, there: str, how: str
) -> None:
    picture(tmp_path / there)
    picture(tmp_path / "other.png")
    with pytest.raises(ReadError) as caught:
        load_dataset(table(tmp_path, f"{value},a", "other.png,b"))
    message = str(caught.value)
    assert f"no such file: {value}; there is {there!a}; it differs in" in message
    assert how in message


def test_a_name_that_no_file_can_have_is_a_bad_row(tmp_path: Path) -> None:
    picture(tmp_path / "other.png")
    long = "n" * 300
    with pytest.raises(ReadError, match=r"line 2: .*file name too long"):
        load_dataset(table(tmp_path, f"{long}.png,a", "other.png,b"))
    with pytest.raises(ReadError, match=r"line 2: .*file name too long"):
        load_dataset(table(tmp_path, f"{'9' * 5000},a", "other.png,b"))
    with pytest.raises(ReadError, match="line 2"):
        load_dataset(table(tmp_path, "⁵,a", "other.png,b"))


@pytest.mark.parametrize("typed", [nfc, nfd])
@pytest.mark.parametrize("on_disk", [nfc, nfd])
def test_what_a_command_names_is_found(
    command: Call, tmp_path: Path, typed: Callable[[str], str], on_disk: Callable[[str], str]
) -> None:
    root = classes(tmp_path / on_disk("Größe"), on_disk("grün"), "rot")
    given = tmp_path / typed("Größe")
    code, out, error = command(
        "datasets", "describe", given, "--option", f"classes=rot,{typed('grün')}"
    )
    assert code == 0, error
    # The class is called as it was named.
    assert f"classes: rot 8, {typed('grün')} 8" in out
    assert command("convert", given, "-o", "out.npz")[0] == 0
    assert command("init", given, "--no-estimate")[0] == 0
    code, out, _ = command("datasets", "check", given, "--folds", "2")
    assert code == 0
    (root / "t.csv").write_text("path,label\nrot/c0.png,a\nrot/c1.png,b\n")
    assert command("datasets", "describe", given / "t.csv")[0] == 0
    code, _, error = command("convert", given, "-o", given / "new.npz")
    assert code == 2
    assert "lies in" in error


MANIFEST = """
name: cells
title: cells
licence: none
source:
  folder: Größe
layout:
  reader: folders
classes:
  - name: grün
    count: 8
  - name: rot
    count: 8
channels:
  - name: bf
    label_free: true
"""


@pytest.mark.parametrize("typed", [nfc, nfd])
@pytest.mark.parametrize("on_disk", [nfc, nfd])
def test_what_a_manifest_names_is_found(
    tmp_path: Path, typed: Callable[[str], str], on_disk: Callable[[str], str]
) -> None:
    classes(tmp_path / on_disk("Größe"), on_disk("grün"), "rot")
    manifest = tmp_path / on_disk("für mich.yaml")
    manifest.write_text(typed(MANIFEST), encoding="utf-8")
    cells = load_dataset(tmp_path / typed("für mich.yaml"))
    assert cells.classes == (typed("grün"), "rot")
    assert cells.counts.tolist() == [8, 8]


def test_a_class_that_a_manifest_names_in_another_case_is_offered(tmp_path: Path) -> None:
    classes(tmp_path / "Größe", "Grün", "rot")
    (tmp_path / "m.yaml").write_text(MANIFEST, encoding="utf-8")
    with pytest.raises(DataError, match=r"no class folder grün; .*differs in upper and lower"):
        load_dataset(tmp_path / "m.yaml")


def test_a_class_folder_is_named_once(tmp_path: Path) -> None:
    root = classes(tmp_path / "cells", nfd("grün"), "rot")
    with pytest.raises(DataError, match="are one folder: name it once"):
        load_dataset(root, classes=[nfc("grün"), nfd("grün")])
    classes(root, nfc("grün"))
    found = load_dataset(root, classes=[nfc("grün"), nfd("grün")])
    assert found.counts.tolist() == [8, 8]


def test_labels_are_found_among_the_classes_that_are_named(tmp_path: Path) -> None:
    images = RNG.integers(0, 255, (4, 12, 12)).astype(np.uint8)
    labels = [nfd("grün"), nfd("grün"), "rot", "rot"]
    cells = CellDataset.from_arrays(images, labels, classes=[nfc("grün"), "rot"])
    assert cells.labels.tolist() == [0, 0, 1, 1]
    # Where both are classes, each label is its own.
    both = CellDataset.from_arrays(images, labels, classes=[nfc("grün"), nfd("grün"), "rot"])
    assert both.labels.tolist() == [1, 1, 2, 2]
    with pytest.raises(DataError, match="Rot; there is 'rot'; it differs in upper and lower"):
        CellDataset.from_arrays(images, ["Rot", "rot", "rot", "rot"], classes=["rot", "x"])


def test_a_table_of_labels_is_found(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (4, 12, 12), np.uint8)
    tifffile.imwrite(tmp_path / "m.ome.tif", stack, metadata={"axes": "TYX"})
    rows = "".join(f"{k},{'ab'[k % 2]}\n" for k in range(4))
    (tmp_path / nfd("für.csv")).write_text(f"object_number,label\n{rows}")
    cells = load_dataset(tmp_path / "m.ome.tif", labels=nfc("für.csv"))
    assert cells.counts.tolist() == [2, 2]
    with pytest.raises(ReadError, match="it differs in upper and lower case"):
        load_dataset(tmp_path / "m.ome.tif", labels=nfc("Für.csv"))


def test_a_number_of_a_cell_with_two_signs_is_a_bad_row(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (4, 12, 12), np.uint8)
    tifffile.imwrite(tmp_path / "m.ome.tif", stack, metadata={"axes": "TYX"})
    (tmp_path / "m.csv").write_text("object_number,label\n0,a\n1,b\n--2,a\n⁵,b\n")
    with pytest.raises(ReadError, match="2 bad rows"):
        load_dataset(tmp_path / "m.ome.tif")


def test_answers_are_found_by_ids_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(nfd("id,class\nmüller/1,grün\nmüller/2,rot\n"), encoding="utf-8")
    ids = [nfc("müller/1"), nfc("müller/2")]
    found = read_answers(path, ids=ids, classes=[nfc("grün"), "rot"])
    assert [(each.cell, each.given) for each in found] == [
        (nfc("müller/1"), nfc("grün")),
        (nfc("müller/2"), "rot"),
    ]
    path.write_text("id,class\nMüller/1,grün\n", encoding="utf-8")
    with pytest.raises(DataError, match="no cell 'Müller/1'"):
        read_answers(path, ids=ids, classes=["grün", "rot"])


def test_a_path_that_is_not_there_offers_what_looks_like_it(tmp_path: Path) -> None:
    classes(tmp_path / "Cells", "a", "b")
    with pytest.raises(ReadError, match="there is 'Cells'; it differs in upper and lower case"):
        load_dataset(tmp_path / "cells")
    with pytest.raises(ReadError, match="there is 'Cells'"):
        first_look(tmp_path / "cells")
    with pytest.raises(ReadError, match="there is 'Cells'"):
        cells_to_predict(str(tmp_path / "cells"), channels=["c"])


def test_a_name_of_this_folder_in_another_case_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes(tmp_path / "Cells", "a", "b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError, match="there is 'Cells'"):
        load_dataset("cells")


def test_a_path_is_itself_where_nothing_is_like_it(tmp_path: Path) -> None:
    assert named_path(tmp_path / "none" / "x") == tmp_path / "none" / "x"
    assert named_path(Path("none")) == Path("none")
    assert Spellings.of(["a", "b"]).meant("c") == []
