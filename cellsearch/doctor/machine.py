"""Cores, memory and disks, as the limits of a container leave them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cellsearch.data.cache import cache_folder
from cellsearch.doctor.checks import Check
from cellsearch.util.messages import Message, Setting

GIB = 2**30
LEAST_MEMORY, LEAST_DISK, LEAST_SHARED = 4 * GIB, 5 * GIB, 1 * GIB
CGROUP = Path("/sys/fs/cgroup")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def core_limit(cgroup: Path = CGROUP) -> float | None:
    """Cores that the container grants (cgroup v2, then v1); None where nothing limits."""
    words = _read(cgroup / "cpu.max").split()
    if len(words) == 2 and words[0].isdecimal():
        return int(words[0]) / int(words[1])
    quota = _read(cgroup / "cpu" / "cpu.cfs_quota_us")
    period = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        return int(quota) / int(period)
    return None


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Bytes that the container grants; None where nothing limits."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(cgroup / name)
        # Without a limit version 1 says a number near 2^63.
        if text.isdecimal() and int(text) < 2**60:
            return int(text)
    return None


def cores(cgroup: Path = CGROUP) -> Iterator[Check]:
    """How many trials can run at a time."""
    every = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    limit = core_limit(cgroup)
    granted = min(usable, limit) if limit is not None else usable
    if granted < every:
        slots = max(1, int(granted))
        yield Check(
            "CPU cores",
            "warning",
            f"{every} are seen, but only {granted:g} may be used",
            Message.of(
                "run with ", Setting("slots", slots), ", or trials will wait for each other"
            ),
        )
    else:
        yield Check("CPU cores", "ok", f"{every}, all usable: so many trials at a time")
    if (threads := os.environ.get("OMP_NUM_THREADS")) is not None:
        yield Check("OMP_NUM_THREADS", "ok", f"{threads} (a search sets threads for its trials)")


def memory(cgroup: Path = CGROUP, shared: Path = Path("/dev/shm")) -> Iterator[Check]:
    """RAM, and the shared memory that Ray keeps objects in."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = memory_limit(cgroup)
        granted = min(total, limit) if limit else total
        text = f"{granted / GIB:.1f} GiB"
        if granted < total:
            text += f" of the machine's {total / GIB:.1f} (a container's limit)"
        low = granted < LEAST_MEMORY
        yield Check(
            "memory",
            "warning" if low else "ok",
            text,
            Message.of("run with ", Setting("slots", 1), ": each worker takes about 1 GiB")
            if low
            else "",
        )
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        low = size < LEAST_SHARED
        yield Check(
            f"{shared}",
            "warning" if low else "ok",
            f"{size / GIB:.2f} GiB",
            "Ray falls back to the disk and is slower; in Docker: --shm-size=2g" if low else "",
        )


def folders(runs: Path) -> Iterator[Check]:
    """Cache, runs and temporary files: may they be written, and is there room."""
    cache = cache_folder()
    for name, folder, remedy in (
        ("cache", cache, "name another folder with CELLSEARCH_CACHE"),
        ("runs", runs, Message.of("run in another folder: ", Setting("out", "FOLDER"))),
        ("temporary files", Path(tempfile.gettempdir()), "name another folder with TMPDIR"),
    ):
        there = next(
            each for each in (folder.absolute(), *folder.absolute().parents) if each.exists()
        )
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Check(name, "problem", f"{folder} cannot be written", remedy)
            continue
        free = shutil.disk_usage(there).free
        text = f"{folder}, {free / GIB:.1f} GiB free"
        if folder is cache and cache.is_dir():
            text += f", {_size(cache) / GIB:.2f} GiB used by cellsearch"
        low = free < LEAST_DISK
        make_room = f"make room, or {remedy}"
        yield Check(name, "warning" if low else "ok", text, make_room if low else "")


def _size(folder: Path) -> int:
    """Bytes below a folder; files that vanish meanwhile do not count."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(place, file)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total
