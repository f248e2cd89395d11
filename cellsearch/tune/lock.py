"""One driver for a run: a lock that the kernel drops even after kill -9."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellsearch.errors import RunError
from cellsearch.util.messages import Setting


class HeldError(RunError):
    """The run is another driver's."""


@contextmanager
def driver_lock(run_folder: Path) -> Iterator[None]:
    """Hold ``run_folder/lock`` while the search runs.

    Raises:
        HeldError: another driver holds it.
        RunError: the file system takes no locks.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    with (run_folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Where locks are those of POSIX underneath, as on NFS, a held one is EACCES.
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise RunError(
                    f"{run_folder}: its file system takes no locks ({error.strerror}), and two "
                    "searches could write one run; name a folder on another: ",
                    Setting("out", "FOLDER"),
                ) from None
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise HeldError(
                f"{run_folder} is in use by {holder}; wait for it, or stop it first"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
