"""Tables as Excel, IDEAS, CellProfiler, R and hand write them: read right, or refused by line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsearch.compare.raters import read_answers
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.foreign_paths import plain, translated
from cellsearch.data.readers.registry import detect, layout
from cellsearch.data.readers.table import read_rows
from cellsearch.errors import CellsearchError, ConfigError, DataError, ReadError
from cellsearch.scan import first_look
from cellsearch.util.wording import as_option

NAMES = [f"{letter}.png" for letter in "abcd"]
CROPS = np.random.default_rng(0).integers(0, 255, (4, 10, 10), np.uint8)
PLAIN = "path,label,area\na.png,G1,1.5\nb.png,S,2.5\nc.png,G1,3.5\nd.png,S,4.5\n"
EXCEL = PLAIN.replace(".", "_").replace(",", ";").replace("_png", ".png").replace("_", ",")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A folder with a.png to d.png, and the same again below sub/."""
    for folder in (tmp_path, tmp_path / "sub"):
        folder.mkdir(exist_ok=True)
        for name, crop in zip(NAMES, CROPS, strict=True):
            Image.fromarray(crop if folder == tmp_path else 255 - crop).save(folder / name)
    return tmp_path


def written(folder: Path, text: str | bytes, *, encoding: str = "utf-8") -> Path:
    path = folder / "T.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("table", options).read(path))


def classes_of(found: CellDataset) -> list[str]:
    return [found.classes[label] for label in found.labels.tolist()]


