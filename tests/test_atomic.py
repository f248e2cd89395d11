"""Files and folders appear wholly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellsearch.util.atomic import whole_file, whole_folder, write_whole_text


def test_a_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text("old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def half_written(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError


def half_filled(folder: Path) -> None:
    with whole_folder(folder) as building:
        building.mkdir()
        (building / "README.md").write_text("half")
        raise RuntimeError


def test_an_error_while_writing_leaves_the_older_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_whole_text(path, "old")
    with pytest.raises(RuntimeError):
        half_written(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_when_all_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "card"
    for text in ("first", "second"):
        with whole_folder(folder) as building:
            building.mkdir()
            (building / "README.md").write_text(text)
        assert (folder / "README.md").read_text() == text
    assert list(folder.parent.iterdir()) == [folder]


def test_an_error_while_filling_leaves_the_older_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    with pytest.raises(RuntimeError):
        half_filled(folder)
    assert (folder / "README.md").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
