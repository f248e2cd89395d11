"""Files and folders appear wholly or not at all."""

from __future__ import annotations

import os
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


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made durable, in order; renames among it as ``=> name``."""
    log: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted(descriptor: int) -> None:
        log.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        log.append(f"=> {Path(target).name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    return log


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by /proc")
def test_all_of_a_folder_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, synced: list[str]
) -> None:
    folder = tmp_path / "card"
    for _ in range(2):
        synced.clear()
        with whole_folder(folder) as building:
            (building / "plots").mkdir(parents=True)
            (building / "README.md").write_text("new")
            (building / "plots" / "curve.png").write_bytes(b"new")
        at = synced.index("=> card")
        assert {"README.md", "curve.png", "plots", "new"} <= set(synced[:at])
        assert synced[at + 1 :] == [tmp_path.name]


def test_a_name_as_long_as_a_disk_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    write_whole_text(path, "text")
    with whole_folder(tmp_path / ("x" * 255)) as building:
        building.mkdir()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_the_users_own_that_is_called_like_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "card.tmp").mkdir()
    (tmp_path / "card.tmp" / "mine").write_text("mine")
    with whole_folder(tmp_path / "card") as building:
        building.mkdir()
    assert (tmp_path / "card.tmp" / "mine").read_text() == "mine"


def test_an_error_while_filling_leaves_the_older_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    with pytest.raises(RuntimeError):
        half_filled(folder)
    assert (folder / "README.md").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