def refused(path: Path, **options: Any) -> CellsearchError:
    """One line that names no option of the command line."""
    with pytest.raises(CellsearchError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        EXCEL,
        f"sep=;\n{EXCEL}",
        f"SEP=;\r\n{EXCEL}",
        f'"sep=;"\n{EXCEL}',
        f"sep=;;;\n{EXCEL}",
        f"sep=,\n{PLAIN}",
        "sep=\t\n" + PLAIN.replace(",", "\t"),
        "sep=|\n" + PLAIN.replace(",", "|"),
        "sep=:\n" + PLAIN.replace(",", ":"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        "\n\n" + PLAIN,
        ";;;\n" + EXCEL,
        PLAIN.replace("\nb", "\n,,\n\nb") + ",,\n",
        "# exported by a program, 2026\n#\n" + PLAIN,
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace(",", " , ").replace("\n", "  \n"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("G1", '"G1"').replace("S", ' "S"'),
        "path;label;area (µm², raw, all, planes)\na.png;G1;1\nb.png;S;2\nc.png;G1;3\nd.png;S;4\n",
        'path,label,note\na.png,G1,"two\nlines, one comma"\nb.png,S,\nc.png,G1,\nd.png,S,\n',
        'path,label,note\na.png,G1,5" plate\nb.png,S,6"\nc.png,G1,\nd.png,S,\n',
        'path,label,note\na.png,G1,"5"" plate"\nb.png,S,\nc.png,G1,\nd.png,S,\n',
        "path,label,,\na.png,G1\nb.png,S,,\nc.png,G1,\nd.png,S\n",
        # R: write.csv, and write.table with its defaults and with sep="\t".
        '"","path","label"\n"1","a.png","G1"\n"2","b.png","S"\n"3","c.png","G1"\n"4","d.png","S"\n',
        '"path" "label"\n"1" "a.png" "G1"\n"2" "b.png" "S"\n"3" "c.png" "G1"\n"4" "d.png" "S"\n',
        '"path"\t"label"\n"1"\t"a.png"\t"G1"\n2\tb.png\tS\n3\tc.png\tG1\n4\td.png\tS\n',
    ],
)
def test_tables_of_many_programs_hold_the_same_cells(text: str, cells: Path) -> None:
    path = written(cells, text)
    found = read(path)
    assert classes_of(found) == ["G1", "S", "G1", "S"]
    assert np.array_equal(found.images[:, 0], CROPS)
    assert first_look(path).layout.labels == ["G1", "S", "G1", "S"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_is_read_by_its_mark_or_its_zeros(encoding: str, cells: Path) -> None:
    text = PLAIN.replace("S,", "müller,")
    assert read(written(cells, text, encoding=encoding)).classes == ("G1", "müller")


def test_a_mark_before_a_line_that_names_the_separator(cells: Path) -> None:
    path = written(cells, f"sep=;\r\n{EXCEL}", encoding="utf-8-sig")
    assert read(path).classes == ("G1", "S")
    assert read(written(cells, "\ufeff" + PLAIN, encoding="utf-8-sig")).classes == ("G1", "S")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_other_encodings_are_named_and_never_guessed(encoding: str, cells: Path) -> None:
    path = written(cells, PLAIN.replace("S,", "müller,"), encoding=encoding)
    error = refused(path)
    assert "T.csv: line 3: byte 0xFC is not UTF-8: save the table as UTF-8" in str(error)
    assert "reads 'müller' there" in str(error)
    assert "--option encoding=cp1252" in error.message.worded(as_option)
    assert read(path, encoding="cp1252").classes == ("G1", "müller")
    assert "no encoding 'cp9999'" in str(refused(path, encoding="cp9999"))
    assert "name another with encoding" in str(refused(path, encoding="ascii"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04\x14\x00", "an Excel workbook or a zip archive.*save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel workbook.*save the sheet as CSV UTF-8"),
        (b"\x1f\x8b\x08", "compressed by gzip.*unpack it first"),
        (b"path,label\na.png,G\x001\n", "line 2: holds a zero byte"),
        ('path,label\na.png,"G1\nb.png,S\n', 'line 2: a quote \\("\\) is opened and never closed'),
        ('path,label\na.png,"G1"x\nb.png,S\n', "line 2: text follows a closing quote"),
        (
            'path,label,note\na.png,G1,"5 inch\nb.png,S,6"\nc.png,G1,\n',
            "line 2: a quoted value runs on to line 3 and holds what look like rows",
        ),
        ("a.png,G1\nb.png,S\n", "line 1: 'a.png' is a file, not the name of a column"),
        ("path,label\na.png,G1,x\nb.png,S\n", "more values than the 2 columns in line 2"),
        (
            "path,label,area\na.png,G1,0,5\nb.png,S,1,5\n",
            "in line 2, 3; is 0,5 in line 2 a number with a decimal comma",
        ),
        ("path,label\na.png,G1,x\nb.png,S,y\n", "a name is missing in the header"),
        ("path,label,label\na.png,G1,S\n", "line 1: columns have the same name: label; rename one"),
        ("path,label\na.png,G1\nb.png,\n", "line 3: no label in column 'label'"),
        ("path,label\na.png,G1\nb.png\n", "fewer values than the 2 columns in line 3 .1.; a sep"),
        ("path,label,group,n\na.png,G1,p,1\nb.png,Sp,2\n", "fewer .* in line 3 .3."),
        ("path,label,na.png,G1\nb.png,S\n", "4 columns in the header, and fewer values in every"),
        (f"path,label\n{'a' * 300}.png,G1\n", "line 2: no such file: 'aaa.*is no name of a file"),
        (f"path,label\n{'9' * 5000},G1\n", "line 2: no such file: '999.*is no name of a file"),
        ("path,label\na\0b.png,G1\n", "line 2: holds a zero byte"),
        ('path,label\na.png,"G1\nlate"\nb.png,S\n', "line 2: label 'G1.nlate' .* a line break"),
        ("path,label\na.png,1\nb.png,1.0\n", "1 .line 2. and 1.0 .line 3. are one number"),
        ('path,label\na.png,1\nb.png,"1,0"\n', "1 .line 2. and 1,0 .line 3. are one number"),
        ("path,label,group\na.png,G1,7\nb.png,S,007\n", "group: 7 .line 2. and 007 .line 3."),
        ("path,label,group,Group\na.png,G1,7,8\nb.png,S,7,9\n", "group and Group are called alike"),
        ('path,label,object_number\na.png,G1,"1,234"\n', "not a whole number: '1,234'"),
    ],
)
def test_what_cannot_be_read_right_is_refused_by_line(
    content: str | bytes, told: str, cells: Path
) -> None:
    assert re.search(told, str(refused(written(cells, content))))


def test_labels_stay_as_they_are_written(cells: Path) -> None:
    text = "path,label,group\na.png,001,01\nb.png,TRUE,02\nc.png,1.50,01\nd.png,1e3,02\n"
    found = read(written(cells, text))
    assert set(found.classes) == {"001", "TRUE", "1.50", "1e3"}
    assert found.groups is not None
    assert found.groups.tolist() == ["01", "02", "01", "02"]


def test_one_number_in_two_ways_may_be_two_classes_where_somebody_says_so(cells: Path) -> None:
    path = written(cells, "path,label\na.png,1\nb.png,1.0\nc.png,1\nd.png,1.0\n")
    assert read(path, class_names="1=one,1.0=other").classes == ("one", "other")
    assert "are one number" in str(first_look(path).problems[0])


def test_an_id_keeps_its_zeros(cells: Path) -> None:
    text = "id,path,label\n001,a.png,G1\n002,b.png,S\n010,c.png,G1\n100,d.png,S\n"
    assert read(written(cells, text)).ids.tolist() == ["001", "002", "010", "100"]


def test_a_table_that_two_signs_could_part_is_asked_about(cells: Path) -> None:
    path = written(cells, "x;y,z\na.png;1,G1\nb.png;2,S\n")
    error = refused(path, path_column="x", label_column="z")
    assert "line 1: both comma and semicolon could separate" in str(error)
    (cells / "T.csv").write_text("x;y,z\na.png;1,0\nb.png;2,5\n")
    assert read(path, separator="semicolon", path_column="x", label_column="y,z").classes == (
        "1,0",
        "2,5",
    )
    with pytest.raises(ConfigError, match="option separator: expected one sign"):
        read(path, separator="and")


# Paths


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (r"sub\a.png", "sub/a.png"),
        (r".\sub\a.png", "./sub/a.png"),
        ('"C:\\my cells\\a.png"', "C:/my cells/a.png"),
        (r"\\server\share\a.png", "//server/share/a.png"),
        ("file:///C:/my%20cells/a.png", "C:/my cells/a.png"),
        ("file:///home/me/a.png", "/home/me/a.png"),
        ("file://localhost/home/me/a.png", "/home/me/a.png"),
        ("file://server/share/a.png", "//server/share/a.png"),
        ("file:C:/cells/a.png", "C:/cells/a.png"),
        ("FILE:/home/a.png", "/home/a.png"),
    ],
)
def test_paths_are_written_in_many_ways(value: str, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    "root",
    [
        "C:\\data\\cells\\",
        "D:\\",
        "\\\\server\\share\\cells\\",
        "file:///C:/data/my%20cells/",
        "/nowhere/of/anna/",
        "C:/data/",
    ],
)
@pytest.mark.parametrize("folder", ["", "sub"])
def test_absolute_paths_of_another_machine_are_found_beside_the_table(
    root: str, folder: str, cells: Path
) -> None:
    sign = "/" if "/" in root else "\\"
    below = f"{root}{folder}{sign}" if folder else root
    rows = "\n".join(f"{below}{name},{'GS'[k % 2]}" for k, name in enumerate(NAMES))
    path = written(cells, f"path,label\n{rows}\n")
    found = read(path)
    assert np.array_equal(found.images[:, 0], 255 - CROPS if folder else CROPS)
    assert "of another machine, are looked up below the table's folder" in found.provenance.notes
    assert "of another machine" in " ".join(map(str, first_look(path).layout.notes))


