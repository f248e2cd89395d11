"""One check as a value, and all of them in order."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from cellsearch.errors import CellsearchError
from cellsearch.util.messages import Message, Setting, first_line
from cellsearch.util.progress import Progress
from cellsearch.util.user_folders import cache_folder, ledger_folder

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, and what to do about it.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``warning``: works, but look at it; ``problem``: something will fail.
        found: how it is.
        remedy: what to do; "" where it is ok.
    """

    name: str
    state: State
    found: str | Message
    remedy: str | Message = ""

    def line(self) -> str:
        """For a terminal."""
        from cellsearch.util.wording import worded

        remedy = f"; {worded(self.remedy)}" if self.remedy else ""
        return f"{self.state:<8} {self.name}: {worded(self.found)}{remedy}"


def examine(
    *,
    runs: Path = Path("runs"),
    storage: str | None = None,
    ray: bool = False,
    on_progress: Progress | None = None,
) -> Iterator[Check]:
    """Every check, as it is done.

    Args:
        runs: folder that runs are written to.
        storage: database URL to try.
        ray: start Ray, which takes some seconds to a minute.
        on_progress: told of what takes longer than a moment.
    """
    from cellsearch.doctor import checks

    def slow(stage: str, checks: Callable[[], list[Check]]) -> Iterator[Check]:
        if on_progress:
            on_progress(stage, 0, 1)
        found = checks()
        if on_progress:
            on_progress(stage, 1, 1)
        yield from found

    yield from checks.packages()
    yield from checks.compiled()
    yield from checks.extras()
    yield from checks.cores()
    yield from checks.memory()
    yield from checks.folders(runs)
    if storage is None:
        yield checks.sqlite()
    else:
        yield from slow("trying the database", lambda: [checks.database(storage)])
    yield checks.weights()
    yield checks.backbone()
    yield checks.java()
    yield from slow("loading torch and timing precisions", checks.torch_devices)
    if ray:
        yield from slow("starting Ray", lambda: [checks.ray_starts()])


NAMED = ("torch", "ray", "optuna", "onnxruntime", "numpy", "scikit-learn")
"""Packages whose version is shown even where all is well."""


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """Those that hold here, always and of each extra."""
    always: list[Requirement] = []
    extras: defaultdict[str, list[Requirement]] = defaultdict(list)
    known = metadata.metadata("cellsearch").get_all("Provides-Extra") or []
    for text in metadata.requires("cellsearch") or []:
        each = Requirement(text)
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            always.append(each)
            continue
        for extra in known:
            if each.marker.evaluate({"extra": extra}):
                extras[extra].append(each)
    return always, dict(extras)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages() -> Iterator[Check]:
    """Python, and every package that is always needed."""
    version = platform.python_version()
    yield Check("Python", "ok", f"{version} ({platform.system()}, {platform.machine()})")
    try:
        always, _ = _requirements()
    except metadata.PackageNotFoundError:
        yield Check("cellsearch", "warning", "not installed, run from its sources", "pip install .")
        return
    yield Check("cellsearch", "ok", metadata.version("cellsearch"))
    for each in always:
        version_here = _version(each.name)
        wanted = f"{each.name}{each.specifier}"
        if version_here is None:
            yield Check(each.name, "problem", "not installed", f"pip install '{wanted}'")
        elif not each.specifier.contains(version_here, prereleases=True):
            yield Check(
                each.name,
                "problem",
                f"{version_here}, but {each.specifier} is needed",
                f"pip install '{wanted}'",
            )
        elif each.name in NAMED:
            yield Check(each.name, "ok", version_here)


def compiled() -> Iterator[Check]:
    """Whether each process would compile torch anew, which takes it seconds."""
    found = find_spec("torch")
    if not sys.dont_write_bytecode or found is None or found.cached is None:
        return
    if not Path(found.cached).is_file():
        yield Check(
            "compiled files",
            "warning",
            "Python may not keep what it compiles (PYTHONDONTWRITEBYTECODE, or -B), and torch is "
            "not compiled: each process starts seconds later",
            "uv sync --all-extras --compile-bytecode, or unset PYTHONDONTWRITEBYTECODE",
        )


def extras() -> Iterator[Check]:
    """Which extras are there; a missing one is no fault."""
    try:
        _, every = _requirements()
    except metadata.PackageNotFoundError:
        return
    there, missing, old = [], [], []
    for extra, needed in sorted(every.items()):
        versions = [(each, _version(each.name)) for each in needed]
        if any(version is None for _, version in versions):
            missing.append(extra)
            continue
        there.append(extra)
        old += [
            f"{each.name} {version} ({each.specifier} is needed by the extra {extra})"
            for each, version in versions
            if version is not None and not each.specifier.contains(version, prereleases=True)
        ]
    text = f"{', '.join(there) or 'none'}"
    if missing:
        text += f"; not installed: {', '.join(missing)} (pip install 'cellsearch[NAME]')"
    yield Check("extras", "ok", text)
    for each in old:
        yield Check("extras", "warning", each, "pip install --upgrade cellsearch with the extra")


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
        yield Check("CPU cores", "ok", f"{every}, all usable: one trial per core")
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
            "Ray uses the disk instead and is slower; in Docker: --shm-size=2g" if low else "",
        )


