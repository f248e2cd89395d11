"""Folders that several machines share: locks and the database of a run there."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
from pathlib import Path

import pytest

from cellsearch.errors import RunError
from cellsearch.tune.lock import HeldError, driver_lock
from cellsearch.tune.storage import open_engine
from cellsearch.util.file_systems import is_on_network

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//nas/my\\040cells /mnt/my\\040cells cifs rw 0 0
/dev/sdc1 /scratch ext4 rw 0 0
lab@tcp:/x /scratch lustre rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/var/x", False),
        ("/home/anna/runs", True),
        ("/home/local/runs", False),
        ("/homes/anna", False),
        ("/mnt/my cells/a", True),
        ("/scratch/runs", True),
    ],
)
def test_a_path_is_on_what_is_mounted_nearest(tmp_path: Path, path: str, *, network: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert is_on_network(Path(path), mounts=mounts) is network


def test_where_nothing_tells_of_mounts_a_path_is_taken_for_local(tmp_path: Path) -> None:
    assert not is_on_network(tmp_path, mounts=tmp_path / "gone")


@pytest.mark.parametrize(("network", "mode"), [(True, "delete"), (False, "wal")])
def test_no_write_ahead_log_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, network: bool, mode: str
) -> None:
    monkeypatch.setattr("cellsearch.tune.storage.is_on_network", lambda _: network)
    file = tmp_path / "study.db"
    engine = open_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("create table a (b int)")
    engine.dispose()
    with sqlite3.connect(file) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == (mode,)
    plain.close()


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (errno.EAGAIN, HeldError, "in use by"),
        (errno.EACCES, HeldError, "in use by"),
        (errno.ENOLCK, RunError, "takes no locks"),
        (errno.ENOSYS, RunError, "takes no locks"),
        (errno.EOPNOTSUPP, RunError, "takes no locks"),
    ],
)
def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[RunError],
    says: str,
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, "whatever it says")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(error, match=says), driver_lock(tmp_path):
        pytest.fail("nothing is held")