def test_folders_that_differ_are_never_taken_for_one_another(cells: Path) -> None:
    rows = "C:\\data\\p1\\a.png,G1\nC:\\data\\p2\\b.png,S"
    error = refused(written(cells, f"path,label\n{rows}\n"))
    assert "2 bad rows" in str(error)
    assert "put the images below the table's folder as they lie there" in str(error)
    # Two drives share nothing that could be this folder.
    assert translated(cells, ["C:\\a.png", "D:\\b.png"]).elsewhere
    (cells / "p1").mkdir()
    Image.fromarray(CROPS[0]).save(cells / "p1" / "a.png")
    error = refused(written(cells, f"path,label\n{rows}\n"))
    assert "1 bad rows: line 3: no such file: p2/b.png (C:\\data\\p2\\b.png)" in str(error)


def test_paths_with_backslashes_spaces_and_dots_are_found(cells: Path) -> None:
    text = "path,label\nsub\\a.png,G1\n.\\sub\\b.png,S\n./sub/c.png ,G1 \n  sub/./d.png,S\n"
    assert np.array_equal(read(written(cells, text)).images[:, 0], 255 - CROPS)


def test_an_absolute_path_of_this_machine_is_itself(cells: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{cells / 'sub' / name},{'GS'[k % 2]}" for k, name in enumerate(NAMES))
    found = read(written(cells, f"path,label\n{rows}\n"))
    assert np.array_equal(found.images[:, 0], 255 - CROPS)
    assert found.provenance.notes == ""


def test_what_lies_in_the_working_folder_is_no_path_of_windows(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cells / "elsewhere" / "C:").mkdir(parents=True)
    Image.fromarray(CROPS[0]).save(cells / "elsewhere" / "C:" / "a.png")
    monkeypatch.chdir(cells / "elsewhere")
    assert translated(cells, ["C:\\a.png"]).texts == ("a.png",)


def test_a_web_address_is_no_file(cells: Path) -> None:
    error = refused(written(cells, "path,label\nhttps://x.org/a.png,G1\nb.png,S\n"))
    assert "line 2: https://x.org/a.png is a web address: download the images" in str(error)


# Beside files of many cells, and of raters


def test_tables_beside_files_of_cells_are_read_alike(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", CROPS, metadata={"axes": "TYX"}, imagej=True)
    text = "sep=;\r\nobject_number;label\r\n0;G1\r\n1;Süd\r\n2;G1\r\n3;Süd\r\n"
    (tmp_path / "x.csv").write_bytes(text.encode("cp1252"))
    bound = layout(detect(tmp_path / "x.tif"), {"encoding": "cp1252"})
    assert CellDataset.from_raw(bound.read(tmp_path / "x.tif")).classes == ("G1", "Süd")
    with pytest.raises(ReadError, match=r"line 4: byte 0xFC is not UTF-8"):
        layout(detect(tmp_path / "x.tif"), {}).read(tmp_path / "x.tif")
    for number in ("--1", "1.0", "1,000", "\u0661", "9" * 5000):
        (tmp_path / "x.csv").write_text(f'object_number,label\n0,G1\n"{number}",S\n')
        with pytest.raises(ReadError, match=r"line 3: no cell .*which is not a whole number"):
            layout(detect(tmp_path / "x.tif"), {}).read(tmp_path / "x.tif")


def test_answers_of_raters_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("sep=;\nid;class\n001;G1\n002;S\n", encoding="utf-16")
    answers = read_answers(path, ids=["001", "002"], classes=["G1", "S"])
    assert [(each.cell, each.given) for each in answers] == [("001", "G1"), ("002", "S")]
    path.write_bytes("id,class\n001,Süd\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"line 2: byte 0xFC .*: save the table as UTF-8$"):
        read_answers(path, ids=["001"], classes=["Süd"])


def test_a_row_names_the_line_in_which_it_starts(tmp_path: Path) -> None:
    path = written(tmp_path, 'sep=,\n# one\n\npath,note,label\na,"x\ny",1\nb,,2\n')
    _, rows = read_rows(path)
    assert [row.line for row in rows] == [5, 7]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("T.xlsx", "an Excel workbook.*save the sheet as CSV UTF-8"),
        ("T.xls", "an Excel workbook.*save the sheet as CSV UTF-8"),
        ("T.ods", "a spreadsheet.*save the sheet as CSV UTF-8"),
        ("T.csv.gz", "compressed.*unpack it first"),
        ("T.tsv.zip", "compressed.*unpack it first"),
        ("T.txt", 'layout="table"'),
    ],
)
def test_files_that_hold_a_table_otherwise_say_what_to_do(
    name: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=told):
        detect(tmp_path / name)