def folders(runs: Path) -> Iterator[Check]:
    """Cache, ledger, runs and temporary files: may they be written, and is there room."""
    cache = cache_folder()
    for name, folder, remedy in (
        ("cache", cache, "name another folder with CELLSEARCH_CACHE"),
        ("ledger of hold-outs", ledger_folder(), "name another folder with CELLSEARCH_LEDGER"),
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


WITHOUT_RAY = Message.of("run with ", Setting("backend", "local"))


RAY_SECONDS = 180


_RAY = """
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print("answer", ray.get(ray.remote(lambda: 42).remote()))
ray.shutdown()
"""


def torch_devices() -> list[Check]:
    """What torch can train on, and the fastest precision there."""
    try:
        from cellsearch.learn.machine import devices, fastest_precision

        found = devices()
        precision = fastest_precision()
    except Exception as error:
        # Whatever a broken installation raises: a wrong driver, a library that is not there.
        reason = f"does not work ({first_line(error)})"
        return [Check("torch", "problem", reason, "reinstall torch: pytorch.org")]
    checks = []
    if found.cuda:
        names = ", ".join(f"{name} ({size / 2**30:.0f} GiB)" for name, size in found.cuda)
        checks.append(Check("CUDA", "ok", names))
    elif shutil.which("nvidia-smi"):
        why = "no device answers" if found.built_for_cuda else "this torch is built without CUDA"
        checks.append(Check("CUDA", "warning", why, "install torch for your driver: pytorch.org"))
    elif found.mps:
        checks.append(Check("MPS", "ok", "Apple's GPU is there"))
    else:
        checks.append(Check("GPU", "ok", "none; small crops train well on CPU"))
    text = (
        f"{found.chosen}, {found.threads} threads per trial by default; "
        f"fastest precision {precision}"
    )
    return [*checks, Check("device", "ok", text)]


def sqlite() -> Check:
    """The default storage: a file in the run's folder."""
    from cellsearch.tune.storage import open_engine

    with tempfile.TemporaryDirectory() as folder:
        try:
            open_engine(f"sqlite:///{Path(folder) / 'study.db'}").dispose()
        except CellsearchError as error:
            return Check("storage", "problem", error.message, "check the disk of the runs folder")
    text = Message.of(
        "SQLite, a file in each run (", Setting("storage", "URL"), " tries a database)"
    )
    return Check("storage", "ok", text)


def database(url: str) -> Check:
    """A database that several machines share."""
    from cellsearch.tune.storage import open_engine, shown_url

    try:
        shown = shown_url(url)
        engine = open_engine(url)
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
        engine.dispose()
    except CellsearchError as error:
        remedy = "check host, port, user and that the server runs"
        return Check("storage", "problem", error.message, remedy)
    return Check("storage", "ok", f"{shown} answers ({engine.dialect.name} {version})")


def weights() -> Check:
    """Pretrained weights on this machine; spaces that name them are refused without."""
    from cellsearch.learn.models.timm_weights import checkpoints, hub_cache

    found = sorted(path.name for path in hub_cache().glob("models--timm--*"))
    found += sorted(path.name for path in checkpoints().glob("*"))
    names = [name.removeprefix("models--timm--") for name in found]
    if not names:
        text = "none here; only needed for spaces with pretrained networks"
        return Check("timm weights", "ok", text)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Check("timm weights", "ok", f"{', '.join(names[:5])}{more}")


def backbone() -> Check:
    """Weights of the frozen network that the shipped spaces make features with."""
    from cellsearch.learn.models.backbone_weights import (
        INSTALL,
        PACKAGES,
        packaged,
        weights_missing,
    )

    name = next(iter(PACKAGES))
    if weights_missing(name):
        text = f"no weights of {name}; initial trials on its features are left out"
        return Check("frozen backbone", "ok", text, f"to have them: {INSTALL}")
    where = f" (package {PACKAGES[name]})" if packaged(name) is not None else ""
    return Check("frozen backbone", "ok", f"weights of {name} are at hand{where}")


def java() -> Check:
    """Needed only to convert .cif files of ImageStream."""
    home = os.environ.get("JAVA_HOME")
    there = shutil.which("java") or (home and shutil.which("java", path=str(Path(home) / "bin")))
    if find_spec("jpype") is None:
        return Check("Java", "ok", "not looked at; only .cif files need it (the extra 'cif')")
    if not there:
        remedy = "to convert .cif files install a Java runtime, or name it in JAVA_HOME"
        return Check("Java", "warning", "none, though the extra 'cif' is installed", remedy)
    from cellsearch.data.readers.cif import bioformats_jar

    try:
        return Check("Java", "ok", f"{there}, Bio-Formats at {bioformats_jar()}")
    except CellsearchError as error:
        return Check("Java", "warning", f"{there}, but no Bio-Formats", error.message)


def ray_starts() -> Check:
    """Start Ray in a process of its own, and let it compute."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RAY],
            capture_output=True,
            text=True,
            timeout=RAY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("Ray", "problem", f"does not start within {RAY_SECONDS} s", WITHOUT_RAY)
    if "answer 42" in done.stdout:
        return Check("Ray", "ok", "starts and computes")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Check("Ray", "problem", f"does not start ({last})", WITHOUT_RAY)
