"""Whether HDF5 survives the reading of a file; also a program of its own, with files to try.

Where the bytes of a file were changed, the HDF5 library may end the process that reads it, and no
error can be caught. So another process looks first. It imports nothing of cellsearch.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

SECONDS = 60
COPIES = sys.platform == "linux"


def fatal(paths: Sequence[Path]) -> list[Path]:
    """Those of some HDF5 files that end the process, or keep it forever, which reads them.

    Files are looked at once in a process, until they change.
    """
    known = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        known.append((str(path), status.st_size, status.st_mtime_ns))
    return _fatal(tuple(known))


@lru_cache(maxsize=64)
def _fatal(files: tuple[tuple[str, int, int], ...]) -> list[Path]:
    paths = [Path(name) for name, _, _ in files]
    # A copy of this process is made in a moment; elsewhere a copy may itself not live.
    return [path for path in paths if _ends_a_copy(path)] if COPIES else by_program(paths)


def _ends_a_copy(path: Path) -> bool:
    """Whether a copy of this process dies of a file, or does not come to an end with it."""
    with warnings.catch_warnings():
        # Other threads do not live on in the copy, and it needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            _look_at(str(path))
        finally:
            os._exit(0)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def by_program(paths: Sequence[Path]) -> list[Path]:
    """Those of some HDF5 files of which this file, run as a program, dies."""
    found: list[Path] = []
    left = list(paths)
    while left and sys.executable:
        try:
            ended = subprocess.run(
                [sys.executable, __file__, *map(str, left)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS * len(left),
                check=False,
            )
            died, done = ended.returncode not in (0, 1), ended.stdout.count(b"\n")
        except subprocess.TimeoutExpired as error:
            died, done = True, (error.stdout or b"").count(b"\n")
        except OSError:
            return found
        if not died or done >= len(left):
            return found
        found.append(left[done])
        left = left[done + 1 :]
    return found


def _look_at(path: str) -> None:
    """Read all names, attributes and texts; plain numbers are checked by their filters alone."""
    import h5py

    def visit(_: str, item: h5py.HLObject) -> None:
        _attributes(item)
        if isinstance(item, h5py.Dataset):
            for facts in ("chunks", "fillvalue", "is_virtual", "external"):
                getattr(item, facts)
            if item.dtype.kind in "OSV" and item.shape is not None:
                item[...]
            elif item.shape and 0 not in item.shape:
                item[(0,) * len(item.shape)]

    try:
        with h5py.File(path, "r") as file:
            _attributes(file)
            file.visititems(visit)
    except Exception:  # the reader says what is wrong
        return


def _attributes(item: object) -> None:
    for name in item.attrs:  # type: ignore[attr-defined]
        item.attrs[name]  # type: ignore[attr-defined]


if __name__ == "__main__":
    for each in sys.argv[1:]:
        _look_at(each)
        sys.stdout.write("\n")
        sys.stdout.flush()
